//! What all responses together have in files.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What all responses together have in files.
#[derive(Debug, Default)]
pub(crate) struct Spools {
    pub(super) bytes: AtomicU64,
    pub(super) count: AtomicUsize,
    /// Responses for which nothing could be written, and those that had to do without a file.
    pub(super) failures: AtomicU64,
    pub(super) refused: AtomicU64,
    /// The log was told that nothing can be written.
    pub(super) is_failure_told: AtomicBool,
}

/// A look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct SpoolStats {
    pub bytes: u64,
    pub bytes_max: u64,
    pub files: usize,
    pub files_max: u64,
    /// Times that nothing could be written.
    pub failures: u64,
    /// Responses that had to do without a file, because there were enough.
    pub refused: u64,
}

impl Spools {
    pub(crate) fn stats(&self, bytes_max: u64, files_max: u64) -> SpoolStats {
        let spools = self;
        SpoolStats {
            bytes: spools.bytes.load(Ordering::Relaxed),
            bytes_max,
            files: spools.count.load(Ordering::Relaxed),
            files_max,
            failures: spools.failures.load(Ordering::Relaxed),
            refused: spools.refused.load(Ordering::Relaxed),
        }
    }
}
