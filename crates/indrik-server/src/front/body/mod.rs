//! The bodies of requests, on their way from the client to a worker.

mod incoming;
mod pieces;
pub(super) mod pump;
pub(super) mod upload;

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::OwnedFd;

pub(super) use incoming::RequestBody;
pub(super) use pieces::Pieces;

/// A body up to this size travels beside the head.
pub(super) const INLINE_BYTES_MAX: usize = 64 * 1024;
/// A body up to this size lies in the memory that a worker has mapped already.
pub(super) const PLACED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A body as a file of its own in memory.
pub(super) fn memfd(body: &Pieces) -> io::Result<OwnedFd> {
    let fd = rustix::fs::memfd_create("indrik-body", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    body.write_to(&mut file)?;
    file.rewind()?;
    Ok(file.into())
}
