//! The last day as it lies in memory.

use super::failures::Failures;
use super::marks::{Mark, Marks};
use super::series::{Row, Series};
use super::tier::Tier;

/// Step in milliseconds and number of steps of each ring, the finest first.
pub(super) const TIERS: [(u64, usize); 3] = [(1_000, 900), (5_000, 720), (60_000, 1_440)];

/// The last day.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    pub(super) tiers: [Tier; TIERS.len()],
    pub(super) marks: Marks,
    pub(super) failures: Failures,
}

impl Default for History {
    fn default() -> Self {
        Self {
            tiers: TIERS.map(|(step_ms, len)| Tier::new(step_ms, len)),
            marks: Marks::default(),
            failures: Failures::default(),
        }
    }
}

impl History {
    /// Takes a second's numbers. A clock that was set back takes back what it was ahead.
    pub fn push(&mut self, at_ms: u64, row: &Row) {
        for tier in &mut self.tiers {
            tier.push(at_ms, row);
        }
    }

    /// Takes something that is to be marked on every chart.
    pub fn mark(&mut self, mark: Mark) {
        self.marks.push(mark);
    }

    /// Failures in groups.
    #[must_use]
    pub fn failures(&self) -> &Failures {
        &self.failures
    }

    /// The same, to count one.
    pub fn failures_mut(&mut self) -> &mut Failures {
        &mut self.failures
    }

    /// The largest number of a series in the last quarter of an hour.
    #[must_use]
    pub fn peak(&self, series: Series) -> Option<f32> {
        self.tiers[0].peak(series)
    }

    /// Bytes that the numbers take: the same from the first second to the last.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.tiers.iter().map(Tier::bytes).sum()
    }
}
