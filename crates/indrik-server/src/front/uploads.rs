//! What all bodies of requests together have in files.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indrik_core::logs::repeat::Repeat;
use parking_lot::Mutex;

use super::body::unnamed::reserve;

/// What all bodies of requests together have in files.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    bytes: AtomicU64,
    files: AtomicU64,
    failures: AtomicU64,
    told: Mutex<Repeat>,
}

/// A look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct UploadStats {
    pub bytes: u64,
    pub files: u64,
    /// Bodies that could not be stored.
    pub failures: u64,
}

impl Uploads {
    pub(crate) fn stats(&self) -> UploadStats {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        UploadStats {
            bytes: read(&self.bytes),
            files: read(&self.files),
            failures: read(&self.failures),
        }
    }

    /// A body could not be stored. What the log is to say of it, if that is due.
    pub(crate) fn failed(
        &self,
        directory: &Path,
        error: &io::Error,
        shown: &str,
        now: u64,
    ) -> Option<String> {
        self.failures.fetch_add(1, Ordering::Relaxed);
        let others = match self.told.lock().happens(now)? {
            0 => String::new(),
            others => format!(" and {others} more before it"),
        };
        Some(format!(
            "the body of a request cannot be written to {} ({error}): {shown}{others} answered 507; make \
             room there, or set tmp_upload_dir",
            directory.display()
        ))
    }
}

/// What one body has in its file.
#[derive(Debug)]
pub(crate) struct Stored {
    uploads: Arc<Uploads>,
    bytes: u64,
}

impl Stored {
    pub(crate) fn begin(uploads: &Arc<Uploads>) -> Self {
        uploads.files.fetch_add(1, Ordering::Relaxed);
        Self { uploads: Arc::clone(uploads), bytes: 0 }
    }

    /// More of it is to be written. False: all bodies together would have more than `all_max`.
    pub(crate) fn reserve(&mut self, bytes: usize, all_max: u64) -> bool {
        let may_write = reserve(&self.uploads.bytes, bytes as u64, all_max);
        self.bytes += if may_write { bytes as u64 } else { 0 };
        may_write
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.uploads.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.uploads.files.fetch_sub(1, Ordering::Relaxed);
    }
}
