//! What was seen of a worker's memory: it cannot go back from there.

use indrik_core::time::Micros;

/// When a worker's memory was looked at last.
#[derive(Debug, Default)]
pub(super) struct LastLook {
    pub(super) slots_at: Micros,
    pub(super) nudged_at: Micros,
    /// What the worker had taken then.
    pub(super) taken: u64,
}

/// What was seen of a slot's words: they cannot go back from there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Bytes of the response that the worker was given credit for; only the front counts them.
    pub(super) response_taken: u64,
    /// Bytes of the request's body that were sent to the worker in pieces.
    pub(super) request_sent: u64,
    /// Bytes of those that the worker has taken.
    pub(super) request_taken: u64,
    /// The worker said that the request is over.
    pub(super) is_done: bool,
}

impl Seen {
    /// A request is sent, and with it so many bytes of a body that streams.
    pub(super) fn sent(first: u64) -> Self {
        Self { request_sent: first, ..Self::default() }
    }
}
