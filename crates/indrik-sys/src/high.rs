//! Descriptors with high numbers.
//!
//! Applications close what they did not open (`os.closerange(3, 256)`), and expect the low numbers for their own
//! files: `select` takes those below 1,024 only. A descriptor that was closed with a high number leaves a
//! number that nobody gets soon, so that using it fails instead of reaching somebody's file.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::process::{Resource, getrlimit};

/// Above what applications close by a constant, and below what `select` takes.
const HIGH_FROM: i32 = 960;
/// Descriptors of ours that have room where the limit is lower than that.
const ROOM: i32 = 32;

/// Gives a descriptor a high number, if the limit leaves one; close-on-exec.
#[must_use]
pub fn moved(fd: OwnedFd) -> OwnedFd {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.and_then(|limit| i32::try_from(limit).ok()).unwrap_or(i32::MAX);
    let from = HIGH_FROM.min(limit.saturating_sub(ROOM));
    if fd.as_raw_fd() >= from {
        return fd;
    }
    rustix::io::fcntl_dupfd_cloexec(&fd, from).unwrap_or(fd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moved_descriptor_is_the_same_file_and_leaves_its_low_number() {
        let (reader, writer) = std::io::pipe().unwrap();
        let low = writer.as_raw_fd();
        let high = moved(writer.into());
        assert!(high.as_raw_fd() > low);
        rustix::io::write(&high, b"x").unwrap();
        assert_eq!(rustix::io::read(&reader, &mut [0; 2]).unwrap(), 1);
    }
}
