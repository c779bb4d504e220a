//! Places for the admin listener's connections: so many, some of them kept for this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indrik_core::admin::access::From;
use indrik_core::descriptors::operators_max;

/// Of all places one in so many is for this machine only.
const LOOPBACK_PART: usize = 4;
/// And one in so many for the server's own user only, of those.
const OWNER_PART: usize = 8;
/// While three of so many are taken, a connection is closed with its answer: a browser opens six for a page and keeps
/// them, and the next one shall find a place.
const CROWDED_PART: usize = 8;

/// The places: as many as there are descriptors kept for them.
#[derive(Clone, Debug)]
pub(super) struct Places {
    taken: Arc<AtomicUsize>,
    all: usize,
}

/// One taken place; free when dropped.
#[derive(Debug)]
pub(super) struct Place(Places);

impl Places {
    /// As many as `limit` descriptors (`RLIMIT_NOFILE`) allow.
    pub(super) fn new(limit: u64) -> Self {
        let all = usize::try_from(operators_max(limit)).unwrap_or(usize::MAX);
        Self { taken: Arc::default(), all }
    }

    /// How many there are.
    pub(super) const fn all(&self) -> usize {
        self.all
    }

    /// A place for a connection from there, if there is one.
    pub(super) fn take(&self, from: From) -> Option<Place> {
        let for_loopback = self.all / LOOPBACK_PART;
        let for_owner = (self.all / OWNER_PART).max(1);
        let most = match from {
            From::Owner => self.all,
            From::Loopback => self.all - for_owner,
            From::OtherUser | From::Remote => self.all - for_loopback.max(for_owner + 1),
        };
        let taken = self.taken.try_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
            (taken < most).then_some(taken + 1)
        });
        taken.is_ok().then(|| Place(self.clone()))
    }
}

impl Place {
    /// Whether places are rare: nobody shall keep one without asking for something.
    pub(super) fn is_crowded(&self) -> bool {
        self.0.taken.load(Ordering::SeqCst) >= self.0.all * 3 / CROWDED_PART
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_places_for_this_machine_and_its_owner() {
        for (limit, expected) in [(1_000_000, (48, 8, 8)), (128, (6, 1, 1)), (20, (2, 1, 1))] {
            let places = Places::new(limit);
            let take_all = |from| std::iter::from_fn(|| places.take(from)).collect::<Vec<_>>();
            let remote = take_all(From::Remote);
            let loopback = take_all(From::Loopback);
            let owner = take_all(From::Owner);
            assert_eq!((remote.len(), loopback.len(), owner.len()), expected, "{limit}");
            assert!(owner[0].is_crowded());
            drop(owner);
            assert!(places.take(From::Remote).is_none() && places.take(From::Owner).is_some());
        }
    }
}
