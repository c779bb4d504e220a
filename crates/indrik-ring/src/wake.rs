//! Wake-ups between the sides: one eventfd each way. A counter cannot overflow as a byte stream can.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

/// An eventfd that one side sleeps on and the other rings.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// A new one; non-blocking, close-on-exec.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Takes over an eventfd that was inherited.
    #[must_use]
    pub const fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Wakes the side that sleeps on it. A full counter is fine: the sleeper is woken anyway.
    pub fn ring(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Takes the count, so that the next sleep waits for the next ring.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
    }

    /// Sleeps until rung or until `limit` is over (`None`: no limit). Signals end it early.
    pub fn sleep(&self, limit: Option<std::time::Duration>) {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        let _ = rustix::event::poll(&mut [PollFd::new(&self.0, PollFlags::IN)], limit.as_ref());
        self.clear();
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
