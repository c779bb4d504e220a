//! Who served a request, and for how long: what the access log and the metrics say at its end.

use indrik_core::lane::RouteId;
use indrik_core::time::Micros;

/// Who served a request, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// The worker's process; 0: the front answered.
    pub(super) pid: u32,
    /// How long the application had it, microseconds; 0: not known.
    pub(super) app_us: u32,
    /// How long it waited in the queue and in the worker's ring before the application had it, microseconds.
    pub(super) queue_us: u32,
    /// How much of that in the ring.
    pub(super) ahead_us: u32,
    /// When it was given to the pool, its body being here or on its way; 0: never, or that is not known.
    pub(super) submitted: Micros,
    /// The route that the application chose.
    pub(super) route: RouteId,
}

impl Served {
    /// No worker had it.
    pub(super) const NOBODY: Self =
        Self { pid: 0, app_us: 0, queue_us: 0, ahead_us: 0, submitted: 0, route: RouteId::UNKNOWN };

    /// No worker had it, though it waited for one for so long.
    pub(super) fn nobody_after(waited: Micros) -> Self {
        Self { queue_us: u32::try_from(waited).unwrap_or(u32::MAX), ..Self::NOBODY }
    }

    /// Whether the front has answered by itself.
    pub(super) const fn is_nobody(&self) -> bool {
        self.pid == 0
    }
}
