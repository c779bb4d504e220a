//! How a metric and its series are written into a table, and read again.
//!
//! A family's key is its name; what belongs to it is the rest of its shape. A series' key names its family, its part and
//! its labels' values. Texts have their length before them.

use super::shape::{LABEL_VALUE_BYTES_MAX, LABELS_MAX, Part, Shape, cut};

const FAMILY: u8 = b'F';
const SERIES: u8 = b'S';

/// A family's key, and what belongs to it.
#[must_use]
pub fn family_key(shape: &Shape) -> (Vec<u8>, Vec<u8>) {
    let mut key = vec![FAMILY];
    put(&mut key, &shape.name);
    let mut extra = shape.encode_kind().to_vec();
    extra.push(u8::try_from(shape.labels.len()).unwrap_or(u8::MAX));
    for label in &shape.labels {
        put(&mut extra, label);
    }
    put(&mut extra, shape.short_help());
    for bound in &shape.bounds {
        extra.extend(bound.to_ne_bytes());
    }
    (key, extra)
}

/// A series' key, and whether a value had to be cut for it.
#[must_use]
pub fn series_key(name: &str, part: Part, values: &[&str]) -> (Vec<u8>, bool) {
    let mut key = vec![SERIES, part.encode()];
    put(&mut key, name);
    let mut was_cut = false;
    for value in values {
        let short = cut(value, LABEL_VALUE_BYTES_MAX);
        was_cut |= short.len() < value.len();
        put(&mut key, short);
    }
    (key, was_cut)
}

/// The shape that stands in a table; None for what is none.
#[must_use]
pub fn family_shape(key: &[u8], extra: &[u8]) -> Option<Shape> {
    let mut key = Reader(key.strip_prefix(&[FAMILY])?);
    let name = key.text()?;
    let mut extra = Reader(extra);
    let (kind, across, of_living) =
        Shape::decode_kind([extra.byte()?, extra.byte()?, extra.byte()?])?;
    let count = usize::from(extra.byte()?);
    if count > LABELS_MAX || !key.0.is_empty() {
        return None;
    }
    let labels: Option<_> = (0..count).map(|_| extra.text()).collect();
    let (labels, help) = (labels?, extra.text()?);
    let (bounds, rest) = extra.0.as_chunks();
    let bounds = bounds.iter().map(|bytes| f64::from_ne_bytes(*bytes)).collect();
    let shape = Shape { name, kind, across, of_living, labels, bounds, help };
    (rest.is_empty() && shape.check().is_ok()).then_some(shape)
}

/// Whether a key is a family's.
pub(super) fn is_family(key: &[u8]) -> bool {
    key.first() == Some(&FAMILY)
}

/// A series as its key tells it: the family's name, which part, the values of its labels.
pub(super) fn series_of(key: &[u8]) -> Option<(String, Part, Vec<String>)> {
    let mut key = Reader(key.strip_prefix(&[SERIES])?);
    let part = Part::decode(key.byte()?)?;
    let name = key.text()?;
    let mut values = Vec::new();
    while !key.0.is_empty() {
        if values.len() > LABELS_MAX {
            return None;
        }
        values.push(key.text()?);
    }
    Some((name, part, values))
}

fn put(into: &mut Vec<u8>, text: &str) {
    let text = cut(text, usize::from(u16::MAX));
    into.extend(u16::try_from(text.len()).unwrap_or(0).to_ne_bytes());
    into.extend(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn text(&mut self) -> Option<String> {
        let (len, rest) = self.0.split_first_chunk()?;
        let (text, rest) = rest.split_at_checked(usize::from(u16::from_ne_bytes(*len)))?;
        self.0 = rest;
        Some(std::str::from_utf8(text).ok()?.to_owned())
    }
}
