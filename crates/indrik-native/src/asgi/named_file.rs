//! A file that an application names instead of sending it.

use std::ffi::OsString;
use std::os::fd::OwnedFd;

use pyo3::exceptions::PyOSError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyString;
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

/// A regular file, opened with the rights of this process.
pub(super) struct NamedFile {
    pub(super) fd: OwnedFd,
    /// Its length, bytes.
    pub(super) len: u64,
}

impl NamedFile {
    /// Opens it, with the interpreter's lock released. A relative path begins at this process's directory.
    ///
    /// # Errors
    /// The `OSError` that Python's `open` would raise, and one for everything that is not a regular file.
    pub(super) fn open(path: &Bound<'_, PyString>) -> PyResult<Self> {
        let py = path.py();
        let name: OsString = path.extract()?;
        py.detach(|| open_regular(&name)).map_err(|errno| error(path, errno))
    }
}

/// Without waiting: opening a pipe would wait for its writer.
fn open_regular(name: &OsString) -> Result<NamedFile, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let fd = rustix::fs::open(name.as_os_str(), flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Directory => return Err(Errno::ISDIR),
        _ => return Err(Errno::INVAL),
    }
    Ok(NamedFile { fd, len: u64::try_from(stat.st_size).unwrap_or(0) })
}

#[cold]
fn error(path: &Bound<'_, PyString>, errno: Errno) -> PyErr {
    let py = path.py();
    let number = errno.raw_os_error();
    let text = if errno == Errno::INVAL {
        Ok("http.response.pathsend takes regular files only".to_owned())
    } else {
        py.import(intern!(py, "os"))
            .and_then(|os| os.call_method1(intern!(py, "strerror"), (number,))?.extract())
    };
    match text {
        Ok(text) => PyOSError::new_err((number, text, path.clone().unbind())),
        Err(error) => error,
    }
}
