//! How a body that is all here gets to its worker, by its size: beside the head, in the channel's memory, or in a
//! file of its own.

use std::fs::File;
use std::io::{self, Seek};

use super::pieces::Pieces;

/// A body up to this size travels beside the head.
pub(crate) const INLINE_BYTES_MAX: usize = 64 * 1024;
/// A body up to this size lies in the memory that a worker has mapped already.
pub(crate) const PLACED_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A body as a file of its own in memory.
pub(crate) fn memfd(body: &Pieces) -> io::Result<File> {
    let fd = rustix::fs::memfd_create("indrik-body", rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut file = File::from(fd);
    body.write_to(&mut file)?;
    file.rewind()?;
    Ok(file)
}
