//! The account of what the front answers by itself: counted by reason, and told where the server lacks room.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use indrik_core::refusal::{ByReason, Overload, Reason, Told};
use parking_lot::Mutex;

use super::clock;

/// The account of what the front answers by itself.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    counts: [AtomicU64; Reason::ALL.len()],
    overload: Mutex<Overload>,
    /// Spares the lock.
    is_overloaded: AtomicBool,
}

impl Refusals {
    pub(super) fn counts(&self) -> ByReason {
        std::array::from_fn(|at| self.counts[at].load(Ordering::Relaxed))
    }

    /// One more. Says what to tell the log, and whether an overload begins.
    pub(super) fn count(&self, reason: Reason) -> (Option<Told>, bool) {
        self.counts[reason as usize].fetch_add(1, Ordering::Relaxed);
        if reason.lacks().is_none() {
            return (None, false);
        }
        let mut overload = self.overload.lock();
        let was_on = overload.is_on();
        let told = overload.refuses(reason, clock::now());
        self.is_overloaded.store(true, Ordering::Relaxed);
        (told, !was_on)
    }

    /// What is to be told although no request comes at this moment, and whether an overload is over.
    pub(super) fn look(&self) -> (Option<Told>, bool) {
        if !self.is_overloaded.load(Ordering::Relaxed) {
            return (None, false);
        }
        let mut overload = self.overload.lock();
        let told = overload.look(clock::now());
        let is_over = !overload.is_on();
        if is_over {
            self.is_overloaded.store(false, Ordering::Relaxed);
        }
        (told, is_over)
    }
}
