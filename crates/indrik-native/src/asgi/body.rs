//! What of a request's body comes with the request itself.

use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use indrik_ring::{BodyIn, BodyPlace, Descriptor};
use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::channel::Channel;

/// The first piece of a body, or all of it; `behind` is what stands behind the head.
///
/// # Errors
/// When it cannot be read.
pub(super) fn first_piece(
    py: Python<'_>,
    channel: &Channel,
    descriptor: &Descriptor,
    behind: &[u8],
) -> PyResult<Option<Py<PyBytes>>> {
    match descriptor.body_in() {
        BodyIn::Payload | BodyIn::Stream => {
            return Ok((!behind.is_empty()).then(|| PyBytes::new(py, behind).unbind()));
        }
        BodyIn::File => {
            let file = channel.take_file(descriptor.slot, descriptor.generation);
            let file = file.map_err(|lost| PyRuntimeError::new_err(lost.to_string()))?;
            return read_whole(py, &file).map(Some);
        }
        BodyIn::Placed => {}
    }
    // SAFETY: the request has just begun, and the bytes are copied before anything else happens.
    let body = BodyPlace::decode(behind).and_then(|place| unsafe { channel.bodies.body(place) });
    let body = body.ok_or_else(|| {
        PyRuntimeError::new_err("the front put a request's body nowhere; this is a bug of Indrik")
    })?;
    let first = PyBytes::new(py, body).unbind();
    // It was copied.
    channel.slots.release_body(descriptor.slot);
    Ok(Some(first))
}

/// A file in memory as one object.
fn read_whole(py: Python<'_>, file: &OwnedFd) -> PyResult<Py<PyBytes>> {
    let failed = |error: rustix::io::Errno| PyErr::from(std::io::Error::from(error));
    let len = rustix::fs::fstat(file).map_err(failed)?.st_size;
    let object_len = ffi::Py_ssize_t::try_from(len).unwrap_or_default();
    // SAFETY: a new object with room for so many bytes, which nobody else has, and which is thrown away
    // unless all of them are written.
    unsafe {
        let object = ffi::PyBytes_FromStringAndSize(std::ptr::null(), object_len);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let start = ffi::PyBytes_AsString(object.as_ptr()).cast::<MaybeUninit<u8>>();
        let len = usize::try_from(object_len).unwrap_or_default();
        let mut into = std::slice::from_raw_parts_mut(start, len);
        let mut at = 0;
        while !into.is_empty() {
            let (read, _) = rustix::io::pread(file, &mut *into, at).map_err(failed)?;
            let count = read.len();
            if count == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            at += count as u64;
            into = &mut into[count..];
        }
        Ok(object.cast_into_unchecked::<PyBytes>().unbind())
    }
}
