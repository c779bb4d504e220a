//! What the pool shows of itself: hung up some times a second by the thread that holds its lock then in any case, so
//! whoever looks at the server takes no lock of the pool.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use indrik_core::ids::WorkerId;
use indrik_core::time::Micros;

use super::counts::{Counts, Load};

/// So often at most.
const PAUSE_US: Micros = 100_000;

/// What the pool shows of itself.
#[derive(Default)]
pub(super) struct Board(ArcSwap<Published>);

/// One moment of the pool.
#[derive(Debug, Default)]
pub(crate) struct Published {
    /// When it was.
    pub(super) at: Micros,
    /// Requests in the queue.
    pub(crate) waiting: usize,
    /// Requests that workers have.
    pub(crate) at_workers: usize,
    /// What was counted.
    pub(crate) counts: Counts,
    /// What each worker has done and does.
    pub(crate) loads: BTreeMap<WorkerId, Load>,
    /// When the request came that has waited longest.
    pub(super) oldest: Option<Micros>,
}

impl Published {
    /// For how long the request has waited that has done so longest.
    pub(crate) fn oldest_waiting(&self, now: Micros) -> Micros {
        self.oldest.map_or(0, |arrived| now.saturating_sub(arrived))
    }
}

impl Board {
    /// What was hung up last.
    pub(super) fn seen(&self) -> Arc<Published> {
        self.0.load_full()
    }

    /// For how long that has hung there, if it is to be replaced; 0: nothing did.
    pub(super) fn is_due(&self, now: Micros) -> Option<Micros> {
        match self.0.load().at {
            0 => Some(0),
            before => Some(now.saturating_sub(before)).filter(|since| *since >= PAUSE_US),
        }
    }

    /// Hangs up another one.
    pub(super) fn hang(&self, published: Published) {
        self.0.store(Arc::new(published));
    }
}
