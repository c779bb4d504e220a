//! What dispatch may do at most.

use crate::time::Micros;

/// Requests that may wait for the worker they belong to, however long the queue may be.
const BOUND_REQUESTS_MAX: usize = 1024;

/// The named limits of dispatch.
#[derive(Clone, Copy, Debug)]
pub struct DispatchLimits {
    /// Requests that may wait in the central queue; one more is refused.
    pub queue_requests_max: usize,
    /// How long a request may wait for a worker from its arrival on, microseconds; 0: no limit.
    pub queue_timeout_us: Micros,
    /// How much work may be queued ahead at a busy worker, microseconds of its service time.
    pub queue_ahead_us: Micros,
    /// The same at the only worker there is: nobody else could take the request sooner, and one hand-off
    /// for many requests leaves the caches to the application.
    pub queue_ahead_alone_us: Micros,
    /// Requests that may be queued ahead at a worker whatever its service time.
    pub queue_ahead_requests_max: usize,
    /// A worker that has finished nothing for this long loses what is queued ahead, microseconds.
    pub reclaim_after_us: Micros,
    /// The same where no other worker would take it sooner: in the central queue it has its deadline.
    pub reclaim_alone_after_us: Micros,
    /// How long requests that belong to a worker wait for it while it stands still, microseconds; then they
    /// go to others, and stay there.
    pub affinity_patience_us: Micros,
}

impl DispatchLimits {
    /// Until when a request that arrived then may wait.
    pub(super) const fn deadline(&self, arrived: Micros) -> Micros {
        match self.queue_timeout_us {
            0 => Micros::MAX,
            timeout => arrived.saturating_add(timeout),
        }
    }

    /// Requests that may wait for the worker they belong to; the rest of the queue is for those that any
    /// worker may have. All of them may be looked at when another worker has room.
    pub(super) fn bound_requests_max(&self) -> usize {
        (self.queue_requests_max / 2).clamp(1, BOUND_REQUESTS_MAX)
    }

    /// Requests with the same key that may wait for their worker.
    pub(super) fn key_requests_max(&self) -> usize {
        (self.queue_requests_max / 8).clamp(1, BOUND_REQUESTS_MAX / 4)
    }
}

impl Default for DispatchLimits {
    fn default() -> Self {
        Self {
            queue_requests_max: 1024,
            queue_timeout_us: 30_000_000,
            queue_ahead_us: 400,
            queue_ahead_alone_us: 4_000,
            queue_ahead_requests_max: 64,
            reclaim_after_us: 1_000,
            reclaim_alone_after_us: 100_000,
            affinity_patience_us: 1_000_000,
        }
    }
}
