//! The files of prometheus_client, where an application has it keep its metrics in files of its own.
//!
//! A file is named by kind, a gauge's mode and process: `counter_12.db`, `gauge_livesum_12.db`. It begins with how many of
//! its bytes are used (an `int`, then four bytes of padding); then come entries: the length of a key, the key as JSON,
//! padded so that what follows is aligned, the value and a time stamp.

use std::collections::BTreeMap;

use super::key::{family_key, series_key};
use super::series::Source;
use super::shape::{Across, AppKind, Part, Shape};
use super::totals::{Row, Totals};
use crate::metrics::Family;

/// As that library names the label.
const PROCESS: &str = "pid";
/// The longest key that is read.
const KEY_BYTES_MAX: usize = 32 * 1024;

/// What a file's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MirrorFile {
    kind: AppKind,
    across: Across,
    pid: u32,
}

impl MirrorFile {
    /// None: it is no file of that library's.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let mut parts = name.strip_suffix(".db")?.split('_');
        let kind = AppKind::named(parts.next()?)?;
        let across = match kind {
            AppKind::Gauge => across_of(parts.next()?)?,
            AppKind::Counter | AppKind::Histogram | AppKind::Summary => Across::Sum,
            AppKind::Info => return None,
        };
        let pid = parts.next()?.parse().ok()?;
        parts.next().is_none().then_some(Self { kind, across, pid })
    }
}

/// How a mode of that library's gauges puts processes together. Whether they live is told by which files there are.
fn across_of(mode: &str) -> Option<Across> {
    match mode.strip_prefix("live").unwrap_or(mode) {
        "all" => Some(Across::Each),
        "sum" => Some(Across::Sum),
        "min" => Some(Across::Min),
        "max" => Some(Across::Max),
        "mostrecent" => Some(Across::Last),
        _ => None,
    }
}

/// What all files say, added up.
pub struct Mirror(Totals);

impl Mirror {
    /// No file yet.
    #[must_use]
    pub fn new(series_max: usize) -> Self {
        Self(Totals::new(series_max, PROCESS))
    }

    /// Adds a file. Returns whether it could be read to its end.
    pub fn add(&mut self, file: MirrorFile, bytes: &[u8]) -> bool {
        let mut is_sound = true;
        let mut rows = Vec::new();
        let mut families = BTreeMap::new();
        for entry in entries(bytes) {
            let read = entry.and_then(|entry| row_of(file, &entry));
            let Some((shape, key, cells)) = read else {
                is_sound = false;
                continue;
            };
            families.entry(shape.name.clone()).or_insert_with(|| family_key(&shape));
            rows.push((key, cells));
        }
        let families = families.values().map(|(key, extra)| Row { key, extra, cells: &[] });
        let series = rows.iter().map(|(key, cells)| Row { key, extra: &[], cells });
        let all: Vec<Row<'_>> = families.chain(series).collect();
        let source = Source { place: Some(file.pid), generation: 0, is_alive: true };
        self.0.add(source, &all, true);
        is_sound
    }

    /// What there is.
    #[must_use]
    pub fn families(mut self) -> Vec<Family> {
        self.0.families()
    }
}

struct Entry<'a> {
    key: &'a [u8],
    value: f64,
    at: f64,
}

/// The entries of a file; None where the rest makes no sense.
fn entries(bytes: &[u8]) -> impl Iterator<Item = Option<Entry<'_>>> {
    let used = int(bytes, 0).unwrap_or(0).min(bytes.len());
    let mut at = size_of::<u64>();
    std::iter::from_fn(move || {
        if at >= used {
            return None;
        }
        let entry = entry_at(&bytes[..used], at);
        at = entry.as_ref().map_or(used, |(_, next)| *next);
        Some(entry.map(|(entry, _)| entry))
    })
}

fn entry_at(bytes: &[u8], at: usize) -> Option<(Entry<'_>, usize)> {
    let len = int(bytes, at)?;
    if len > KEY_BYTES_MAX {
        return None;
    }
    let start = at + 4;
    let padded = len + (8 - (len + 4) % 8);
    let number = |at: usize| {
        let bytes = bytes.get(at..)?.first_chunk()?;
        Some(f64::from_ne_bytes(*bytes))
    };
    let key = bytes.get(start..start + len)?;
    let value = start + padded;
    Some((Entry { key, value: number(value)?, at: number(value + 8)? }, value + 16))
}

fn int(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(i32::from_ne_bytes(*bytes)).ok()
}

type Read = (Shape, Vec<u8>, Vec<u64>);

fn row_of(file: MirrorFile, entry: &Entry<'_>) -> Option<Read> {
    let key: (String, String, BTreeMap<String, String>, String) =
        serde_json::from_slice(entry.key).ok()?;
    let (name, sample, mut labels, help) = key;
    let part = match sample.strip_prefix(name.as_str())? {
        "" | "_total" => Part::Whole,
        "_bucket" => Part::Bucket,
        "_sum" => Part::Sum,
        "_count" => Part::Count,
        _ => return None,
    };
    let bound = if part == Part::Bucket { labels.remove("le") } else { None };
    let (names, values): (Vec<String>, Vec<String>) = labels.into_iter().unzip();
    let shape = Shape {
        name,
        kind: file.kind,
        across: file.across,
        of_living: false,
        labels: names,
        bounds: Vec::new(),
        help,
    };
    if shape.check().is_err()
        || !shape.has(part)
        || file.kind == AppKind::Histogram && part == Part::Whole
    {
        return None;
    }
    let values: Vec<&str> = values.iter().chain(&bound).map(String::as_str).collect();
    let (key, _) = series_key(&shape.name, part, &values);
    let mut cells = vec![entry.value.to_bits()];
    if file.kind == AppKind::Gauge {
        // Only that mode has time stamps; all others count as set.
        let at = if file.across == Across::Last { entry.at } else { 1.0 };
        cells.push(at.to_bits());
    }
    Some((shape, key, cells))
}
