//! The standard streams.

use std::io;
use std::os::fd::{AsRawFd as _, RawFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// The highest number that is a standard stream.
const LAST: RawFd = 2;

/// Gives each standard stream that is closed a place: nowhere.
///
/// A program may be started without them. The next files that it opens would get their numbers, and what is
/// written to "the error output", here or by a library in a worker, would go into a socket or a file. So
/// this is the first thing that a process does, before it opens anything that it keeps.
///
/// # Errors
/// When there is no `/dev/null`.
pub fn fill() -> io::Result<()> {
    // SAFETY: the numbers are only asked about; a closed one says EBADF.
    let is_open = |fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } != -1;
    // What is opened gets the lowest number that is free.
    for fd in (0..=LAST).filter(|fd| !is_open(*fd)) {
        let nowhere = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty())?;
        if nowhere.as_raw_fd() != fd {
            return Err(Errno::BADF.into());
        }
        // It stays open for as long as the process lives.
        std::mem::forget(nowhere);
    }
    Ok(())
}
