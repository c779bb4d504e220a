//! One series: what was counted of it, in processes that have ended and in those that live.

use super::loss::Loss;
use super::shape::{Across, AppKind, Part, Shape};

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The worker's place, which one that comes after it takes again; none of a zygote.
    pub place: Option<u32>,
    /// Its generation: the newest says what a metric is.
    pub generation: u64,
    /// It has not ended.
    pub is_alive: bool,
}

/// What a row counts towards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Into {
    /// The base: it has ended.
    Base,
    /// This look.
    Now,
}

/// A gauge's value, and when it was set; 0: never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) value: f64,
    at: f64,
}

/// What was counted of one series.
#[derive(Debug)]
pub(super) enum Count {
    /// Sums that only grow.
    Sums { base: Vec<f64>, now: Vec<f64> },
    /// A gauge of all processes.
    One { base: Option<Mark>, now: Option<Mark> },
    /// A gauge of each process.
    Each(Vec<(Option<u32>, f64)>),
}

/// One series.
pub(super) struct Series {
    pub(super) family: Box<str>,
    pub(super) part: Part,
    pub(super) labels: Vec<String>,
    pub(super) count: Count,
    across: Across,
    of_living: bool,
    cells: usize,
}

impl Series {
    pub(super) fn new(shape: &Shape, part: Part, labels: Vec<String>) -> Self {
        let cells = shape.cells(part);
        let count = match (shape.kind, shape.across) {
            (AppKind::Gauge, Across::Each) => Count::Each(Vec::new()),
            (AppKind::Gauge | AppKind::Info, _) => Count::One { base: None, now: None },
            _ => Count::Sums { base: vec![0.0; cells], now: vec![0.0; cells] },
        };
        Self {
            family: shape.name.as_str().into(),
            part,
            labels,
            count,
            across: shape.across,
            of_living: shape.of_living,
            cells,
        }
    }

    pub(super) fn take(&mut self, source: Source, cells: &[u64], into: Into) -> Result<(), Loss> {
        if cells.len() != self.cells {
            return Err(Loss::Corrupt);
        }
        let cells = cells.iter().map(|bits| f64::from_bits(*bits));
        let (across, ended) = (self.across, into == Into::Base);
        let is_over = ended || !source.is_alive;
        match &mut self.count {
            Count::Sums { base, now } => {
                // A sum may be of negative observations, a count is none.
                let is_sum = |at: usize| {
                    self.part == Part::Sum || self.part == Part::Whole && self.cells > 1 && at == 0
                };
                let fits =
                    |(at, value): (usize, f64)| value.is_finite() && (value >= 0.0 || is_sum(at));
                if !cells.clone().enumerate().all(fits) {
                    return Err(Loss::Corrupt);
                }
                add(now, cells.clone());
                if ended {
                    add(base, cells);
                }
            }
            Count::One { base, now } => {
                if is_over && self.of_living {
                    return Ok(());
                }
                let mut cells = cells;
                let mark =
                    Mark { value: cells.next().unwrap_or(0.0), at: cells.next().unwrap_or(0.0) };
                // It says that it has no value.
                if mark.value.is_nan() {
                    return Ok(());
                }
                *now = Some(together(across, *now, mark));
                if ended {
                    *base = Some(together(across, *base, mark));
                }
            }
            Count::Each(values) => {
                if !is_over {
                    let mut cells = cells;
                    let (value, at) = (cells.next().unwrap_or(0.0), cells.next().unwrap_or(0.0));
                    // A preloaded application makes in the zygote what its workers set.
                    if !value.is_nan() && (at != 0.0 || source.place.is_some()) {
                        values.push((source.place, value));
                    }
                }
            }
        }
        Ok(())
    }
}

impl Count {
    /// Begins a look.
    pub(super) fn begin(&mut self) {
        match self {
            Self::Sums { base, now } => now.clone_from(base),
            Self::One { base, now } => *now = *base,
            Self::Each(values) => values.clear(),
        }
    }

    /// Whether there is anything to be told of it.
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Sums { .. } => true,
            Self::One { now, .. } => now.is_some(),
            Self::Each(values) => !values.is_empty(),
        }
    }
}

fn add(sums: &mut [f64], cells: impl Iterator<Item = f64>) {
    for (sum, value) in sums.iter_mut().zip(cells) {
        *sum += value;
    }
}

/// A gauge's values in two processes as one. One that was never set says nothing if another was.
fn together(across: Across, before: Option<Mark>, mark: Mark) -> Mark {
    let Some(before) = before else { return mark };
    let choose = |other_first: bool| if other_first { mark } else { before };
    match across {
        Across::Sum => Mark { value: before.value + mark.value, at: before.at.max(mark.at) },
        _ if before.at == 0.0 || mark.at == 0.0 => choose(before.at == 0.0),
        Across::Min => choose(mark.value < before.value),
        Across::Max => choose(mark.value > before.value),
        Across::Last | Across::Each => choose(mark.at > before.at),
    }
}
