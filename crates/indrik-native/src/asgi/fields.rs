//! Request header fields as Python objects, with the common ones kept.
//!
//! Names repeat on every request, and so do the values of a few fields (`host`, `user-agent`, …):
//! the pair of bytes objects of the last request is handed out again when it is equal.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PyTuple};

use indrik_ring::Headers;

/// Longest value that is kept for the next request, bytes.
const KEPT_VALUE_MAX: usize = 256;
/// Entries of the table of known names; a power of two, several times their number.
const TABLE_SLOTS: usize = 256;

/// Names that get one bytes object for all requests. The first group's values are kept too: they
/// repeat, and say nothing that must not lie in memory after the request.
const KEPT: &[&str] = &[
    "host",
    "user-agent",
    "accept",
    "accept-encoding",
    "accept-language",
    "accept-charset",
    "cache-control",
    "connection",
    "content-type",
    "pragma",
    "upgrade",
    "upgrade-insecure-requests",
    "x-forwarded-proto",
    "x-forwarded-host",
    "x-forwarded-port",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
];
const NAMED: &[&str] = &[
    "authorization",
    "content-length",
    "cookie",
    "date",
    "dnt",
    "expect",
    "forwarded",
    "from",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "origin",
    "priority",
    "range",
    "referer",
    "sec-websocket-key",
    "te",
    "trailer",
    "transfer-encoding",
    "via",
    "x-forwarded-for",
    "x-real-ip",
    "x-request-id",
    "x-requested-with",
    "traceparent",
    "tracestate",
];

struct Known {
    text: &'static str,
    name: Py<PyBytes>,
    keeps_value: bool,
    last: Option<(Box<[u8]>, Py<PyTuple>)>,
}

/// The table of known names.
pub(super) struct Fields {
    known: Vec<Known>,
    /// Index into `known` plus one, by hash; open addressing.
    table: Box<[u8; TABLE_SLOTS]>,
}

fn hash(name: &[u8]) -> usize {
    let (first, last) = match name {
        [] => (0, 0),
        [first, .., last] => (*first, *last),
        [only] => (*only, *only),
    };
    let middle = name.get(name.len() / 2).copied().unwrap_or(0);
    usize::from(first)
        .wrapping_mul(31)
        .wrapping_add(usize::from(last).wrapping_mul(7))
        .wrapping_add(usize::from(middle).wrapping_mul(3))
        .wrapping_add(name.len().wrapping_mul(17))
        % TABLE_SLOTS
}

impl Fields {
    /// A table with all known names in it.
    pub(super) fn new(py: Python<'_>) -> Self {
        let known = KEPT.iter().map(|text| (*text, true));
        let known = known.chain(NAMED.iter().map(|text| (*text, false)));
        let known: Vec<Known> = known
            .map(|(text, keeps_value)| Known {
                text,
                name: PyBytes::new(py, text.as_bytes()).unbind(),
                keeps_value,
                last: None,
            })
            .collect();
        let mut table = Box::new([0u8; TABLE_SLOTS]);
        for (index, entry) in known.iter().enumerate() {
            let mut place = hash(entry.text.as_bytes());
            while table[place] != 0 {
                place = (place + 1) % TABLE_SLOTS;
            }
            table[place] = u8::try_from(index + 1).expect("fewer than 255 names are known");
        }
        Self { known, table }
    }

    /// A request's fields as ASGI wants them: a list of `(name, value)`.
    ///
    /// # Errors
    /// `MemoryError`.
    pub(super) fn list<'py>(
        &mut self,
        py: Python<'py>,
        headers: Headers<'_>,
    ) -> PyResult<Bound<'py, PyList>> {
        let count = headers.count();
        let mut pairs = headers.map(|(name, value)| self.pair(py, name, value));
        let list = PyList::empty(py);
        // An exact-size list would be filled through the same calls; most requests have few fields.
        for _ in 0..count {
            if let Some(pair) = pairs.next() {
                list.append(pair?)?;
            }
        }
        Ok(list)
    }

    fn pair<'py>(
        &mut self,
        py: Python<'py>,
        name: &[u8],
        value: &[u8],
    ) -> PyResult<Bound<'py, PyTuple>> {
        let Some(known) = self.find(name) else {
            return PyTuple::new(py, [PyBytes::new(py, name), PyBytes::new(py, value)]);
        };
        if let Some((kept, pair)) = &known.last
            && **kept == *value
        {
            return Ok(pair.bind(py).clone());
        }
        let pair = PyTuple::new(py, [known.name.bind(py).clone(), PyBytes::new(py, value)])?;
        if known.keeps_value && value.len() <= KEPT_VALUE_MAX {
            known.last = Some((value.into(), pair.clone().unbind()));
        }
        Ok(pair)
    }

    fn find(&mut self, name: &[u8]) -> Option<&mut Known> {
        let mut place = hash(name);
        loop {
            let index = usize::from(self.table[place].checked_sub(1)?);
            if self.known[index].text.as_bytes() == name {
                return Some(&mut self.known[index]);
            }
            place = (place + 1) % TABLE_SLOTS;
        }
    }
}
