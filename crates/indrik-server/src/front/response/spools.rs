//! What all responses together have in files.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};

/// What all responses together have in files.
#[derive(Debug, Default)]
pub(crate) struct Spools {
    pub(super) bytes: AtomicU64,
    pub(super) count: AtomicUsize,
    /// The log was told that nothing can be written.
    pub(super) is_failure_told: AtomicBool,
}
