//! Who served a request, and for how long: what the access log and the metrics say at its end.

/// Who served a request, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Served {
    /// The worker's process; 0: the front answered.
    pub(super) pid: u32,
    /// How long the application had it, microseconds; 0: not known.
    pub(super) app_us: u32,
    /// How long it waited in the queue and in the worker's ring before the application had it, microseconds.
    pub(super) queue_us: u32,
    /// The number of the route that the application chose; 0: not known.
    pub(super) route: u16,
}

impl Served {
    /// No worker had it.
    pub(super) const NOBODY: Self = Self { pid: 0, app_us: 0, queue_us: 0, route: 0 };
}
