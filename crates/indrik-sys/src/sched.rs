//! How the kernel shares a core between threads.

use std::io;
use std::time::Duration;

/// Makes the calling thread one that does not interrupt others when it wakes (SCHED_BATCH).
///
/// It has the same share of the core as before and runs at once where a core is free. On a busy one it
/// waits for the end of the running thread's slice (a few milliseconds), and then finds all
/// that has come together meanwhile.
///
/// # Errors
/// When the system forbids it.
pub fn do_not_interrupt_others() -> io::Result<()> {
    set_policy(libc::SCHED_BATCH)
}

/// Makes the calling thread one that runs when nobody else wants the core, and reads and writes when nobody else
/// wants the disk. It must hold nothing that others wait for.
///
/// # Errors
/// When the system forbids it; then as much of it holds as was possible.
pub fn run_when_idle() -> io::Result<()> {
    const WHO_THREAD: libc::c_long = 1;
    const CLASS_IDLE: libc::c_long = 3 << 13;
    // SAFETY: no memory is involved; 0 is the calling thread.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, WHO_THREAD, 0, CLASS_IDLE) };
    let disk = if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    set_policy(libc::SCHED_IDLE).and(disk)
}

fn set_policy(policy: libc::c_int) -> io::Result<()> {
    // SAFETY: plain data, all zero is a valid value.
    let parameters: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a live value; 0 is the calling thread.
    let result = unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The processor's time that a thread has had, by the kernel's number of it. None: there is no such thread in this
/// process.
#[must_use]
pub fn thread_cpu(thread: i32) -> Option<Duration> {
    // As the kernel counts the clocks of threads: the number's complement, and what is measured.
    const OF_THREAD_AND_SCHEDULER: i32 = 4 | 2;
    let clock: libc::clockid_t = !thread << 3 | OF_THREAD_AND_SCHEDULER;
    // SAFETY: plain data, all zero is a valid value.
    let mut time: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: `time` is live and writable; a clock that does not exist is an error.
    let result = unsafe { libc::clock_gettime(clock, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).ok().filter(|_| result == 0)?;
    Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_has_a_clock_while_it_lives() {
        let own = std::process::id() as i32;
        assert!(thread_cpu(own).is_some());
        assert_eq!(thread_cpu(i32::MAX >> 4), None);
    }

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
