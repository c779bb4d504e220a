//! Places for the admin listener's connections: so many, some of them kept for this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indrik_core::admin::access::From;

/// Connections at once.
const CONNECTIONS_MAX: usize = 64;
/// Those of them that only this machine gets.
const KEPT_FOR_LOOPBACK: usize = 16;
/// Those of them that only the server's own user gets.
const KEPT_FOR_OWNER: usize = 8;
/// From so many on a connection is closed with its answer: a browser opens six for a page and keeps them, and the
/// next one shall find a place.
const CROWDED: usize = 24;

/// The places.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Arc<AtomicUsize>);

/// One taken place; free when dropped.
#[derive(Debug)]
pub(super) struct Place(Arc<AtomicUsize>);

impl Places {
    /// A place for a connection from there, if there is one.
    pub(super) fn take(&self, from: From) -> Option<Place> {
        let most = match from {
            From::Owner => CONNECTIONS_MAX,
            From::Loopback => CONNECTIONS_MAX - KEPT_FOR_OWNER,
            From::OtherUser | From::Remote => CONNECTIONS_MAX - KEPT_FOR_LOOPBACK,
        };
        let taken = self.0.try_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
            (taken < most).then_some(taken + 1)
        });
        taken.is_ok().then(|| Place(Arc::clone(&self.0)))
    }
}

impl Place {
    /// Whether places are rare: nobody shall keep one without asking for something.
    pub(super) fn is_crowded(&self) -> bool {
        self.0.load(Ordering::SeqCst) >= CROWDED
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_leave_places_for_this_machine_and_its_owner() {
        let places = Places::default();
        let take_all = |from| std::iter::from_fn(|| places.take(from)).collect::<Vec<_>>();
        let remote = take_all(From::Remote);
        let loopback = take_all(From::Loopback);
        let owner = take_all(From::Owner);
        assert_eq!((remote.len(), loopback.len(), owner.len()), (48, 8, 8));
        assert!(owner[0].is_crowded());
        drop(owner);
        assert!(places.take(From::Remote).is_none() && places.take(From::Owner).is_some());
    }
}
