//! The descriptors that clients have, and those that are kept for supervision.
//!
//! What is kept, and which connection is closed for a new one, is decided in `indrik_core::descriptors`. A new
//! connection that finds no place stays in the kernel's queue until one is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use indrik_core::descriptors::{Held, Share};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What may be open at the start, where that cannot be seen.
const USED_UNKNOWN: usize = 64;

/// What clients have, and may have.
pub(super) struct Descriptors {
    share: Mutex<Share>,
    /// Open before the first client.
    used: u64,
    /// Files of bodies, either way.
    files: Arc<Files>,
    shed: AtomicU64,
    /// The log has said that there are too few.
    told: AtomicBool,
}

#[derive(Default)]
struct Files {
    count: AtomicUsize,
    /// A descriptor has been given back.
    freed: Notify,
}

/// A look at the descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DescriptorStats {
    pub share: Share,
    pub held: Held,
    /// Connections that were closed for new ones.
    pub shed: u64,
}

/// The place of one file; given back when it is dropped.
pub(super) struct FilePlace(Arc<Files>);

impl Drop for FilePlace {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::Relaxed);
        self.0.freed.notify_waiters();
    }
}

impl std::fmt::Debug for FilePlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FilePlace")
    }
}

impl Descriptors {
    /// As things are now, before the first client, with so many workers to come.
    pub(super) fn new(workers: usize) -> Self {
        let used = open_now() as u64;
        Self {
            share: Mutex::new(Share::new(limit(), used, workers as u64)),
            used,
            files: Arc::default(),
            shed: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// There are to be so many workers.
    pub(super) fn keep_for(&self, workers: u64) {
        *self.share.lock() = Share::new(limit(), self.used, workers);
    }

    pub(super) fn share(&self) -> Share {
        *self.share.lock()
    }

    pub(super) fn files(&self) -> u64 {
        self.files.count.load(Ordering::Relaxed) as u64
    }

    /// For the moment when one is given back.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.files.freed.notified()
    }

    /// Whether the log is still to be told that there are too few.
    pub(super) fn is_untold(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// A connection was closed for a new one.
    pub(super) fn note_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self, held: Held) -> DescriptorStats {
        DescriptorStats { share: self.share(), held, shed: self.shed.load(Ordering::Relaxed) }
    }

    /// A connection is closed.
    pub(super) fn is_freed(&self) {
        self.files.freed.notify_waiters();
    }

    /// A file has been opened or received.
    pub(super) fn note_file(&self) -> FilePlace {
        self.files.count.fetch_add(1, Ordering::Relaxed);
        FilePlace(Arc::clone(&self.files))
    }
}

/// What to say when clients have all they may have.
pub(super) fn all_taken(share: Share) -> String {
    format!(
        "Clients have all {} descriptors that they may have: RLIMIT_NOFILE is {}, of which {} are kept \
         for workers, reloads and the control socket. Connections that have been idle the longest are \
         closed for new ones, which wait until then\n  hint: raise the limit (LimitNOFILE=, ulimit -n)",
        share.clients_max, share.limit, share.kept
    )
}

/// What to say if supervision may want for descriptors.
pub(super) fn shortage(share: Share, workers: usize) -> Option<String> {
    share.is_short.then(|| {
        format!(
            "RLIMIT_NOFILE = {} is too low for {workers} workers and their successors in a reload: clients \
             have at most {} of it\n  hint: raise the limit (LimitNOFILE=, ulimit -n)",
            share.limit, share.clients_max
        )
    })
}

fn limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or_else(|| u64::from(u32::MAX))
}

fn open_now() -> usize {
    // The directory that is read is one of them.
    std::fs::read_dir("/proc/self/fd").map_or(USED_UNKNOWN, |all| all.count().saturating_sub(1))
}
