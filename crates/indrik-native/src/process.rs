//! What Python needs of the process side: making a worker, and saying in `ps` who is who.

use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};

use indrik_sys::fork::{Forked, double_fork};
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::ffi;
use pyo3::prelude::*;

/// Forks a worker from the zygote: 0 in the worker, the worker's process number in the zygote.
///
/// Both forks happen here, so the interpreter's at-fork hooks run once on each side and the
/// process in between never runs Python. The worker is a child of the supervisor, which is its
/// sub-reaper, and dies with it. The zygote must have one thread.
///
/// # Errors
/// `RuntimeError` when the zygote has no parent to hand the worker to, `OSError` when the system
/// is out of processes, memory or descriptors.
#[pyfunction]
pub(crate) fn fork_worker(_py: Python<'_>) -> PyResult<u32> {
    let parent = rustix::process::getppid()
        .ok_or_else(|| PyRuntimeError::new_err("the zygote has no parent process"))?;
    let supervisor = parent.as_raw_pid().unsigned_abs();
    // SAFETY: the interpreter is attached to this thread, as PyOS_BeforeFork demands.
    unsafe { ffi::PyOS_BeforeFork() };
    // SAFETY: the zygote starts no threads, and the hooks above hold the interpreter's locks.
    let result = unsafe { double_fork(supervisor) };
    // SAFETY: each side runs its counterpart of PyOS_BeforeFork, on the thread that forked.
    unsafe {
        match result {
            Ok(Forked::Worker) => {
                crate::metrics::leave();
                ffi::PyOS_AfterFork_Child();
            }
            Ok(Forked::Zygote(_)) | Err(_) => ffi::PyOS_AfterFork_Parent(),
        }
    }
    match result {
        Ok(Forked::Worker) => Ok(0),
        Ok(Forked::Zygote(pid)) => Ok(pid),
        Err(error) => Err(PyOSError::new_err(error.to_string())),
    }
}

/// Sets what `ps` and `top` show for this process.
///
/// # Errors
/// `OSError` where /proc does not tell in which memory the arguments lie.
#[pyfunction]
pub(crate) fn set_process_title(title: &str) -> PyResult<()> {
    indrik_sys::title::set(title).map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Makes this worker, and all it starts, unable to gain rights by running a program.
///
/// # Errors
/// `OSError` when the system forbids it.
#[pyfunction]
pub(crate) fn gain_no_rights() -> PyResult<()> {
    indrik_sys::limits::gain_no_rights().map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Makes this worker another user's, for good. The kernel forgets the wish to die with the parent at
/// such a change, so it is said again.
///
/// # Errors
/// `OSError` when the process may not, or its parent has ended.
#[pyfunction]
pub(crate) fn become_user(uid: u32, gid: u32, groups: Vec<u32>) -> PyResult<()> {
    let parent = indrik_sys::process::parent();
    indrik_sys::users::become_user(uid, gid, &groups)
        .and_then(|()| indrik_sys::process::die_with_parent(parent))
        .map_err(|error| PyOSError::new_err(error.to_string()))
}

/// Gives a descriptor a high number, if there is one, and returns it.
///
/// # Errors
/// `OSError` for what is no descriptor.
#[pyfunction]
pub(crate) fn move_high(fd: RawFd) -> PyResult<RawFd> {
    if fd < 0 {
        return Err(PyOSError::new_err(format!("{fd} is no file descriptor")));
    }
    // SAFETY: the caller hands it over, and takes what is returned instead.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    Ok(indrik_sys::high::moved(owned).into_raw_fd())
}
