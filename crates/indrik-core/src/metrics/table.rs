//! The rows of `metrics.toml` as values, and typed handles that make families of them.
//!
//! A handle knows how many labels its row has and what it counts, so code that fills it wrongly does not compile.

use std::borrow::Cow;

use super::family::{Distribution, Family, Kind, Label, Sample, Value};

/// One metric, as the table says.
#[derive(Debug, PartialEq, Eq)]
pub struct Row {
    /// Its name for Prometheus, without `_total` and `_info`.
    pub name: &'static str,
    /// Its name for OpenTelemetry.
    pub otel: &'static str,
    /// What it counts.
    pub kind: Kind,
    /// What its numbers are of.
    pub unit: &'static str,
    /// Its labels, in order.
    pub labels: &'static [&'static LabelRow],
    /// What it says.
    pub help: &'static str,
}

/// One label, as the table says.
#[derive(Debug, PartialEq, Eq)]
pub struct LabelRow {
    /// Its name for Prometheus.
    pub name: &'static str,
    /// Its name for OpenTelemetry.
    pub otel: &'static str,
}

/// A metric that only grows.
#[derive(Clone, Copy, Debug)]
pub struct Counter<const LABELS: usize>(pub(super) &'static Row);

/// A metric that goes up and down.
#[derive(Clone, Copy, Debug)]
pub struct Gauge<const LABELS: usize>(pub(super) &'static Row);

/// How many observations there were of which size.
#[derive(Clone, Copy, Debug)]
pub struct Histogram<const LABELS: usize>(pub(super) &'static Row);

/// Labels whose value is always 1.
#[derive(Clone, Copy, Debug)]
pub struct Info<const LABELS: usize>(pub(super) &'static Row);

impl<const LABELS: usize> Counter<LABELS> {
    /// What was counted, by the labels' values.
    pub fn family(self, samples: impl IntoIterator<Item = ([Label; LABELS], f64)>) -> Family {
        numbers(self.0, samples)
    }
}

impl<const LABELS: usize> Gauge<LABELS> {
    /// What there is now, by the labels' values.
    pub fn family(self, samples: impl IntoIterator<Item = ([Label; LABELS], f64)>) -> Family {
        numbers(self.0, samples)
    }
}

impl<const LABELS: usize> Histogram<LABELS> {
    /// What was observed, by the labels' values.
    pub fn family(
        self,
        samples: impl IntoIterator<Item = ([Label; LABELS], Distribution)>,
    ) -> Family {
        let value = |distribution| Value::Distribution(Box::new(distribution));
        let samples = samples.into_iter().map(|(labels, it)| sample(self.0, labels, value(it)));
        family(self.0, samples.collect())
    }
}

impl<const LABELS: usize> Info<LABELS> {
    /// What holds, by the labels' values.
    pub fn family(self, samples: impl IntoIterator<Item = [Label; LABELS]>) -> Family {
        numbers(self.0, samples.into_iter().map(|labels| (labels, 1.0)))
    }
}

fn numbers<const LABELS: usize>(
    row: &'static Row,
    samples: impl IntoIterator<Item = ([Label; LABELS], f64)>,
) -> Family {
    let samples = samples.into_iter();
    let samples = samples.map(|(labels, value)| sample(row, labels, Value::Number(value)));
    family(row, samples.collect())
}

fn sample<const LABELS: usize>(row: &'static Row, labels: [Label; LABELS], value: Value) -> Sample {
    let names = row.labels.iter().map(|label| Cow::Borrowed(label.name));
    Sample { labels: names.zip(labels).collect(), value }
}

fn family(row: &'static Row, samples: Vec<Sample>) -> Family {
    Family {
        name: row.name.into(),
        help: row.help.into(),
        kind: row.kind,
        unit: row.unit.into(),
        samples,
    }
}

#[cfg(test)]
mod tests {
    use super::super::generated::ROWS;
    use super::super::names::{is_label, is_name};

    #[test]
    fn every_row_has_names_that_every_scraper_reads() {
        for row in ROWS {
            assert!(is_name(row.name) && row.name.starts_with("indrik_"), "{}", row.name);
            assert!(row.labels.iter().all(|label| is_label(label.name)), "{}", row.name);
            let ends = row.unit.is_empty() || row.name.ends_with(&format!("_{}", row.unit));
            assert!(ends, "{} does not end with its unit", row.name);
        }
    }

    #[test]
    fn no_two_rows_have_the_same_name() {
        for names in [|row: &super::Row| row.name, |row: &super::Row| row.otel] {
            let mut all: Vec<_> = ROWS.iter().map(|row| names(row)).collect();
            all.sort_unstable();
            assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
        }
    }
}
