//! What the tests of this crate share: rings and slots in ordinary memory (loom and Miri know no
//! memfd), and a way to kill a side between any two steps.

#[cfg(not(loom))]
pub(crate) mod steps;

use core::cell::UnsafeCell;
use core::ptr::NonNull;
use std::sync::Arc;

use crate::layout::RingHead;
use crate::memory::Line;
use crate::ring::{Receiver, RingMemory, Sender};
use crate::slot::{SlotCell, Slots};
use crate::sync::{AtomicU32, AtomicU64};
use crate::wire::{Cell, Direction};

/// How many slots the rings of the tests accept.
pub(crate) const SLOTS: u16 = 8;

/// One direction's memory on the heap.
pub(crate) struct RingHeap {
    pub(crate) head: RingHead,
    pub(crate) cells: Box<[Cell]>,
    area: Box<[UnsafeCell<u8>]>,
}

// SAFETY: only test code that keeps to the ring's protocol touches the area.
unsafe impl Send for RingHeap {}
// SAFETY: as above.
unsafe impl Sync for RingHeap {}

impl RingHeap {
    pub(crate) fn new(descriptors: u32, area_len: u32) -> Arc<Self> {
        let word = || Line(AtomicU64::new(0));
        let flag = || Line(AtomicU32::new(0));
        let head = RingHead {
            tail: word(),
            head: word(),
            sleeping: flag(),
            starving: flag(),
            space: flag(),
            bell: flag(),
        };
        let cells =
            (0..descriptors).map(|_| Cell(core::array::from_fn(|_| AtomicU64::new(0)))).collect();
        let area = (0..area_len).map(|_| UnsafeCell::new(0)).collect();
        Arc::new(Self { head, cells, area })
    }

    /// Both ends; to be called once.
    pub(crate) fn ends(this: &Arc<Self>, direction: Direction) -> (Sender, Receiver) {
        let memory = RingMemory {
            head: NonNull::from(&this.head),
            cells: NonNull::from(&*this.cells).cast(),
            cell_count: u32::try_from(this.cells.len()).expect("small"),
            area: NonNull::from(&*this.area).cast(),
            area_len: u32::try_from(this.area.len()).expect("small"),
            slot_count: SLOTS,
            direction,
            _keep: Arc::<Self>::clone(this),
        };
        // SAFETY: fresh memory, and the test makes the ends once.
        unsafe { (Sender::new(memory.clone()), Receiver::new(memory)) }
    }
}

/// Both ends of a fresh ring from the front to the worker.
pub(crate) fn ring(descriptors: u32, area_len: u32) -> (Sender, Receiver) {
    RingHeap::ends(&RingHeap::new(descriptors, area_len), Direction::Requests)
}

struct SlotHeap(Box<[SlotCell]>);

/// A fresh slot table of [`SLOTS`].
pub(crate) fn slots() -> Slots {
    let heap = Arc::new(SlotHeap((0..SLOTS).map(|_| SlotCell::zero()).collect()));
    let cells = NonNull::from(&*heap.0).cast();
    // SAFETY: the cells live as long as the heap that is handed over.
    unsafe { Slots::new(cells, SLOTS, heap) }
}
