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
    lost: [AtomicU64; LOST.len()],
}

/// Why spans are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// As many waited as may.
    QueueFull = 0,
    /// Nobody answered, for as long as it was tried.
    Unreachable = 1,
    /// The collector has refused them.
    Refused = 2,
    /// The server, or this way to a collector, ended.
    Ended = 3,
}

/// All of them.
pub(crate) const LOST: [Lost; 4] = [Lost::QueueFull, Lost::Unreachable, Lost::Refused, Lost::Ended];

impl Lost {
    /// Its word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Ended => "ended",
        }
    }
}

/// Spans of requests, since the server began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanStats {
    /// A collector has them.
    pub exported: u64,
    /// They will never be anywhere.
    pub lost: u64,
    /// The same, by reason.
    pub lost_by_reason: [u64; LOST.len()],
}

impl Counts {
    /// A collector has taken so many.
    pub(super) fn exports(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// So many will never be anywhere.
    pub(super) fn loses(&self, spans: usize, reason: Lost) {
        self.lost[reason as usize].fetch_add(spans as u64, Ordering::Relaxed);
    }

    /// A look at them.
    pub(crate) fn get(&self) -> SpanStats {
        let lost_by_reason = self.lost.each_ref().map(|lost| lost.load(Ordering::Relaxed));
        SpanStats {
            exported: self.exported.load(Ordering::Relaxed),
            lost: lost_by_reason.iter().sum(),
            lost_by_reason,
        }
    }
}
