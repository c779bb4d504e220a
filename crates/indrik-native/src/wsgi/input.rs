//! `wsgi.input`: the request body.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use indrik_ring::{BodyPlace, BodyView};
use parking_lot::Mutex;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{
    PyBufferError, PyOSError, PyOverflowError, PyRuntimeError, PyStopIteration,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

/// Bytes that reading lines from a file fetches at once.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// The request body. The front has all of it before the application is called, so reading never
/// waits for the client: short bodies lie in memory, longer ones in the channel's while the request lasts,
/// long ones in a file.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Input {
    body: Mutex<Body>,
    /// Whether reading may have to wait for a disk.
    is_file: bool,
}

struct Body {
    source: Source,
    /// Bytes the application has taken.
    at: u64,
    len: u64,
    /// What was read ahead of a file, for lines.
    ahead: Vec<u8>,
    /// Where in the file `ahead` begins.
    ahead_at: u64,
}

enum Source {
    Memory(Vec<u8>),
    /// In the channel's memory, until the front is told that the request is over.
    Placed(Placed),
    File(OwnedFd),
}

/// A body in the channel's memory.
struct Placed {
    view: BodyView,
    place: BodyPlace,
}

impl Placed {
    fn bytes(&self) -> &[u8] {
        // SAFETY: `Input::placed` found the place, and the request is not over: `keep_what_is_left` takes
        // this away first. The slice lives no longer than the lock through which this is reached.
        unsafe { self.view.body(self.place) }.unwrap_or_default()
    }
}

impl Input {
    /// No body.
    pub(crate) const fn empty() -> Self {
        Self::new(Source::Memory(Vec::new()), 0, false)
    }

    /// A body in memory.
    pub(crate) fn memory(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self::new(Source::Memory(bytes), len, false)
    }

    /// A body in the channel's memory; to be followed by [`Self::keep_what_is_left`].
    ///
    /// # Errors
    /// When there is no such place.
    pub(crate) fn placed(view: &BodyView, place: BodyPlace) -> PyResult<Self> {
        // SAFETY: only its length is looked at.
        let Some(body) = (unsafe { view.body(place) }) else {
            return Err(PyRuntimeError::new_err("the front put a request's body nowhere"));
        };
        let len = body.len() as u64;
        Ok(Self::new(Source::Placed(Placed { view: view.clone(), place }), len, false))
    }

    /// The request is over, and another one's body will lie where this one does. Who still has the object
    /// (`is_kept`) reads what is left of it from a copy.
    pub(crate) fn keep_what_is_left(&self, is_kept: bool) {
        let mut body = self.body.lock();
        let Source::Placed(placed) = &body.source else { return };
        let at = usize::try_from(body.at).unwrap_or(usize::MAX);
        let rest = if is_kept { placed.bytes().get(at..) } else { None };
        let rest = rest.unwrap_or_default().to_vec();
        body.at = 0;
        body.len = rest.len() as u64;
        body.source = Source::Memory(rest);
    }

    /// A body that is the whole of a file.
    ///
    /// # Errors
    /// When the file's length cannot be asked.
    pub(crate) fn file(fd: OwnedFd) -> std::io::Result<Self> {
        let size = rustix::fs::fstat(&fd)?.st_size;
        Ok(Self::new(Source::File(fd), u64::try_from(size).unwrap_or(0), true))
    }

    const fn new(source: Source, len: u64, is_file: bool) -> Self {
        let body = Body { source, at: 0, len, ahead: Vec::new(), ahead_at: 0 };
        Self { body: Mutex::new(body), is_file }
    }

    /// Does something with the body; without the GIL if that may take time. Whoever holds the lock
    /// needs nothing of Python, so waiting for it with the GIL held is safe.
    fn with_body<R: Send>(&self, py: Python<'_>, work: impl FnOnce(&mut Body) -> R + Send) -> R {
        if self.is_file {
            py.detach(|| work(&mut self.body.lock()))
        } else {
            work(&mut self.body.lock())
        }
    }
}

