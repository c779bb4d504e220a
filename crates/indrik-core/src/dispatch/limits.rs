//! What dispatch may do at most.

use crate::time::Micros;

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
        }
    }
}
