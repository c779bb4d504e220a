//! Counters that one thread writes and all may read.

use std::sync::atomic::{AtomicU64, Ordering};

use indrik_core::metrics::{CELLS, Distribution, cell, distribution};
use indrik_core::time::Micros;

use super::exemplars::{Exemplars, Newest, Traceable};

/// A count. Written by one thread only.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// So many more.
    pub(super) fn add(&self, more: u64) {
        self.0.store(self.get().wrapping_add(more), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Times that were observed. Written by one thread only.
pub(super) struct Times {
    cells: [Count; CELLS],
    sum_us: Count,
    exemplars: Exemplars,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            cells: std::array::from_fn(|_| Count::default()),
            sum_us: Count::default(),
            exemplars: Exemplars::default(),
        }
    }
}

impl Times {
    pub(super) fn observe(&self, time: Micros) {
        self.cells[cell(time)].add(1);
        self.sum_us.add(time);
    }

    /// What was observed last was of this trace.
    pub(super) fn exemplify(&self, it: Traceable, time: Micros) {
        self.exemplars.put(it, time);
    }

    /// Adds what was observed to a sum over all threads.
    pub(super) fn add_to(&self, sum: &mut Observed) {
        for (into, cell) in sum.cells.iter_mut().zip(&self.cells) {
            *into += cell.get();
        }
        sum.sum_us += self.sum_us.get();
        self.exemplars.add_to(&mut sum.newest);
    }
}

/// What all threads have observed.
pub(super) struct Observed {
    cells: [u64; CELLS],
    sum_us: Micros,
    newest: Newest,
}

impl Default for Observed {
    fn default() -> Self {
        Self { cells: [0; CELLS], sum_us: 0, newest: Newest::default() }
    }
}

impl Observed {
    pub(super) fn count(&self) -> u64 {
        self.cells.iter().sum()
    }

    /// As a scraper is told it.
    pub(super) fn distribution(&self) -> Distribution {
        Distribution { exemplars: self.newest.shown(), ..distribution(&self.cells, self.sum_us) }
    }
}
