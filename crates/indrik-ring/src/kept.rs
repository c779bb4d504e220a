//! A descriptor that somebody else may have closed.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A descriptor of ours in a process whose code may close what it did not open. It is closed with this, unless
/// that was done.
///
/// The number of one that was closed is given to the next file of the application's, which may be a socket too:
/// so [`KeptFd::ours`] asks which file it is before it is used for anything that reaches the other side.
#[derive(Debug)]
pub struct KeptFd {
    fd: ManuallyDrop<OwnedFd>,
    /// Which file it was. `None`: nobody else is in this process.
    file: Option<FileId>,
    close: Close,
}

/// How a file is closed that may hold what somebody else chose.
pub type Close = fn(OwnedFd);

/// Device and inode. Each socket has an inode of its own.
type FileId = (u64, u64);

impl KeptFd {
    /// One in the front's process, which runs no code but ours: it is not asked which file it is.
    pub(crate) fn alone(fd: OwnedFd, close: Close) -> Self {
        Self { fd: ManuallyDrop::new(fd), file: None, close }
    }

    /// The descriptor, if it still is the file that it was. `None`: somebody closed it.
    #[must_use]
    pub fn ours(&self) -> Option<BorrowedFd<'_>> {
        let is_ours = self.file.is_none() || id(self.fd.as_fd()) == self.file;
        is_ours.then(|| self.fd.as_fd())
    }
}

impl From<OwnedFd> for KeptFd {
    fn from(fd: OwnedFd) -> Self {
        let file = id(fd.as_fd());
        Self { fd: ManuallyDrop::new(fd), file, close: drop }
    }
}

impl AsFd for KeptFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for KeptFd {
    fn drop(&mut self) {
        if self.ours().is_some() {
            // SAFETY: this is the drop, so nothing uses it afterwards.
            (self.close)(unsafe { ManuallyDrop::take(&mut self.fd) });
        }
    }
}

fn id(fd: BorrowedFd<'_>) -> Option<FileId> {
    rustix::fs::fstat(fd).ok().map(|stat| (stat.st_dev, stat.st_ino))
}

#[cfg(not(loom))]
#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;
    use crate::handoff::{both_ways, files_pair};
    use crate::wake::{Wake, WakeLost, wake_pair};
    use crate::{Bell, FileLost};

    /// Puts another file under a descriptor's number, as a process does that closes it and opens something else.
    fn replace(kept: BorrowedFd<'_>, by: &OwnedFd) {
        let mut number = ManuallyDrop::new(
            // SAFETY: only to name the number; it is not closed with this.
            unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(kept.as_raw_fd()) },
        );
        rustix::io::dup2(by, &mut number).unwrap();
    }

    /// What a socket of the application's has got.
    fn received(socket: &OwnedFd) -> usize {
        let flags = rustix::net::RecvFlags::DONTWAIT;
        rustix::net::recv(socket, &mut [0; 64], flags).map_or(0, |(_, bytes)| bytes)
    }

    fn application_s() -> (OwnedFd, OwnedFd) {
        let (theirs, other) = std::os::unix::net::UnixStream::pair().unwrap();
        (theirs.into(), other.into())
    }

    #[test]
    fn a_ring_never_reaches_a_socket_that_has_got_the_number() {
        let (bell, _wake) = wake_pair().unwrap();
        let (theirs, other) = application_s();
        replace(bell.as_fd(), &theirs);
        assert_eq!(bell.ring(), Err(WakeLost));
        drop(bell);
        assert_eq!(received(&other), 0);
    }

    #[test]
    fn what_an_application_s_socket_was_sent_is_not_read_as_rings() {
        let (_bell, wake): (Bell, Wake) = wake_pair().unwrap();
        let (theirs, other) = application_s();
        rustix::io::write(&other, b"for the application").unwrap();
        replace(wake.as_fd(), &theirs);
        assert_eq!(wake.clear(), Err(WakeLost));
        assert_eq!(received(&theirs), 19);
    }

    #[test]
    fn no_file_is_taken_from_an_application_s_socket() {
        let (ours, _others) = files_pair().unwrap();
        let (sender, mut receiver) = both_ways(ours, drop);
        let (theirs, other) = application_s();
        rustix::io::write(&other, b"for the application").unwrap();
        replace(sender.as_fd(), &theirs);
        assert_eq!(receiver.take(0, 0, |_, _| true).unwrap_err(), FileLost::Closed);
        assert_eq!(received(&theirs), 19);
    }

    #[test]
    fn a_number_that_belongs_to_somebody_else_is_not_closed_with_it() {
        let (theirs, _other) = application_s();
        let kept = KeptFd::from(application_s().0);
        replace(kept.as_fd(), &theirs);
        let number = kept.as_fd().as_raw_fd();
        drop(kept);
        // SAFETY: it was put there above, and is closed with this.
        drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(number) });
    }
}
