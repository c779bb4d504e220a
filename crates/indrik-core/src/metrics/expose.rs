//! What a scraper is sent: families of all sources, in one order, each name once.

use std::collections::BTreeSet;

use super::accept::Format;
use super::family::{Family, Kind, Sample, Value};
use super::names::{is_label, is_name, taken};
use super::protobuf;
use super::text::{self, Dialect};

/// What a scraper is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The answer's body.
    pub body: Vec<u8>,
    /// Families and samples that were left out: their names clash with others', or cannot be read.
    pub left_out: u64,
}

/// Writes families as the scraper asks for them, sorted by name, their samples by labels. Where two families would
/// take the same name, the one that comes first in `families` has it.
#[must_use]
pub fn expose(families: Vec<Family>, format: Format) -> Exposed {
    let (mut kept, mut names, mut left_out) = (Vec::new(), BTreeSet::new(), 0);
    for mut family in families {
        let taken = taken(&family);
        if !is_name(&family.name) || taken.iter().any(|name| names.contains(name)) {
            left_out += 1;
            continue;
        }
        names.extend(taken);
        left_out += tidy(&mut family);
        kept.push(family);
    }
    kept.sort_by(|one, other| one.name.cmp(&other.name));
    let body = match format {
        Format::Text => text::text(&kept, Dialect::Prometheus).into_bytes(),
        Format::OpenMetrics => text::text(&kept, Dialect::OpenMetrics).into_bytes(),
        Format::Protobuf => protobuf::bytes(&kept),
    };
    Exposed { body, left_out }
}

/// Sorts a family's samples, and takes out what no scraper could read. Says how many that were.
fn tidy(family: &mut Family) -> u64 {
    let before = family.samples.len();
    let kind = family.kind;
    family.samples.retain(|sample| is_readable(kind, sample));
    family.samples.sort_by(|one, other| one.labels.cmp(&other.labels));
    family.samples.dedup_by(|one, other| one.labels == other.labels);
    (before - family.samples.len()) as u64
}

fn is_readable(kind: Kind, sample: &Sample) -> bool {
    let mut names: Vec<_> = sample.labels.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    let are_names =
        names.iter().all(|name| is_label(name)) && names.windows(2).all(|pair| pair[0] != pair[1]);
    let is_reserved = |name: &str| match kind {
        Kind::Histogram => name == "le",
        Kind::Summary => name == "quantile",
        Kind::Counter | Kind::Gauge | Kind::Info | Kind::Unknown => false,
    };
    let fits = match (kind, &sample.value) {
        (Kind::Counter | Kind::Gauge | Kind::Info | Kind::Unknown, Value::Number(_))
        | (Kind::Summary, Value::Sum { .. }) => true,
        (Kind::Histogram, Value::Distribution(it)) => {
            it.counts.len() == it.bounds.len() + 1
                && it.bounds.iter().all(|bound| bound.is_finite())
                && it.bounds.windows(2).all(|pair| pair[0] < pair[1])
        }
        _ => false,
    };
    are_names && fits && !names.iter().any(|name| is_reserved(name))
}

#[cfg(test)]
mod tests;
