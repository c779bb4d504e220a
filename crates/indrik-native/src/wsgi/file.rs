//! `wsgi.file_wrapper`: files that the front sends.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use pyo3::exceptions::{PyIndexError, PyStopIteration, PyTypeError};
use pyo3::prelude::*;
use rustix::fs::{FileType, SeekFrom};

use crate::text::bytes_of;

/// Bytes per read when the application names no other size.
const BLOCK_BYTES: usize = 8192;

/// Wraps a file-like object. Returned by the application as it is, the front sends the file; in any
/// other use it is an iterable of blocks.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct FileWrapper {
    /// The object that was wrapped.
    #[pyo3(get)]
    filelike: Py<PyAny>,
    /// Bytes per block.
    #[pyo3(get)]
    blksize: usize,
}

#[pymethods]
impl FileWrapper {
    #[new]
    #[pyo3(signature = (filelike, blksize = BLOCK_BYTES))]
    fn new(filelike: Py<PyAny>, blksize: usize) -> Self {
        Self { filelike, blksize }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let block = self.filelike.bind(py).call_method1("read", (self.blksize,))?;
        match bytes_of(&block) {
            Some([]) => Err(PyStopIteration::new_err(())),
            Some(_) => Ok(block),
            None => Err(PyTypeError::new_err(
                "the read method of the object given to wsgi.file_wrapper must return bytes: open \
                 the file in binary mode",
            )),
        }
    }

    /// The next block, whatever the index: the protocol of iteration before there were iterators.
    fn __getitem__<'py>(&self, py: Python<'py>, _index: isize) -> PyResult<Bound<'py, PyAny>> {
        self.__next__(py).map_err(|error| {
            if error.is_instance_of::<PyStopIteration>(py) {
                PyIndexError::new_err("the file is at its end")
            } else {
                error
            }
        })
    }

    /// Closes what was wrapped, if it can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.filelike.bind(py).getattr_opt("close")? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }
}

/// A regular file, as the front sends it.
pub(crate) struct FileRange {
    /// The file; a duplicate, so that the application may close its own.
    pub(crate) fd: OwnedFd,
    /// Where to begin, bytes.
    pub(crate) offset: u64,
    /// Bytes from there to the end of the file.
    pub(crate) len: u64,
}

impl FileWrapper {
    /// The rest of the wrapped file. `None` when it is no regular file: then it must be read.
    pub(crate) fn range(&self, py: Python<'_>) -> Option<FileRange> {
        let file = self.filelike.bind(py);
        let raw: RawFd = file.call_method0("fileno").ok()?.extract().ok()?;
        if raw < 0 {
            return None;
        }
        // SAFETY: the object holds the descriptor open; it is borrowed for this function only.
        let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
        let stat = rustix::fs::fstat(borrowed).ok()?;
        // What the kernel makes up while it is read (`/proc`) says that it is empty.
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size == 0 {
            return None;
        }
        // A buffered reader has read ahead of what it gave out, so its own word goes first.
        let told = file.call_method0("tell").ok().and_then(|at| at.extract::<u64>().ok());
        let offset = match told {
            Some(offset) => offset,
            None => rustix::fs::seek(borrowed, SeekFrom::Current(0)).ok()?,
        };
        let size = u64::try_from(stat.st_size).ok()?;
        let fd = rustix::io::fcntl_dupfd_cloexec(borrowed, 0).ok()?;
        Some(FileRange { fd, offset, len: size.saturating_sub(offset) })
    }
}
