//! A worker's double fork: the worker becomes the child of the supervisor (the sub-reaper), not of
//! the zygote, so that the supervisor reaps it and it outlives the zygote.

use std::io::{self, Read, Write};

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
/// The calling process has one thread only. An interpreter's at-fork hooks are the caller's business.
///
/// # Errors
/// When the system is out of processes, memory or descriptors; only in the zygote.
pub unsafe fn double_fork(supervisor: u32) -> io::Result<Forked> {
    let (mut pid_read, mut pid_write) = io::pipe()?;
    let (mut go_read, go_write) = io::pipe()?;
    // SAFETY: the process has one thread (the caller's promise).
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            // SAFETY: as above; a forked child has one thread.
            match unsafe { libc::fork() } {
                0 => {}
                pid => {
                    let _ = pid_write.write_all(&pid.to_ne_bytes());
                    // SAFETY: ends the process in between without running anybody's exit handlers.
                    unsafe { libc::_exit(0) }
                }
            }
            drop((pid_read, pid_write, go_write));
            let mut go = [0u8; 1];
            let released = go_read.read_exact(&mut go).is_ok();
            if !released || crate::process::die_with_parent(supervisor).is_err() {
                // SAFETY: as above.
                unsafe { libc::_exit(0) }
            }
            Ok(Forked::Worker)
        }
        between => {
            drop((pid_write, go_read));
            let mut pid = [0u8; 4];
            let read = pid_read.read_exact(&mut pid);
            wait_for(between);
            read?;
            // -1 is what the process in between wrote when its own fork failed.
            let Ok(pid) = u32::try_from(i32::from_ne_bytes(pid)) else {
                return Err(io::Error::other("the second fork failed: out of processes or memory"));
            };
            // Broken pipe: the worker was killed already, which its parent will hear.
            let mut go_write = go_write;
            let _ = go_write.write_all(&[1]);
            Ok(Forked::Zygote(pid))
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
