//! Who runs the request in each slot: a thread or a task, by its number or address. Written once a request, read by
//! who looks into the worker.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use indrik_ring::{SlotState, Slots};

/// One use of a slot.
pub(crate) type Use = (u16, u32);

/// By slot.
pub(crate) struct Owners {
    owners: Box<[Owner]>,
    /// The use whose coroutine takes a step on the event loop just now, with [`STEPS`]; 0: none.
    stepping: AtomicU64,
    /// The thread that made this.
    main: usize,
}

#[derive(Default)]
struct Owner {
    who: AtomicUsize,
    generation: AtomicU32,
}

/// There is a step under way.
const STEPS: u64 = 1 << 63;

impl Owners {
    /// Nobody runs anything. To be made on the main thread.
    pub(crate) fn new(slots: &Slots) -> Self {
        let owners = (0..slots.count()).map(|_| Owner::default()).collect();
        let main = crate::overtime::this_thread() as usize;
        Self { owners, stepping: AtomicU64::new(0), main }
    }

    /// A thread (by its identity) or a task (by its address) runs this use of a slot.
    #[inline]
    pub(crate) fn note(&self, slot: u16, generation: u32, who: usize) {
        if let Some(owner) = self.owners.get(usize::from(slot)) {
            owner.who.store(who, Ordering::Relaxed);
            owner.generation.store(generation, Ordering::Relaxed);
        }
    }

    /// A coroutine takes a step on the event loop, or (none) has taken it.
    #[inline]
    pub(crate) fn step(&self, of: Option<Use>) {
        let word = of
            .map_or(0, |(slot, generation)| STEPS | u64::from(slot) << 32 | u64::from(generation));
        self.stepping.store(word, Ordering::Relaxed);
    }

    /// The only request that runs beside that of this thread, if there is one only.
    pub(crate) fn only_other(&self, slots: &Slots) -> Option<Use> {
        let own = crate::overtime::this_thread() as usize;
        let mut others = self.all(slots).filter(|(who, _)| *who != own);
        others.next().filter(|_| others.next().is_none()).map(|(_, of)| of)
    }

    /// The identity of the main thread.
    pub(crate) const fn main(&self) -> usize {
        self.main
    }

    /// Whose coroutine takes a step now.
    pub(super) fn stepping(&self) -> Option<Use> {
        let word = self.stepping.load(Ordering::Relaxed);
        (word & STEPS != 0).then_some(use_of(word))
    }

    /// Everybody who runs a request, and which.
    pub(super) fn all<'a>(&'a self, slots: &'a Slots) -> impl Iterator<Item = (usize, Use)> + 'a {
        let owners = (0u16..).zip(&*self.owners);
        owners.filter_map(|(slot, owner)| {
            let who = owner.who.load(Ordering::Relaxed);
            let generation = owner.generation.load(Ordering::Relaxed);
            let runs = who != 0 && slots.state(slot, generation) == SlotState::Running;
            runs.then_some((who, (slot, generation)))
        })
    }
}

const fn use_of(word: u64) -> Use {
    ((word >> 32) as u16, word as u32)
}
