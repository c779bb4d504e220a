//! Reading the messages that the application sends: typed access, with errors that name the key.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyList, PyString, PyTuple};

/// A message of the application, and its type.
pub(super) struct Message<'a, 'py> {
    /// The message.
    pub(super) dict: &'a Bound<'py, PyDict>,
    /// Its type.
    pub(super) kind: &'a str,
}

impl<'py> Message<'_, 'py> {
    /// A key that must be there.
    pub(super) fn required(&self, key: &Bound<'py, PyString>) -> PyResult<Bound<'py, PyAny>> {
        match self.dict.get_item(key)? {
            Some(value) => Ok(value),
            None => Err(PyValueError::new_err(format!(
                "ASGI message '{}' has no key {key:?}; add it",
                self.kind
            ))),
        }
    }

    /// A flag; absent means false.
    pub(super) fn flag(&self, key: &Bound<'py, PyString>) -> PyResult<bool> {
        match self.dict.get_item(key)? {
            None => Ok(false),
            Some(value) => match value.cast::<PyBool>() {
                Ok(flag) => Ok(flag.is_true()),
                Err(_) => value.is_truthy(),
            },
        }
    }

    /// Bytes; absent and `None` mean none. `bytearray` and `memoryview` are copied.
    pub(super) fn bytes(
        &self,
        key: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let Some(value) = self.dict.get_item(key)? else { return Ok(None) };
        match value.cast_into::<PyBytes>() {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) => self.other_bytes(key, &error.into_inner()),
        }
    }

    #[cold]
    fn other_bytes(
        &self,
        key: &Bound<'py, PyString>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = value.py();
        if value.is_none() {
            return Ok(None);
        }
        if value.is_instance_of::<pyo3::types::PyByteArray>()
            || value.is_instance_of::<pyo3::types::PyMemoryView>()
        {
            let copy = py.get_type::<PyBytes>().call1((value,))?;
            return Ok(Some(copy.cast_into::<PyBytes>()?));
        }
        Err(self.wrong_type(key, "bytes", value))
    }

    /// Text; absent and `None` mean none.
    pub(super) fn text(
        &self,
        key: &Bound<'py, PyString>,
    ) -> PyResult<Option<Bound<'py, PyString>>> {
        let Some(value) = self.dict.get_item(key)? else { return Ok(None) };
        if value.is_none() {
            return Ok(None);
        }
        value.cast::<PyString>().cloned().map(Some).map_err(|_| self.wrong_type(key, "str", &value))
    }

    /// The error for a value of the wrong type.
    pub(super) fn wrong_type(
        &self,
        key: &Bound<'py, PyString>,
        wanted: &str,
        value: &Bound<'py, PyAny>,
    ) -> PyErr {
        let found = value.get_type();
        let found =
            found.name().map_or_else(|_| "another type".to_owned(), |name| name.to_string());
        let kind = self.kind;
        PyTypeError::new_err(format!(
            "ASGI message '{kind}': {key:?} must be {wanted}, not {found}"
        ))
    }

    /// The fields of the message as a list of pairs of bytes; absent means none.
    pub(super) fn headers(&self, key: &Bound<'py, PyString>) -> PyResult<Pairs<'py>> {
        let py = self.dict.py();
        let value = match self.dict.get_item(key)? {
            None => return Ok(Pairs(PyList::empty(py))),
            Some(value) if value.is_none() => return Ok(Pairs(PyList::empty(py))),
            Some(value) => value,
        };
        if let Ok(list) = value.cast_exact::<PyList>()
            && list.iter().all(|pair| is_pair_of_bytes(&pair))
        {
            return Ok(Pairs(list.clone()));
        }
        self.other_headers(key, &value)
    }

    /// Any iterable of any iterables of two, made into a list of tuples.
    #[cold]
    fn other_headers(
        &self,
        key: &Bound<'py, PyString>,
        value: &Bound<'py, PyAny>,
    ) -> PyResult<Pairs<'py>> {
        let list = PyList::empty(value.py());
        let fail = |found: &Bound<'py, PyAny>| {
            let kind = self.kind;
            PyTypeError::new_err(format!(
                "ASGI message '{kind}': {key:?} must be an iterable of [name, value] pairs of bytes, found {found:?}"
            ))
        };
        for pair in value.try_iter().map_err(|_| fail(value))? {
            let pair = pair?;
            let items: Vec<Bound<'py, PyAny>> =
                pair.try_iter().map_err(|_| fail(&pair))?.collect::<PyResult<_>>()?;
            let [name, value] = items.as_slice() else { return Err(fail(&pair)) };
            if !name.is_instance_of::<PyBytes>() || !value.is_instance_of::<PyBytes>() {
                return Err(fail(&pair));
            }
            list.append(PyTuple::new(list.py(), [name, value])?)?;
        }
        Ok(Pairs(list))
    }
}

fn is_pair_of_bytes(pair: &Bound<'_, PyAny>) -> bool {
    if let Ok(tuple) = pair.cast_exact::<PyTuple>() {
        tuple.len() == 2 && tuple.iter_borrowed().all(|item| item.is_instance_of::<PyBytes>())
    } else if let Ok(list) = pair.cast_exact::<PyList>() {
        list.len() == 2 && list.iter().all(|item| item.is_instance_of::<PyBytes>())
    } else {
        false
    }
}

/// A list whose items are known to be tuples or lists of two bytes objects.
pub(super) struct Pairs<'py>(Bound<'py, PyList>);

impl Pairs<'_> {
    /// Calls `each` with every name and value.
    ///
    /// # Errors
    /// What `each` gives.
    pub(super) fn each(&self, mut each: impl FnMut(&[u8], &[u8]) -> PyResult<()>) -> PyResult<()> {
        for pair in self.0.iter() {
            if let Ok(tuple) = pair.cast_exact::<PyTuple>() {
                let (name, value) = (tuple.get_borrowed_item(0)?, tuple.get_borrowed_item(1)?);
                each(name.cast::<PyBytes>()?.as_bytes(), value.cast::<PyBytes>()?.as_bytes())?;
            } else {
                let list = pair.cast_exact::<PyList>()?;
                let (name, value) = (list.get_item(0)?, list.get_item(1)?);
                each(name.cast::<PyBytes>()?.as_bytes(), value.cast::<PyBytes>()?.as_bytes())?;
            }
        }
        Ok(())
    }
}