#[pymethods]
impl Input {
    /// At most `size` bytes; all that is left when it is negative or `None`.
    #[pyo3(signature = (size = None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<Size>) -> PyResult<Bound<'py, PyBytes>> {
        if self.is_file {
            return self.read_file(py, size);
        }
        let mut body = self.body.lock();
        let (at, len) = body.take(size);
        let bytes = PyBytes::new(py, &body.source.bytes(at)[..len]);
        Ok(bytes)
    }

    /// Fills a writable buffer with what comes next; returns how many bytes that were.
    #[pyo3(signature = (buffer, /))]
    fn readinto(&self, py: Python<'_>, buffer: &Bound<'_, PyAny>) -> PyResult<usize> {
        let buffer = PyBuffer::<u8>::get(buffer)?;
        if buffer.readonly() || !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err("readinto() needs a writable, contiguous buffer"));
        }
        let (at, len) = self.body.lock().take(i64::try_from(buffer.len_bytes()).ok().map(Size));
        // SAFETY: the exporter keeps the memory in place while we have the buffer, and its length was
        // asked. Another thread that writes there at the same time gets a mixture, as with any `readinto`.
        let into = unsafe {
            std::slice::from_raw_parts_mut(buffer.buf_ptr().cast::<MaybeUninit<u8>>(), len)
        };
        self.with_body(py, |body| body.source.read_at(at, into)).map_err(read_failed)?;
        Ok(len)
    }

    /// One line with its end, at most `size` bytes of it; `b""` at the end of the body.
    #[pyo3(signature = (size = None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<Size>) -> PyResult<Bound<'py, PyBytes>> {
        let line = self.with_body(py, |body| body.read_line(limit(size))).map_err(read_failed)?;
        Ok(PyBytes::new(py, &line))
    }

    /// The lines that are left; about `hint` bytes of them when it is positive.
    #[pyo3(signature = (hint = None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<Size>) -> PyResult<Bound<'py, PyList>> {
        let lines = PyList::empty(py);
        let enough = limit(hint).and_then(|hint| usize::try_from(hint).ok());
        let enough = enough.filter(|hint| *hint > 0);
        let mut total = 0;
        loop {
            let line = self.readline(py, None)?;
            let len = line.as_bytes().len();
            if len == 0 {
                return Ok(lines);
            }
            lines.append(line)?;
            total += len;
            if enough.is_some_and(|enough| total >= enough) {
                return Ok(lines);
            }
        }
    }

    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let line = self.readline(py, None)?;
        if line.as_bytes().is_empty() {
            return Err(PyStopIteration::new_err(()));
        }
        Ok(line)
    }
}

impl Input {
    /// [`Self::read`] of a file: with the GIL released, straight into the object that is returned.
    fn read_file<'py>(&self, py: Python<'py>, size: Option<Size>) -> PyResult<Bound<'py, PyBytes>> {
        let (at, len) = self.body.lock().take(size);
        let object_len = ffi::Py_ssize_t::try_from(len)
            .map_err(|_| PyOSError::new_err("wsgi.input: the rest of the body is too large"))?;
        // SAFETY: a new object with room for so many bytes, which nobody else has, and which is thrown away
        // unless all of them are written.
        unsafe {
            let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), object_len);
            let object = Bound::from_owned_ptr_or_err(py, object)?;
            let start = ffi::PyBytes_AsString(object.as_ptr()).cast::<MaybeUninit<u8>>();
            let into = std::slice::from_raw_parts_mut(start, len);
            self.with_body(py, |body| body.source.read_at(at, into)).map_err(read_failed)?;
            Ok(object.cast_into_unchecked())
        }
    }
}

impl Body {
    /// Moves on by at most `size` bytes: from where, and how many.
    fn take(&mut self, size: Option<Size>) -> (u64, usize) {
        let at = self.at;
        let left = self.len - at;
        let len = limit(size).map_or(left, |limit| left.min(limit));
        self.at += len;
        (at, usize::try_from(len).unwrap_or(usize::MAX))
    }

    fn read_line(&mut self, limit: Option<u64>) -> std::io::Result<Vec<u8>> {
        let left = self.len - self.at;
        let limit = limit.map_or(left, |limit| limit.min(left));
        let mut line = Vec::new();
        while (line.len() as u64) < limit {
            let wanted = usize::try_from(limit - line.len() as u64).unwrap_or(usize::MAX);
            let piece = self.window()?;
            let piece = &piece[..piece.len().min(wanted)];
            let end = piece.iter().position(|b| *b == b'\n').map(|at| at + 1);
            line.extend_from_slice(&piece[..end.unwrap_or(piece.len())]);
            self.at += end.unwrap_or(piece.len()) as u64;
            if end.is_some() {
                break;
            }
        }
        Ok(line)
    }

    /// Bytes from the current place on: at least one, as the place lies before the end.
    fn window(&mut self) -> std::io::Result<&[u8]> {
        let fd = match &self.source {
            Source::Memory(_) | Source::Placed(_) => return Ok(self.source.bytes(self.at)),
            Source::File(fd) => fd,
        };
        let in_ahead = self.at.checked_sub(self.ahead_at).and_then(|at| usize::try_from(at).ok());
        match in_ahead.filter(|at| *at < self.ahead.len()) {
            Some(at) => Ok(&self.ahead[at..]),
            None => {
                let left = usize::try_from(self.len - self.at).unwrap_or(usize::MAX);
                let len = left.min(READ_AHEAD_BYTES);
                self.ahead.clear();
                self.ahead.reserve(len);
                read_file_at(fd, self.at, &mut self.ahead.spare_capacity_mut()[..len])?;
                // SAFETY: so many bytes were written.
                unsafe { self.ahead.set_len(len) };
                self.ahead_at = self.at;
                Ok(&self.ahead)
            }
        }
    }
}

