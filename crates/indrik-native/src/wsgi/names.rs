//! From header names to environ keys, with a bounded memory of keys and of recent values.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use pyo3::prelude::*;

use crate::text::{interned, latin1_str};

/// Names that are remembered beside the common ones; any further ones get a fresh key each time.
pub(crate) const NAMES_MAX: usize = 256;
/// Longer names are not remembered.
const NAME_BYTES_MAX: usize = 64;
/// Longer values are not remembered.
const VALUE_BYTES_MAX: usize = 256;

/// Known from the start, so that no client can crowd them out.
const COMMON: [&str; 47] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "access-control-request-headers",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "date",
    "dnt",
    "expect",
    "forwarded",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "keep-alive",
    "origin",
    "pragma",
    "priority",
    "range",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "te",
    "traceparent",
    "transfer-encoding",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-csrftoken",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    "x-requested-with",
];

/// The environ key of a header whose name is in lower case.
pub(crate) fn environ_key(name: &str) -> String {
    let upper = name.replace('-', "_").to_ascii_uppercase();
    match name {
        "content-type" | "content-length" => upper,
        _ => format!("HTTP_{upper}"),
    }
}

/// What joins the values of a repeated header: `; ` for cookies (RFC 9113 §8.2.3), else `,`.
pub(crate) fn joiner(name: &[u8]) -> &'static [u8] {
    if name == b"cookie" { b"; " } else { b"," }
}

/// One name's key, and the value it had last.
pub(crate) struct Name {
    /// The interned key.
    pub(crate) key: Py<PyAny>,
    /// The number of the request that had it last; tells a repeated header.
    pub(crate) seen: u64,
    /// Whether values may be remembered: not credentials.
    remember: bool,
    bytes: Vec<u8>,
    value: Option<Py<PyAny>>,
}

impl Name {
    fn new(py: Python<'_>, name: &str) -> Self {
        Self {
            key: interned(py, &environ_key(name)).unbind(),
            seen: 0,
            remember: !matches!(name, "authorization" | "cookie" | "content-length" | "range"),
            bytes: Vec::new(),
            value: None,
        }
    }

    /// The value as a `str`: the same object as last time when the value is the same, which spares
    /// making, hashing and freeing it (proxies and keep-alive clients repeat most of theirs).
    #[inline]
    pub(crate) fn value<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(value) = &self.value
            && self.bytes == bytes
        {
            return Ok(value.bind(py).clone());
        }
        let value = latin1_str(py, bytes)?;
        if self.remember && bytes.len() <= VALUE_BYTES_MAX {
            self.bytes.clear();
            self.bytes.extend_from_slice(bytes);
            self.value = Some(value.clone().unbind());
        }
        Ok(value)
    }
}

/// The names seen so far. Each thread has its own, so there is nothing to lock.
pub(crate) struct Names {
    /// Where in `names` the entry of a name is.
    places: HashMap<Box<[u8]>, usize, BuildHasherDefault<NameHasher>>,
    names: Vec<Name>,
}

impl Names {
    /// With the common names.
    pub(crate) fn new(py: Python<'_>) -> Self {
        let mut all = Self { places: HashMap::default(), names: Vec::new() };
        for name in COMMON {
            all.remember(py, name);
        }
        all
    }

    /// The entry of a name. `None` when it is not remembered and must be made for this once.
    #[inline]
    pub(crate) fn get(&mut self, py: Python<'_>, name: &[u8]) -> Option<&mut Name> {
        let place = match self.places.get(name) {
            Some(place) => *place,
            None => self.add(py, name)?,
        };
        self.names.get_mut(place)
    }

    #[cold]
    fn add(&mut self, py: Python<'_>, name: &[u8]) -> Option<usize> {
        if self.names.len() >= COMMON.len() + NAMES_MAX || name.len() > NAME_BYTES_MAX {
            return None;
        }
        Some(self.remember(py, std::str::from_utf8(name).ok()?))
    }

    fn remember(&mut self, py: Python<'_>, name: &str) -> usize {
        let place = self.names.len();
        self.names.push(Name::new(py, name));
        self.places.insert(name.as_bytes().into(), place);
        place
    }
}

/// A quick hash for short names. The table is bounded, so clients that choose colliding names gain
/// nothing.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0 ^ self.0 >> 32
    }

    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
        }
    }

    fn write_usize(&mut self, length: usize) {
        self.0 ^= length as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_keys_as_pep_3333_says() {
        assert_eq!(environ_key("host"), "HTTP_HOST");
        assert_eq!(environ_key("x-forwarded-for"), "HTTP_X_FORWARDED_FOR");
        assert_eq!(environ_key("content-type"), "CONTENT_TYPE");
        assert_eq!(environ_key("content-length"), "CONTENT_LENGTH");
        assert_eq!(environ_key("content-encoding"), "HTTP_CONTENT_ENCODING");
    }

    #[test]
    fn repeated_headers_are_joined_with_a_comma_and_cookies_with_a_semicolon() {
        assert_eq!(joiner(b"accept"), b",");
        assert_eq!(joiner(b"cookie"), b"; ");
    }
}
