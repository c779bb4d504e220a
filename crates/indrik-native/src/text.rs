//! Strings between Python and the wire: latin-1 both ways, without copies where possible.

use pyo3::exceptions::PyMemoryError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// The bytes of a `str` as latin-1. `None` when it is no `str`, or holds characters that latin-1
/// has not. Valid as long as the object lives: a `str` never changes.
#[inline]
pub(crate) fn latin1_bytes<'a>(text: &'a Bound<'_, PyAny>) -> Option<&'a [u8]> {
    let raw = text.as_ptr();
    // SAFETY: `raw` is checked to be a str before anything is read of it; PyUnicode_GetLength
    // makes a str of the old kind (Python 3.10, 3.11) canonical; a kind of one byte means that the
    // data are that many latin-1 characters.
    unsafe {
        if ffi::PyUnicode_Check(raw) == 0 {
            return None;
        }
        let length = usize::try_from(ffi::PyUnicode_GetLength(raw)).ok()?;
        if ffi::PyUnicode_KIND(raw) != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        Some(std::slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(raw), length))
    }
}

/// A `str` of latin-1 bytes.
///
/// # Errors
/// `MemoryError`.
#[inline]
pub(crate) fn latin1_str<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: pointer and length are those of a slice, which is never longer than isize::MAX.
    unsafe {
        let raw = ffi::PyUnicode_DecodeLatin1(
            bytes.as_ptr().cast(),
            bytes.len().cast_signed(),
            std::ptr::null(),
        );
        Bound::from_owned_ptr_or_err(py, raw)
    }
}

/// A `bytes` object's contents. `None` when it is no `bytes`.
#[inline]
pub(crate) fn bytes_of<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a [u8]> {
    let raw = object.as_ptr();
    // SAFETY: checked to be bytes, whose contents never change.
    unsafe {
        if ffi::PyBytes_Check(raw) == 0 {
            return None;
        }
        let length = (*raw.cast::<ffi::PyVarObject>()).ob_size.cast_unsigned();
        Some(std::slice::from_raw_parts(ffi::PyBytes_AS_STRING(raw).cast(), length))
    }
}

/// An interned `str`, for keys.
pub(crate) fn interned<'py>(py: Python<'py>, text: &str) -> Bound<'py, PyAny> {
    PyString::intern(py, text).into_any()
}

/// Turns a failed C API call into its exception.
///
/// # Errors
/// The pending exception when `status` is negative.
#[inline]
pub(crate) fn check(py: Python<'_>, status: i32) -> PyResult<()> {
    if status >= 0 {
        return Ok(());
    }
    Err(PyErr::take(py).unwrap_or_else(|| PyMemoryError::new_err("out of memory")))
}
