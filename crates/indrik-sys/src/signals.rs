//! Signals as something to read: blocked for the whole process, fetched from a signalfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::signal::Signal;

/// The signals of one kind of process, as a stream.
///
/// They stay blocked in every thread started after [`SignalStream::open`], and in children, unless
/// these call [`unblock_all`].
#[derive(Debug)]
pub struct SignalStream(OwnedFd);

impl SignalStream {
    /// Blocks the signals in this thread and opens the stream.
    ///
    /// # Errors
    /// When one is no signal or the process is out of file descriptors.
    pub fn open(signals: &[Signal]) -> io::Result<Self> {
        // SAFETY: an all-zero sigset_t is a valid place for sigemptyset to write to.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is a live, writable sigset_t.
        unsafe { libc::sigemptyset(&raw mut set) };
        for signal in signals {
            // SAFETY: as above; a number that is no signal is answered with an error.
            check(unsafe { libc::sigaddset(&raw mut set, signal.number()) })?;
        }
        // SAFETY: `set` is initialised; the old mask is not asked for.
        let blocked =
            unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
        if blocked != 0 {
            return Err(io::Error::from_raw_os_error(blocked));
        }
        // A parent may have left SIGCHLD ignored, and then the kernel would reap our children.
        // SAFETY: SIG_DFL installs no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        // SAFETY: `set` is initialised; -1 asks for a new descriptor.
        let fd = check(unsafe {
            libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK)
        })?;
        // SAFETY: the descriptor is fresh and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// The next signal, or `None` when none is waiting.
    ///
    /// # Errors
    /// When the descriptor cannot be read.
    pub fn next(&self) -> io::Result<Option<Signal>> {
        // SAFETY: signalfd_siginfo is plain data; all zero is a valid value.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of::<libc::signalfd_siginfo>();
        // SAFETY: the buffer is as long as said and may hold any bytes.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        if read == size as isize {
            return Ok(i32::try_from(info.ssi_signo).ok().map(Signal::from_number));
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
            _ => Err(error),
        }
    }
}

impl AsFd for SignalStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Lets all signals through to this thread. Makes system calls only, so it may run after a fork.
///
/// # Errors
/// Never, in fact: the kernel accepts every mask.
pub fn unblock_all() -> io::Result<()> {
    // SAFETY: an all-zero sigset_t is a valid place for sigemptyset to write to.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is a live, writable sigset_t; the old mask is not asked for.
    let result = unsafe {
        libc::sigemptyset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut())
    };
    if result == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(result)) }
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_to_this_thread_is_read_from_the_stream() {
        let stream = SignalStream::open(&[Signal::USR1]).unwrap();
        assert_eq!(stream.next().unwrap(), None);
        // SAFETY: the signal is blocked in this thread, so it only becomes pending.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR1) };
        assert_eq!(stream.next().unwrap(), Some(Signal::USR1));
        assert_eq!(stream.next().unwrap(), None);
    }

    #[test]
    fn a_number_that_is_no_signal_is_an_error() {
        assert!(SignalStream::open(&[Signal::from_number(4711)]).is_err());
    }
}
