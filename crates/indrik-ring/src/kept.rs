//! A descriptor that somebody else may have closed.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A descriptor of ours in a process whose code may close what it did not open. It is closed with this, unless
/// that was done.
#[derive(Debug)]
pub struct KeptFd(ManuallyDrop<OwnedFd>);

impl From<OwnedFd> for KeptFd {
    fn from(fd: OwnedFd) -> Self {
        Self(ManuallyDrop::new(fd))
    }
}

impl AsFd for KeptFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for KeptFd {
    fn drop(&mut self) {
        if rustix::io::fcntl_getfd(&*self.0).is_ok() {
            // SAFETY: this is the drop, so nothing uses it afterwards.
            unsafe { ManuallyDrop::drop(&mut self.0) }
        }
    }
}
