//! How the kernel shares a core between threads.

use std::io;

/// Makes the calling thread one that does not interrupt others when it wakes (SCHED_BATCH).
///
/// It has the same share of the core as before and runs at once where a core is free. On a busy one it
/// waits for the end of the running thread's slice (a few milliseconds), and then finds all
/// that has come together meanwhile.
///
/// # Errors
/// When the system forbids it.
pub fn do_not_interrupt_others() -> io::Result<()> {
    // SAFETY: plain data, all zero is a valid value.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, libc::SCHED_BATCH, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_calling_thread_is_changed() {
        let policy = || {
            // SAFETY: no memory is involved; 0 is the calling thread.
            unsafe { libc::sched_getscheduler(0) }
        };
        let before = policy();
        let inside = std::thread::spawn(move || do_not_interrupt_others().map(|()| policy()));
        assert_eq!(inside.join().expect("no panic").expect("allowed"), libc::SCHED_BATCH);
        assert_eq!(policy(), before);
    }
}
