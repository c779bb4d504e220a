//! How many spans go together, how long the last ones may take, and what became of all.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// So many are exported at once, before their time has come.
pub(super) const BATCH_SPANS: usize = 512;
/// How long the last ones may take when nobody exports any more.
pub(super) const FLUSH_MAX: Duration = Duration::from_secs(3);

/// What became of spans since the server began, whatever exported them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    exported: AtomicU64,
    lost: AtomicU64,
}

/// Spans of requests, since the server began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanStats {
    /// A collector has them.
    pub exported: u64,
    /// They will never be anywhere.
    pub lost: u64,
}

impl Counts {
    /// A collector has taken so many.
    pub(super) fn exports(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// So many will never be anywhere.
    pub(super) fn loses(&self, spans: usize) {
        self.lost.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// A look at them.
    pub(crate) fn get(&self) -> SpanStats {
        SpanStats {
            exported: self.exported.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}
