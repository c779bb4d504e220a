//! What is counted of workers and their answers.

use indrik_core::ids::Generation;
use indrik_ring::Blocked;

#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    pub(super) generation: Generation,
    pub(super) answers: Answers,
}

/// What a generation answered since its trial began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// All of them, and the requests that were never answered.
    pub all: u64,
    /// Those with a status of 500 and above, and the requests that failed or timed out.
    pub errors: u64,
}

/// What has been counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    /// Requests that workers have finished.
    pub finished: u64,
    pub reclaimed: u64,
    pub timed_out: u64,
}

/// One worker's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Finished since it was added.
    pub served: u64,
    /// At the worker now, those queued ahead included.
    pub in_flight: usize,
    /// How long it had a request, microseconds, as looks some times a second have found.
    pub busy_us: u64,
    /// How long it could not go on.
    pub blocked: Blocked,
    /// As many as it runs at once.
    pub capacity: usize,
    /// An ASGI application runs them.
    pub is_asgi: bool,
}
