//! Wake-ups between the sides, by a pair of sockets for each way.
//!
//! Not an eventfd: an application may close what it did not open (`os.closerange(3, …)`), and the next file
//! that it opens gets the number. A write to that would land in the file; a socket call says ENOTSOCK, and where
//! it has become another socket, it is asked for first ([`KeptFd::ours`]).
//!
//! A sleeper that is told of each new byte (edge-triggered) need not read them, but must now and then: in a
//! socket that is full no new one arrives. [`RINGS_UNREAD_MAX`] says how many may lie there.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::kept::KeptFd;

/// Rings that may lie unread. The smallest buffer that the system gives a socket has room for several times
/// as many.
pub const RINGS_UNREAD_MAX: u32 = 32;

/// What one side sleeps on.
#[derive(Debug)]
pub struct Wake(KeptFd);

/// What wakes it.
#[derive(Debug)]
pub struct Bell(KeptFd);

/// The other end is closed, or this process has lost its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WakeLost;

/// A wake-up and its bell; close-on-exec.
///
/// # Errors
/// When the process is out of file descriptors.
pub fn wake_pair() -> io::Result<(Bell, Wake)> {
    let (bell, wake) = sockets()?;
    Ok((Bell::from_fd(bell), Wake::from_fd(wake)))
}

/// The same in the front's process, which runs no code but ours.
///
/// # Errors
/// As [`wake_pair`].
pub(crate) fn wake_pair_of_front() -> io::Result<(Bell, Wake)> {
    let (bell, wake) = sockets()?;
    Ok((Bell(KeptFd::alone(bell, drop)), Wake(KeptFd::alone(wake, drop))))
}

fn sockets() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

impl Bell {
    /// Takes over one that was inherited.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd.into())
    }

    /// Another one for the same sleeper.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        self.0.as_fd().try_clone_to_owned().map(Self::from_fd)
    }

    /// Whether the descriptor still is the one that it was.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.ours().is_some()
    }

    /// Wakes the sleeper. A full socket is fine: it has rings that it has not read.
    ///
    /// # Errors
    /// [`WakeLost`]. Whoever has another way to notice may ignore it.
    pub fn ring(&self) -> Result<(), WakeLost> {
        let bell = self.0.ours().ok_or(WakeLost)?;
        let flags = SendFlags::DONTWAIT.union(SendFlags::NOSIGNAL);
        match rustix::io::retry_on_intr(|| rustix::net::send(bell, &[1], flags)) {
            Ok(_) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => Ok(()),
            Err(_) => Err(WakeLost),
        }
    }
}

impl Wake {
    /// Whether the descriptor still is the one that it was.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.0.ours().is_some()
    }

    /// Takes over one that was inherited.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd.into())
    }

    /// Reads the rings so far.
    ///
    /// # Errors
    /// [`WakeLost`].
    pub fn clear(&self) -> Result<(), WakeLost> {
        let wake = self.0.ours().ok_or(WakeLost)?;
        let mut rings = [0; 2 * RINGS_UNREAD_MAX as usize];
        let flags = RecvFlags::DONTWAIT;
        match rustix::io::retry_on_intr(|| rustix::net::recv(wake, &mut rings, flags)) {
            Ok((1.., _)) | Err(Errno::AGAIN) => Ok(()),
            Ok((0, _)) | Err(_) => Err(WakeLost),
        }
    }

    /// Sleeps until rung or until `limit` is over (`None`: no limit). Signals end it early.
    ///
    /// # Errors
    /// [`WakeLost`].
    pub fn sleep(&self, limit: Option<std::time::Duration>) -> Result<(), WakeLost> {
        let limit = limit.map(|limit| Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        });
        let _ = rustix::event::poll(&mut [PollFd::new(&self.0, PollFlags::IN)], limit.as_ref());
        self.clear()
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
