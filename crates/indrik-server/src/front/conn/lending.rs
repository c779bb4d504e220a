//! Pieces of answers that lie in a worker's ring while hyper writes them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use indrik_ring::Lent;

use crate::front::exchange::Part;

/// What hyper has of workers' rings, on one connection.
#[derive(Debug, Default)]
pub(crate) struct Lending {
    /// What hyper writes goes to the socket as it is.
    is_direct: AtomicBool,
    /// Pieces that hyper has.
    lent: AtomicUsize,
    /// Bytes wait that hyper takes for written.
    has_held: AtomicBool,
}

impl Lending {
    /// A piece of an answer that hyper is about to write. It stays in the worker's ring if it goes to the socket, or
    /// is copied, in this very turn: nothing but a system call sees its bytes, which the worker can change.
    pub(crate) fn on_its_way(self: &Arc<Self>, part: Part) -> Bytes {
        let is_direct = self.is_direct.load(Ordering::Relaxed);
        match part {
            Part::Lent(lent) if is_direct && !self.has_held.load(Ordering::Relaxed) => {
                self.lent.fetch_add(1, Ordering::Relaxed);
                Bytes::from_owner(OnItsWay { lent, lending: Arc::clone(self) })
            }
            part => part.into_own(),
        }
    }

    pub(super) fn set_direct(&self, is_direct: bool) {
        self.is_direct.store(is_direct, Ordering::Relaxed);
    }

    pub(super) fn set_held(&self, has_held: bool) {
        self.has_held.store(has_held, Ordering::Relaxed);
    }

    pub(super) fn is_any_lent(&self) -> bool {
        self.lent.load(Ordering::Relaxed) != 0
    }
}

/// A piece in a worker's ring that hyper has.
struct OnItsWay {
    lent: Lent,
    lending: Arc<Lending>,
}

impl AsRef<[u8]> for OnItsWay {
    fn as_ref(&self) -> &[u8] {
        self.lent.as_ref()
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.lending.lent.fetch_sub(1, Ordering::Relaxed);
    }
}
