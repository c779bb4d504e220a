//! Families as Prometheus' protocol buffers (`io.prometheus.client.MetricFamily`), each with its length in front.
//! Native histograms come this way only. The numbers of the fields are those of that schema.

use super::family::{Distribution, Exemplar, Family, Kind, Label, Labels, Native, Sample, Value};
use super::names::whole;

/// All families, in the order given.
pub(super) fn bytes(families: &[Family]) -> Vec<u8> {
    let mut out = Vec::with_capacity(64 * 1024);
    for family in families {
        let message = family_message(family);
        push_varint(&mut out, message.len() as u64);
        out.extend_from_slice(&message);
    }
    out
}

fn family_message(family: &Family) -> Vec<u8> {
    let mut out = Vec::new();
    push_bytes(&mut out, 1, whole(family).as_bytes());
    push_bytes(&mut out, 2, family.help.as_bytes());
    let kind = match family.kind {
        Kind::Counter => 0,
        Kind::Gauge | Kind::Info => 1,
        Kind::Summary => 2,
        Kind::Unknown => 3,
        Kind::Histogram => 4,
    };
    push_number(&mut out, 3, kind);
    for sample in &family.samples {
        push_bytes(&mut out, 4, &metric(family.kind, sample));
    }
    if !family.unit.is_empty() {
        push_bytes(&mut out, 5, family.unit.as_bytes());
    }
    out
}

fn metric(kind: Kind, sample: &Sample) -> Vec<u8> {
    let mut out = Vec::new();
    push_labels(&mut out, 1, &sample.labels);
    let mut value = Vec::new();
    let field = match &sample.value {
        Value::Number(number) => {
            push_double(&mut value, 1, *number);
            match kind {
                Kind::Counter => 3,
                Kind::Gauge | Kind::Info => 2,
                Kind::Histogram | Kind::Summary | Kind::Unknown => 5,
            }
        }
        Value::Sum { count, sum } => {
            push_number(&mut value, 1, *count);
            push_double(&mut value, 2, *sum);
            4
        }
        Value::Distribution(it) => {
            push_distribution(&mut value, it);
            7
        }
    };
    push_bytes(&mut out, field, &value);
    out
}

fn push_distribution(out: &mut Vec<u8>, it: &Distribution) {
    push_number(out, 1, it.count());
    push_double(out, 2, it.sum);
    let bounds = it.bounds.iter().copied().chain([f64::INFINITY]);
    let (mut below, mut lower) = (0, f64::NEG_INFINITY);
    for (bound, count) in bounds.zip(&it.counts) {
        below += count;
        let mut bucket = Vec::new();
        push_number(&mut bucket, 1, below);
        push_double(&mut bucket, 2, bound);
        let is_within = |it: &&Exemplar| it.value > lower && it.value <= bound;
        if let Some(exemplar) = it.exemplars.iter().find(is_within) {
            push_bytes(&mut bucket, 3, &exemplar_message(exemplar));
        }
        push_bytes(out, 3, &bucket);
        lower = bound;
    }
    if let Some(native) = &it.native {
        push_native(out, native);
        for exemplar in &it.exemplars {
            push_bytes(out, 16, &exemplar_message(exemplar));
        }
    }
}

/// The schema; the zeros; the positive buckets as spans that are not empty, and the difference of each bucket to the
/// one before it.
fn push_native(out: &mut Vec<u8>, native: &Native) {
    push_number(out, 5, zigzag(i64::from(native.schema)));
    push_double(out, 6, native.zero_threshold);
    push_number(out, 7, native.zero_count);
    let mut deltas = Vec::new();
    let mut before = 0_i64;
    for (_, count) in &native.buckets {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        push_varint(&mut deltas, zigzag(count - before));
        before = count;
    }
    for (offset, length) in spans(native) {
        let mut span = Vec::new();
        push_number(&mut span, 1, zigzag(offset.into()));
        push_number(&mut span, 2, length);
        push_bytes(out, 12, &span);
    }
    if native.buckets.is_empty() {
        // An empty span says that these are native buckets, although there is none yet.
        push_bytes(out, 12, &[]);
    }
    push_bytes(out, 13, &deltas);
}

/// How many buckets are left out before each run of buckets, and its length; before the first run: its number.
fn spans(native: &Native) -> Vec<(i32, u64)> {
    let mut spans: Vec<(i32, u64)> = Vec::new();
    let mut next = 0;
    for (index, _) in &native.buckets {
        match spans.last_mut() {
            Some((_, length)) if *index == next => *length += 1,
            _ => spans.push((index - next, 1)),
        }
        next = index + 1;
    }
    spans
}

fn exemplar_message(exemplar: &Exemplar) -> Vec<u8> {
    let mut out = Vec::new();
    push_labels(&mut out, 1, &exemplar.labels);
    push_double(&mut out, 2, exemplar.value);
    let mut at = Vec::new();
    push_number(&mut at, 1, exemplar.at as u64);
    push_number(&mut at, 2, (exemplar.at.fract() * 1e9) as u64);
    push_bytes(&mut out, 3, &at);
    out
}

fn push_labels(out: &mut Vec<u8>, field: u32, labels: &Labels) {
    let pair = |(name, value): &(Label, Label)| {
        let mut pair = Vec::new();
        push_bytes(&mut pair, 1, name.as_bytes());
        push_bytes(&mut pair, 2, value.as_bytes());
        pair
    };
    labels.iter().for_each(|label| push_bytes(out, field, &pair(label)));
}

fn push_number(out: &mut Vec<u8>, field: u32, number: u64) {
    push_varint(out, u64::from(field << 3));
    push_varint(out, number);
}

fn push_double(out: &mut Vec<u8>, field: u32, number: f64) {
    push_varint(out, u64::from(field << 3 | 1));
    out.extend_from_slice(&number.to_le_bytes());
}

fn push_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    push_varint(out, u64::from(field << 3 | 2));
    push_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn push_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Signed numbers, small ones in few bytes.
const fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn spans_tell_the_numbers_of_all_buckets(
            indices in prop::collection::btree_set(-170i32..140, 0..80),
        ) {
            let buckets: Vec<_> = indices.iter().map(|index| (*index, 1)).collect();
            let native = Native { buckets, ..Native::default() };
            let (mut next, mut told) = (0, Vec::new());
            for (offset, length) in spans(&native) {
                prop_assert!(length > 0);
                next += offset;
                for _ in 0..length {
                    told.push(next);
                    next += 1;
                }
            }
            prop_assert_eq!(told, indices.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn numbers_come_back(number in any::<u64>(), signed in any::<i64>()) {
            let mut bytes = Vec::new();
            push_varint(&mut bytes, number);
            let back = bytes.iter().rev().fold(0, |back: u64, byte| back << 7 | u64::from(byte & 0x7f));
            prop_assert_eq!(back, number);
            let coded = zigzag(signed);
            prop_assert_eq!((coded >> 1) as i64 ^ -((coded & 1) as i64), signed);
        }
    }
}
