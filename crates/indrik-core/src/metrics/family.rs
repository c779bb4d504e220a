//! What every source of metrics speaks in: families of samples.

use std::borrow::Cow;

/// What a family counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many observations there were of which size.
    Histogram,
    /// How many observations there were, and their sum.
    Summary,
    /// Labels whose value is always 1.
    Info,
    /// Its source does not say.
    Unknown,
}

/// A name or a value of a label.
pub type Label = Cow<'static, str>;

/// Names and values, in the order they are shown.
pub type Labels = Vec<(Label, Label)>;

/// Metrics of one name.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, without the `_total` of a counter and the `_info` of an info.
    pub name: Cow<'static, str>,
    /// What it says, in a sentence.
    pub help: Cow<'static, str>,
    /// What it counts.
    pub kind: Kind,
    /// What its numbers are of: `seconds`, `bytes`, `ratio`, or nothing.
    pub unit: Cow<'static, str>,
    /// One for each set of labels.
    pub samples: Vec<Sample>,
}

/// One set of labels, and what was counted for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Tells it from the others of its family.
    pub labels: Labels,
    /// What was counted.
    pub value: Value,
}

/// What was counted.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Of a counter, a gauge, an info (1) or an unknown.
    Number(f64),
    /// Of a histogram.
    Distribution(Box<Distribution>),
    /// Of a summary.
    Sum {
        /// How many observations there were.
        count: u64,
        /// What they were together.
        sum: f64,
    },
}

/// How many observations there were of which size.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Distribution {
    /// Upper bounds of the buckets, each included, ascending; the last bucket has none.
    pub bounds: Vec<f64>,
    /// Observations in each bucket, one more than there are bounds; not those of the smaller ones with them.
    pub counts: Vec<u64>,
    /// What all observations were together.
    pub sum: f64,
    /// The same in finer buckets, for those who can read them.
    pub native: Option<Native>,
    /// Observations that can be looked up elsewhere; at most one for each bucket is told.
    pub exemplars: Vec<Exemplar>,
}

impl Distribution {
    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Prometheus' native buckets: number `i` ends with 2 to the power of `i / 2^schema`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Native {
    /// How fine they are.
    pub schema: i8,
    /// What is not larger counts as zero.
    pub zero_threshold: f64,
    /// Observations that do.
    pub zero_count: u64,
    /// Numbers of buckets that are not empty, ascending, and the observations in each.
    pub buckets: Vec<(i32, u64)>,
}

/// An observation that can be looked up elsewhere, as by its trace id.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// Where to look.
    pub labels: Labels,
    /// What was observed.
    pub value: f64,
    /// When, in seconds since 1970.
    pub at: f64,
}