impl Source {
    /// Of a body in memory, what lies behind `at`.
    fn bytes(&self, at: u64) -> &[u8] {
        let bytes = match self {
            Self::Memory(bytes) => bytes,
            Self::Placed(placed) => placed.bytes(),
            Self::File(_) => return &[],
        };
        usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default()
    }

    /// Fills `into` with what lies behind `at`, or fails.
    fn read_at(&self, at: u64, into: &mut [MaybeUninit<u8>]) -> std::io::Result<()> {
        if let Self::File(fd) = self {
            return read_file_at(fd, at, into);
        }
        let bytes = self.bytes(at).get(..into.len());
        into.write_copy_of_slice(bytes.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

/// Fills `into` from a file that is known to be long enough.
fn read_file_at(
    fd: &OwnedFd,
    mut at: u64,
    mut into: &mut [MaybeUninit<u8>],
) -> std::io::Result<()> {
    while !into.is_empty() {
        let count = match rustix::io::pread(fd, &mut *into, at) {
            Ok(([], _)) => {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            Ok((read, _)) => read.len(),
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        };
        into = &mut into[count..];
        at += count as u64;
    }
    Ok(())
}

/// `None`: no limit.
fn limit(size: Option<Size>) -> Option<u64> {
    size.and_then(|Size(size)| u64::try_from(size).ok())
}

/// How much is wanted, as an application says it: any integer. One that no body reaches is as good
/// as the largest.
#[derive(Clone, Copy)]
struct Size(i64);

impl<'py> FromPyObject<'_, 'py> for Size {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        match object.extract::<i64>() {
            Ok(size) => Ok(Self(size)),
            Err(error) if error.is_instance_of::<PyOverflowError>(py) => {
                Ok(Self(if object.lt(0)? { -1 } else { i64::MAX }))
            }
            Err(error) => Err(error),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn read_failed(error: std::io::Error) -> PyErr {
    PyOSError::new_err(format!("wsgi.input: cannot read the spooled request body: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &Input, limit: Option<u64>) -> Vec<Vec<u8>> {
        let next = || input.body.lock().read_line(limit).unwrap();
        std::iter::repeat_with(next).take_while(|line| !line.is_empty()).collect()
    }

    fn take(input: &Input, size: Option<Size>) -> (u64, usize) {
        input.body.lock().take(size)
    }

    fn spooled(bytes: &[u8]) -> Input {
        let fd = rustix::fs::memfd_create("body", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        assert_eq!(rustix::io::write(&fd, bytes).unwrap(), bytes.len());
        Input::file(fd).unwrap()
    }

    #[test]
    fn lines_are_the_same_from_memory_and_from_a_file() {
        for text in [&b"a\nbb\n\nccc"[..], b"", b"\n", b"no end", b"end\n"] {
            let expected: Vec<Vec<u8>> =
                text.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
            assert_eq!(lines(&Input::memory(text.to_vec()), None), expected);
            assert_eq!(lines(&spooled(text), None), expected);
        }
    }

    #[test]
    fn a_line_longer_than_what_is_read_ahead_is_whole() {
        let mut text = vec![b'x'; 3 * READ_AHEAD_BYTES + 7];
        text.extend_from_slice(b"\nrest");
        let got = lines(&spooled(&text), None);
        assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), [3 * READ_AHEAD_BYTES + 8, 4]);
    }

    #[test]
    fn a_line_limit_cuts_lines_and_loses_nothing() {
        let got = lines(&spooled(b"abcdef\ngh"), Some(4));
        assert_eq!(got, [&b"abcd"[..], b"ef\n", b"gh"]);
    }

    #[test]
    fn reading_moves_on_by_what_is_there() {
        let input = spooled(b"0123456789");
        assert_eq!(take(&input, Some(Size(4))), (0, 4));
        assert_eq!(take(&input, Some(Size(0))), (4, 0));
        assert_eq!(take(&input, Some(Size(100))), (4, 6));
        assert_eq!(take(&input, None), (10, 0));
        let mut into = [MaybeUninit::uninit(); 4];
        input.body.lock().source.read_at(3, &mut into).unwrap();
        // SAFETY: all four were written.
        assert_eq!(into.map(|byte| unsafe { byte.assume_init() }), *b"3456");
    }

    #[test]
    fn reading_on_after_a_line_does_not_skip_what_was_read_ahead() {
        let input = spooled(b"one\ntwo\nthree");
        assert_eq!(input.body.lock().read_line(None).unwrap(), b"one\n");
        assert_eq!(take(&input, Some(Size(2))), (4, 2));
        assert_eq!(input.body.lock().read_line(None).unwrap(), b"o\n");
        assert_eq!(take(&input, None), (8, 5));
    }
}
