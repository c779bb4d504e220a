//! Families as a scraper is told of them.

use std::borrow::Cow;

use super::series::{Count, Series};
use super::shape::{AppKind, Part, Shape};

use crate::metrics::{Distribution, Family, Labels, Sample, Value};

/// The label that tells processes apart, where the metric has the usual one itself.
const OUR_PROCESS: &str = "indrik_process";

/// A family of its series, which are sorted by their labels. `process` is the label that
/// tells processes apart.
pub(super) fn family(shape: &Shape, process: &'static str, series: &[&Series]) -> Family {
    let samples = match shape.kind {
        AppKind::Histogram => histograms(shape, series),
        AppKind::Summary => summaries(shape, series),
        AppKind::Counter | AppKind::Gauge | AppKind::Info => {
            series.iter().flat_map(|series| numbers(shape, process, series)).collect()
        }
    };
    Family {
        name: shape.name.clone().into(),
        help: shape.help.clone().into(),
        kind: shape.kind.shown(),
        unit: "".into(),
        samples,
    }
}

fn labels(shape: &Shape, values: &[String]) -> Labels {
    let names = shape.labels.iter().map(|name| Cow::Owned(name.clone()));
    names.zip(values.iter().map(|value| Cow::Owned(value.clone()))).collect()
}

fn numbers(shape: &Shape, process: &'static str, series: &Series) -> Vec<Sample> {
    let labels = labels(shape, &series.labels);
    match &series.count {
        Count::Sums { now, .. } => vec![number(labels, now[0])],
        Count::One { now: Some(mark), .. } if shape.kind == AppKind::Info => {
            if mark.value == 0.0 {
                Vec::new()
            } else {
                vec![number(labels, 1.0)]
            }
        }
        Count::One { now, .. } => {
            now.iter().map(|mark| number(labels.clone(), mark.value)).collect()
        }
        Count::Each(values) => {
            let has_own = shape.labels.iter().any(|label| label == process);
            let name = if has_own { OUR_PROCESS } else { process };
            let mut values = values.clone();
            // Two processes may have had one place for a moment: the newer one is behind the other.
            values.sort_by_key(|(place, _)| *place);
            let last = values.chunk_by(|a, b| a.0 == b.0).filter_map(<[_]>::last);
            let of_each = last.map(|(place, value)| {
                let place = place.map_or_else(|| "zygote".to_owned(), |place| place.to_string());
                let mut labels = labels.clone();
                labels.push((name.into(), place.into()));
                number(labels, *value)
            });
            of_each.collect()
        }
    }
}

const fn number(labels: Labels, value: f64) -> Sample {
    Sample { labels, value: Value::Number(value) }
}

/// The series of each set of labels of the family.
fn by_labels<'a>(shape: &Shape, series: &'a [&'a Series]) -> Vec<(Labels, Vec<&'a Series>)> {
    let len = shape.labels.len();
    let mut groups: Vec<(&[String], Vec<&Series>)> = Vec::new();
    for series in series {
        let own = &series.labels[..len];
        match groups.last_mut() {
            Some((of, group)) if *of == own => group.push(series),
            _ => groups.push((own, vec![series])),
        }
    }
    groups.into_iter().map(|(own, group)| (labels(shape, own), group)).collect()
}

fn histograms(shape: &Shape, series: &[&Series]) -> Vec<Sample> {
    let groups = by_labels(shape, series).into_iter();
    groups
        .map(|(labels, group)| {
            let distribution = distribution(shape, &group);
            Sample { labels, value: Value::Distribution(Box::new(distribution)) }
        })
        .collect()
}

fn distribution(shape: &Shape, group: &[&Series]) -> Distribution {
    let mut sum = 0.0;
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for series in group {
        let Count::Sums { now, .. } = &series.count else { continue };
        match series.part {
            Part::Whole => {
                sum += now[0];
                let bounds = shape.bounds.iter().copied().chain([f64::INFINITY]);
                buckets.extend(bounds.zip(now[1..].iter().map(|count| *count as u64)));
            }
            Part::Bucket => {
                let bound = series.labels.last().and_then(|text| bound_of(text));
                buckets.extend(bound.map(|bound| (bound, now[0] as u64)));
            }
            Part::Sum => sum += now[0],
            Part::Count => {}
        }
    }
    buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
    // One bound may be written in two ways.
    buckets.dedup_by(|later, first| {
        let is_same = later.0 == first.0;
        first.1 += if is_same { later.1 } else { 0 };
        is_same
    });
    if buckets.last().is_none_or(|(bound, _)| bound.is_finite()) {
        buckets.push((f64::INFINITY, 0));
    }
    let counts: Vec<u64> = buckets.iter().map(|(_, count)| *count).collect();
    let mut bounds: Vec<f64> = buckets.into_iter().map(|(bound, _)| bound).collect();
    bounds.pop();
    Distribution { bounds, counts, sum, ..Distribution::default() }
}

/// A bound as prometheus_client writes it.
fn bound_of(text: &str) -> Option<f64> {
    let bound = if text == "+Inf" { f64::INFINITY } else { text.parse().ok()? };
    (!bound.is_nan()).then_some(bound)
}

fn summaries(shape: &Shape, series: &[&Series]) -> Vec<Sample> {
    let groups = by_labels(shape, series).into_iter();
    groups
        .map(|(labels, group)| {
            let total = |part: Part| -> f64 {
                let of_part = group.iter().filter(|series| series.part == part);
                of_part
                    .map(|series| match &series.count {
                        Count::Sums { now, .. } => now[0],
                        Count::One { .. } | Count::Each(_) => 0.0,
                    })
                    .sum()
            };
            let (count, sum) = (total(Part::Count) as u64, total(Part::Sum));
            Sample { labels, value: Value::Sum { count, sum } }
        })
        .collect()
}
