//! What all parts of a channel's memory have in common.

pub(crate) const PAGE: usize = 4096;

/// Whoever points into a channel's memory keeps it alive with this.
pub(crate) type Keep = std::sync::Arc<dyn Send + Sync>;

/// A value on cache lines of its own (two: the prefetcher fetches pairs).
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);
