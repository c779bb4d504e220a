//! A worker's double fork: the worker becomes the child of the supervisor (the sub-reaper), not of
//! the zygote, so that the supervisor reaps it and it outlives the zygote.
//!
//! The process in between only has to end. Where that is possible it runs on the zygote's own memory
//! (`sharing`), so one copy of the page tables is made for a worker and not two: of a zygote of
//! 440 MB each takes 9 ms, and as long again when it is thrown away.

#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
mod sharing;
mod split;

use std::io::{self, Read, Write};

use split::Split;

/// Which process the call returned in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The new worker; its parent is the sub-reaper already.
    Worker,
    /// The zygote, with the worker's process number.
    Zygote(u32),
}

/// Forks twice; the process in between exits at once.
///
/// The worker returns from the call only after the process in between has been reaped and its new
/// parent is `supervisor`; it is killed when the supervisor dies. A worker for which that cannot be
/// had exits without returning.
///
/// # Safety
/// Other threads of the calling process hold no lock that the worker will need: best there are none.
/// An interpreter's at-fork hooks are the caller's business.
///
/// # Errors
/// When the system is out of processes, memory or descriptors; only in the zygote.
pub unsafe fn double_fork(supervisor: u32) -> io::Result<Forked> {
    let (mut go_read, go_write) = io::pipe()?;
    // SAFETY: the caller's promise.
    match unsafe { split()? } {
        Split::Worker => {
            drop(go_write);
            let mut go = [0u8; 1];
            let released = go_read.read_exact(&mut go).is_ok();
            if !released || crate::process::die_with_parent(supervisor).is_err() {
                // SAFETY: ends the process without running anybody's exit handlers.
                unsafe { libc::_exit(0) }
            }
            Ok(Forked::Worker)
        }
        Split::Zygote { between, worker } => {
            drop(go_read);
            wait_for(between);
            let pid = worker?;
            // Broken pipe: the worker was killed already, which its parent will hear.
            let mut go_write = go_write;
            let _ = go_write.write_all(&[1]);
            Ok(Forked::Zygote(pid))
        }
    }
}

/// # Safety
/// As [`double_fork`].
#[cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn split() -> io::Result<Split> {
    if sharing::is_possible() {
        // SAFETY: the caller's promise, and this is the only thread.
        unsafe { sharing::split() }
    } else {
        // SAFETY: the caller's promise.
        unsafe { split_copying() }
    }
}

/// # Safety
/// As [`double_fork`].
#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
unsafe fn split() -> io::Result<Split> {
    // SAFETY: the caller's promise.
    unsafe { split_copying() }
}

/// The process in between is a copy like any other.
///
/// # Safety
/// As [`double_fork`].
unsafe fn split_copying() -> io::Result<Split> {
    let (mut pid_read, mut pid_write) = io::pipe()?;
    // SAFETY: the caller's promise.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: a forked child has one thread.
            match unsafe { libc::fork() } {
                0 => Ok(Split::Worker),
                pid => {
                    let _ = pid_write.write_all(&pid.to_ne_bytes());
                    // SAFETY: ends the process in between without running anybody's exit handlers.
                    unsafe { libc::_exit(0) }
                }
            }
        }
        between => {
            drop(pid_write);
            let mut pid = [0u8; 4];
            let read = pid_read.read_exact(&mut pid);
            // -1 is what the process in between wrote when its own fork failed.
            let worker = read.and_then(|()| {
                u32::try_from(i32::from_ne_bytes(pid)).map_err(|_| {
                    io::Error::other("the second fork failed: out of processes or memory")
                })
            });
            Ok(Split::Zygote { between, worker })
        }
    }
}

fn wait_for(pid: libc::pid_t) {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live, writable int.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        if waited != -1 || io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return;
        }
    }
}
