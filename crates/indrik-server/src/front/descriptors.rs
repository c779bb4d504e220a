//! The descriptors that clients have, and those that are kept for supervision.
//!
//! What is kept, and which connection is closed for a new one, is decided in `indrik_core::descriptors`. A new
//! connection that finds no place stays in the kernel's queue until one is closed.
//!
//! Every descriptor that the front has for a client has a [`Reserved`] beside it, taken before it is opened and
//! given back after it is closed.

use std::fs::File;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::uploads::Stored;
use indrik_core::descriptors::{Held, Ledger, Share, Use};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What may be open at the start, where that cannot be seen.
const USED_UNKNOWN: usize = 64;

/// What clients have, and may have.
pub(super) struct Descriptors {
    ledger: Mutex<Ledger>,
    /// Open before the first client and the first worker.
    used: AtomicU64,
    /// Something has been given back.
    freed: Notify,
    shed: AtomicU64,
    /// The log has said that there are too few.
    told: AtomicBool,
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

/// Places for descriptors; given back when it is dropped.
pub(super) struct Reserved {
    descriptors: Arc<Descriptors>,
    what: Use,
    count: u64,
}

impl Reserved {
    /// One of several, to be given back by itself.
    pub(super) fn split_one(&mut self) -> Self {
        self.count = self.count.saturating_sub(1);
        Self { descriptors: Arc::clone(&self.descriptors), what: self.what, count: 1 }
    }

    /// Whether it counts among what clients may have; if not, it does from now on if there is room.
    pub(super) fn is_settled(&mut self) -> bool {
        if self.what == Use::Passing && self.descriptors.ledger.lock().settle() {
            self.what = Use::File;
        }
        self.what != Use::Passing
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.descriptors.ledger.lock().give_back(self.what, self.count);
        self.descriptors.freed.notify_waiters();
    }
}

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reserved({:?}, {})", self.what, self.count)
    }
}

/// An open file and its place.
pub(super) struct CountedFile {
    // Closed before the place is given back.
    file: File,
    place: Reserved,
    /// Its part of what bodies of requests have in files.
    _stored: Option<Stored>,
}

impl CountedFile {
    pub(super) const fn new(file: File, place: Reserved) -> Self {
        Self { file, place, _stored: None }
    }

    /// The file of a request's body, with what it has there.
    pub(super) fn stored(self, stored: Stored) -> Self {
        Self { _stored: Some(stored), ..self }
    }

    pub(super) const fn place(&mut self) -> &mut Reserved {
        &mut self.place
    }
}

impl std::fmt::Debug for CountedFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place.fmt(f)
    }
}

impl Deref for CountedFile {
    type Target = File;

    fn deref(&self) -> &File {
        &self.file
    }
}

impl Descriptors {
    /// As things are now, before the first client, with so many workers to come.
    pub(super) fn new(workers: u64) -> Arc<Self> {
        let used = open_now() as u64;
        Arc::new(Self::of(Share::new(limit(), used, workers), used))
    }

    /// The front has opened what it has for itself, and nobody is a client yet.
    pub(super) fn count_own(&self, workers: u64) {
        self.used.store(open_now() as u64, Ordering::Relaxed);
        self.keep_for(workers);
    }

    fn of(share: Share, used: u64) -> Self {
        Self {
            ledger: Mutex::new(Ledger::new(share)),
            used: AtomicU64::new(used),
            freed: Notify::new(),
            shed: AtomicU64::new(0),
            told: AtomicBool::new(false),
        }
    }

    /// There are to be so many workers.
    pub(super) fn keep_for(&self, workers: u64) {
        let used = self.used.load(Ordering::Relaxed);
        self.ledger.lock().share = Share::new(limit(), used, workers);
    }

    pub(super) fn share(&self) -> Share {
        self.ledger.lock().share
    }

    /// Takes so many places, if there is room for all of them now.
    pub(super) fn reserve_now(self: &Arc<Self>, what: Use, count: u64) -> Option<Reserved> {
        let has_room = self.ledger.lock().reserve(what, count);
        has_room.then(|| Reserved { descriptors: Arc::clone(self), what, count })
    }

    /// The place of a file that an application has sent, which is open already: among what clients may have,
    /// else among those that wait for that.
    pub(super) fn reserve_for_sent(self: &Arc<Self>) -> Option<Reserved> {
        self.reserve_now(Use::File, 1).or_else(|| self.reserve_now(Use::Passing, 1))
    }

    /// For the moment when one is given back.
    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Whether the log is still to be told that there are too few.
    pub(super) fn is_untold(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// A connection was closed for a new one.
    pub(super) fn note_shed(&self) {
        self.shed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> DescriptorStats {
        let ledger = *self.ledger.lock();
        let (share, held) = (ledger.share, ledger.held());
        DescriptorStats { share, held, shed: self.shed.load(Ordering::Relaxed) }
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

/// What to say when a request has waited for a place in vain.
pub(super) fn none_left(share: Share, for_what: &str) -> String {
    format!(
        "no file descriptor was free in time for {for_what}: clients have all {} that they may have, \
         RLIMIT_NOFILE is {}\n  hint: raise the limit (LimitNOFILE=, ulimit -n)",
        share.clients_max, share.limit
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_asks_at_the_same_time_gets_no_more_than_there_is() {
        let share = Share::new(256, 24, 1);
        let descriptors = Arc::new(Descriptors::of(share, 24));
        let threads = (0..4).map(|_| {
            let descriptors = Arc::clone(&descriptors);
            std::thread::spawn(move || {
                let taken = (0..share.limit).filter_map(|number| {
                    let what = if number % 2 == 0 { Use::Connection } else { Use::File };
                    descriptors.reserve_now(what, 1)
                });
                taken.collect::<Vec<_>>()
            })
        });
        let threads: Vec<_> = threads.collect();
        let taken: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let held = descriptors.stats().held;
        assert_eq!(
            (held.all(), held.connections + held.files),
            (share.clients_max, share.clients_max)
        );
        assert_eq!(taken.iter().map(Vec::len).sum::<usize>() as u64, share.clients_max);
        drop(taken);
        assert_eq!(descriptors.stats().held, Held::default());
    }

    #[test]
    fn places_that_were_taken_together_are_given_back_one_by_one() {
        let descriptors = Arc::new(Descriptors::of(Share::new(256, 24, 1), 24));
        let mut both = descriptors.reserve_now(Use::File, 2).unwrap();
        let one = both.split_one();
        drop(both);
        assert_eq!(descriptors.stats().held.files, 1);
        drop(one);
        assert_eq!(descriptors.stats().held.files, 0);
    }

    #[test]
    fn a_file_that_was_sent_waits_for_its_place_and_only_a_few_do() {
        let share = Share::new(128, 24, 1);
        let descriptors = Arc::new(Descriptors::of(share, 24));
        let mut files: Vec<_> = std::iter::from_fn(|| descriptors.reserve_for_sent()).collect();
        let waiting = files.len() as u64 - share.clients_max;
        assert_eq!(descriptors.stats().held.passing, waiting);
        assert!(waiting < share.kept);
        let mut last = files.pop().unwrap();
        assert!(!last.is_settled());
        drop(files.remove(0));
        assert!(last.is_settled());
        assert_eq!(descriptors.stats().held.passing, waiting - 1);
    }
}
