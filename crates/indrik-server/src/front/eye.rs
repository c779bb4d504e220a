//! What others see of the front, from any thread and at any time: counts, loads, the requests in flight.

use std::collections::BTreeMap;
use std::sync::Arc;

use indrik_core::ids::WorkerId;
use indrik_core::metrics::Family;

use super::clock;
use super::conn::reaper::Flow;
use super::holdings;
use super::pool::{InFlight, Load};
use super::recent::Ended;
use super::services::Services;
use super::stats::{FrontStats, stats};
use super::watching::Watch;
use crate::lane::Dropped;

/// Requests in flight that are shown at most; which ones, of more, the pool decides (the oldest of each worker first).
pub const IN_FLIGHT_MAX: usize = 1024;

/// What others see of the front.
pub struct Eye {
    services: Arc<Services>,
    dropped: Dropped,
}

impl Eye {
    pub(super) fn new(services: &Arc<Services>, dropped: Dropped) -> Self {
        Self { services: Arc::clone(services), dropped }
    }

    /// A look at the work.
    #[must_use]
    pub fn stats(&self) -> FrontStats {
        let seen = self.services.pool.seen();
        let pool = (seen.waiting, seen.at_workers, seen.counts);
        stats(&self.services, pool, self.dropped.count())
    }

    /// What was counted, and what is held now.
    #[must_use]
    pub fn metrics(&self) -> Vec<Family> {
        holdings::families(&self.services, self.dropped.count())
    }

    /// What each worker has done and does, as it was a moment ago.
    #[must_use]
    pub fn loads(&self) -> BTreeMap<WorkerId, Load> {
        self.services.pool.seen().loads.clone()
    }

    /// The requests that wait or are with workers, the oldest first.
    #[must_use]
    pub fn in_flight(&self) -> Vec<InFlight> {
        let name = |route| self.services.route_names.name(route);
        self.services.pool.in_flight(IN_FLIGHT_MAX, clock::now(), name)
    }

    /// The request that was last found to have kept a worker's loop or the interpreter's lock.
    #[must_use]
    pub fn blocked_by(&self, id: WorkerId) -> Option<String> {
        self.services.pool.blocked_by(id)
    }

    /// The slowest requests of the last minutes, the longest first, and the failed, the newest first.
    #[must_use]
    pub fn recent(&self) -> (Vec<Ended>, Vec<Ended>) {
        self.services.recent.shown(clock::now())
    }

    /// The connections, as nginx counts them.
    #[must_use]
    pub fn flow(&self) -> Flow {
        let counts = self.services.pool.seen().counts;
        let by_front: u64 = self.services.refusals.counts().iter().sum();
        self.services.connections.flow(counts.finished + by_front)
    }

    /// Watches the requests that carry a cookie: `known`, the one that somebody has already, or a new one. None, if
    /// too many watch.
    #[must_use]
    pub fn watch(&self, known: Option<&str>) -> Option<Watch> {
        self.services.access_log.watchers.begin(known)
    }

    /// The server takes no new connections.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.services.is_draining()
    }
}
