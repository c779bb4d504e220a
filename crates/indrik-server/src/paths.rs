//! Files that settings name: read and opened without waiting, and with a limit where the file system
//! itself does not answer.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use indrik_sys::files;

/// How long a file system may take to answer. A disk under load takes seconds, a network mount whose
/// server has gone takes for ever.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest text of a setting's file: configurations, certificates.
const TEXT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads a file.
///
/// # Errors
/// When it is no file, cannot be read, or its file system does not answer.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let path = path.to_owned();
    files::within(ANSWER_MAX, move || files::read(&path, TEXT_BYTES_MAX))
}

/// Reads a text file.
///
/// # Errors
/// As [`files::read_text`], and when the file system does not answer.
pub fn read_text(path: &Path) -> io::Result<String> {
    let path = path.to_owned();
    files::within(ANSWER_MAX, move || files::read_text(&path, TEXT_BYTES_MAX))
}

/// Whether the file system answers for a path, whatever the answer is: who opens it, or changes into it, waits
/// for no longer.
///
/// # Errors
/// When it does not answer.
pub(crate) fn must_answer(path: &Path) -> io::Result<()> {
    let path = path.to_owned();
    within(move || drop(std::fs::metadata(path)))
}

/// Opens a log for appending.
///
/// # Errors
/// As [`files::append`], and when the file system does not answer.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    let path = path.to_owned();
    files::within(ANSWER_MAX, move || files::append(&path))
}

/// Appends a line to a file, which is made for its owner only if it is not there.
///
/// # Errors
/// When it cannot be written to, or its file system does not answer.
pub fn add_line(path: &Path, line: &str) -> io::Result<()> {
    let (path, line) = (path.to_owned(), format!("{line}\n"));
    files::within(ANSWER_MAX, move || {
        let made = files::create_new(&path, 0o600);
        let file = match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => files::append(&path),
            made => made,
        };
        file?.write_all(line.as_bytes())
    })
}

/// What a file is just now, if that can be known.
pub(crate) fn stamp(path: &Path) -> Option<Stamp> {
    let path = path.to_owned();
    let look = within(move || std::fs::metadata(path).ok()).ok()??;
    Some(Stamp {
        file: (look.dev(), look.ino()),
        bytes: look.size(),
        modified: (look.mtime(), look.mtime_nsec()),
        changed: (look.ctime(), look.ctime_nsec()),
    })
}

/// What tells a file from itself before a change. The time of its last write alone does not: whoever copies files
/// sets that as it likes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    file: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Does something else that a file system may hold up.
///
/// # Errors
/// When it does not answer.
pub(crate) fn within<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    files::within(ANSWER_MAX, move || Ok(work()))
}
