//! Counters that one thread writes and all may read.

use std::sync::atomic::{AtomicU64, Ordering};

use indrik_core::metrics::{CELLS, cell};
use indrik_core::time::Micros;

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
}

impl Default for Times {
    fn default() -> Self {
        Self { cells: std::array::from_fn(|_| Count::default()), sum_us: Count::default() }
    }
}

impl Times {
    pub(super) fn observe(&self, time: Micros) {
        self.cells[cell(time)].add(1);
        self.sum_us.add(time);
    }

    /// Adds what was observed to a sum over all threads.
    pub(super) fn add_to(&self, sum: &mut Observed) {
        for (into, cell) in sum.cells.iter_mut().zip(&self.cells) {
            *into += cell.get();
        }
        sum.sum_us += self.sum_us.get();
    }
}

/// What all threads have observed.
pub(super) struct Observed {
    pub(super) cells: [u64; CELLS],
    pub(super) sum_us: Micros,
}

impl Default for Observed {
    fn default() -> Self {
        Self { cells: [0; CELLS], sum_us: 0 }
    }
}

impl Observed {
    pub(super) fn count(&self) -> u64 {
        self.cells.iter().sum()
    }
}
