//! What a metric is: its kind, its labels, its buckets, and how the values of several processes are one.

use crate::metrics::Kind;

/// The longest name of a metric or a label.
pub const NAME_BYTES_MAX: usize = 200;
/// The longest value of a label; longer ones are cut.
pub const LABEL_VALUE_BYTES_MAX: usize = 1024;
/// The most labels of a metric.
pub const LABELS_MAX: usize = 16;
/// The most buckets of a histogram, the last one without a bound included.
pub const BUCKETS_MAX: usize = 200;
/// The longest help.
const HELP_BYTES_MAX: usize = 1024;
/// Names that begin so are Indrik's.
const RESERVED: &str = "indrik_";
/// Of these, what workers tell themselves.
const FROM_WORKERS: &str = "indrik_pool_";

/// What a metric counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations by size.
    Histogram,
    /// Observations, and their sum.
    Summary,
    /// Labels; its value is 1 while they hold.
    Info,
}

impl AppKind {
    const ALL: [Self; 5] = [Self::Counter, Self::Gauge, Self::Histogram, Self::Summary, Self::Info];

    /// As a scraper is told.
    #[must_use]
    pub const fn shown(self) -> Kind {
        match self {
            Self::Counter => Kind::Counter,
            Self::Gauge => Kind::Gauge,
            Self::Histogram => Kind::Histogram,
            Self::Summary => Kind::Summary,
            Self::Info => Kind::Info,
        }
    }

    /// By its name: `counter`, `gauge`, …
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let names = ["counter", "gauge", "histogram", "summary", "info"];
        names.iter().position(|known| *known == name).map(|at| Self::ALL[at])
    }
}

/// How a gauge's values in several processes are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Across {
    /// Their sum.
    Sum,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// The one that was set last.
    Last,
    /// Each by itself, with a label for the worker.
    Each,
}

impl Across {
    const ALL: [Self; 5] = [Self::Sum, Self::Min, Self::Max, Self::Last, Self::Each];

    /// By its name: `sum`, `min`, `max`, `last`, `each`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let names = ["sum", "min", "max", "last", "each"];
        names.iter().position(|known| *known == name).map(|at| Self::ALL[at])
    }
}

/// What a series of a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// All of it: a counter's total; a gauge's value and when it was set; a histogram's sum and its buckets.
    Whole,
    /// One bucket of a histogram, whose bound is the last label.
    Bucket,
    /// The sum of a histogram or a summary.
    Sum,
    /// The count of a summary.
    Count,
}

impl Part {
    const ALL: [Self; 4] = [Self::Whole, Self::Bucket, Self::Sum, Self::Count];

    /// How many labels a series has more than its family.
    #[must_use]
    pub const fn more_labels(self) -> usize {
        match self {
            Self::Bucket => 1,
            Self::Whole | Self::Sum | Self::Count => 0,
        }
    }

    pub(super) const fn encode(self) -> u8 {
        self as u8
    }

    pub(super) fn decode(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// A metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Without a counter's `_total` and an info's `_info`.
    pub name: String,
    /// What it counts.
    pub kind: AppKind,
    /// A gauge's.
    pub across: Across,
    /// What processes that have ended have set does not count any more.
    pub of_living: bool,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// Bounds of the buckets of a histogram that is one series, ascending; without the last, which has none.
    pub bounds: Vec<f64>,
    /// A sentence.
    pub help: String,
}

/// Why something is no metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The name of the metric or of a label.
    Name,
    /// It begins with `indrik_`.
    Reserved,
    /// Too many labels.
    Labels,
    /// Too many buckets, or they do not ascend.
    Buckets,
}

impl Unfit {
    /// What is wrong with it.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Name => {
                "names are made of letters, digits and _ (of metrics also :), do not begin with a digit, are at most \
                 200 bytes long and, of labels, do not begin with __"
            }
            Self::Reserved => "names that begin with indrik_ are Indrik's own",
            Self::Labels => "a metric has at most 16 labels, each name once",
            Self::Buckets => "a histogram has from 1 to 199 bounds, finite numbers that ascend",
        }
    }
}

impl Shape {
    /// Checks what an application asks for.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), Unfit> {
        if self.name.starts_with(RESERVED) && !self.name.starts_with(FROM_WORKERS) {
            return Err(Unfit::Reserved);
        }
        if !is_name(&self.name, true) {
            return Err(Unfit::Name);
        }
        if self.labels.len() > LABELS_MAX {
            return Err(Unfit::Labels);
        }
        for (at, label) in self.labels.iter().enumerate() {
            if !is_name(label, false) || label.starts_with("__") {
                return Err(Unfit::Name);
            }
            if self.labels[..at].contains(label) {
                return Err(Unfit::Labels);
            }
        }
        let ascend = self.bounds.is_sorted_by(|a, b| a < b);
        if !ascend || self.bounds.len() >= BUCKETS_MAX || !self.bounds.iter().all(|b| b.is_finite())
        {
            return Err(Unfit::Buckets);
        }
        Ok(())
    }

    /// Whether both are the same metric, whatever their help says.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.across == other.across
            && self.of_living == other.of_living
            && self.labels == other.labels
            && self.bounds == other.bounds
    }

    /// How many cells a series of it has.
    #[must_use]
    pub const fn cells(&self, part: Part) -> usize {
        match (part, self.kind) {
            (Part::Whole, AppKind::Histogram) => self.bounds.len() + 2,
            (Part::Whole, AppKind::Gauge | AppKind::Info) => 2,
            _ => 1,
        }
    }

    /// Whether it has such series.
    #[must_use]
    pub const fn has(&self, part: Part) -> bool {
        match part {
            Part::Whole => !matches!(self.kind, AppKind::Summary),
            Part::Bucket => matches!(self.kind, AppKind::Histogram),
            Part::Sum => matches!(self.kind, AppKind::Histogram | AppKind::Summary),
            Part::Count => matches!(self.kind, AppKind::Summary),
        }
    }

    /// The help as it is kept.
    #[must_use]
    pub fn short_help(&self) -> &str {
        cut(&self.help, HELP_BYTES_MAX)
    }

    pub(super) const fn encode_kind(&self) -> [u8; 3] {
        [self.kind as u8, self.across as u8, self.of_living as u8]
    }

    pub(super) fn decode_kind(bytes: [u8; 3]) -> Option<(AppKind, Across, bool)> {
        let kind = *AppKind::ALL.get(usize::from(bytes[0]))?;
        let across = *Across::ALL.get(usize::from(bytes[1]))?;
        Some((kind, across, bytes[2] != 0))
    }
}

/// The beginning of a text, of whole characters.
pub(super) fn cut(text: &str, bytes_max: usize) -> &str {
    if text.len() <= bytes_max { text } else { &text[..text.floor_char_boundary(bytes_max)] }
}

fn is_name(name: &str, colon: bool) -> bool {
    let is_first = |byte: u8| byte.is_ascii_alphabetic() || byte == b'_' || colon && byte == b':';
    let Some(first) = name.bytes().next() else { return false };
    name.len() <= NAME_BYTES_MAX
        && is_first(first)
        && name.bytes().all(|byte| is_first(byte) || byte.is_ascii_digit())
}
