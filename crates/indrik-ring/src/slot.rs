//! The slot table: what both sides must see of a request at any moment.

use core::ptr::NonNull;
use core::time::Duration;

use crate::memory::{Keep, Line};
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence, sleep_on_futex, wake_futex};

/// Where a request stands. It moves by compare-and-swap: `Queued → Running → Done` by the worker,
/// or `Queued → Reclaimed` by the front, so exactly one side owns a queued request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotState {
    /// The slot is not in use.
    Free = 0,
    /// The request lies in the ring; the worker has not started it.
    Queued = 1,
    /// The application has it.
    Running = 2,
    /// The front took it back; the worker passes over it.
    Reclaimed = 3,
    /// The worker says that the application has returned, and that the descriptor with
    /// [`Flags::DONE`](crate::Flags::DONE) was sent. That descriptor is what counts: a request that is done
    /// and whose descriptor is not in the ring has failed.
    Done = 4,
}

impl SlotState {
    const fn from_u8(value: u8) -> Self {
        match value {
            1 => Self::Queued,
            2 => Self::Running,
            3 => Self::Reclaimed,
            4 => Self::Done,
            _ => Self::Free,
        }
    }
}

/// The client has left.
const GONE: u32 = 1;
/// The request ran too long, and its client was answered.
const OVERTIME: u32 = 2;

/// How a worker waits for response credit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum CreditWait {
    /// Nobody waits.
    No = 0,
    /// A thread sleeps on the slot's futex.
    Thread = 1,
    /// An event loop wants a [`Kind::Credit`](crate::Kind::Credit) descriptor.
    Descriptor = 2,
}

/// A slot as it lies in shared memory; a pair of lines for each writer.
#[repr(C)]
pub(crate) struct SlotCell {
    /// Written by the front, and by both through compare-and-swap.
    front: Line<FrontPart>,
    /// Written by the worker.
    worker: Line<WorkerPart>,
}

#[repr(C)]
struct FrontPart {
    /// generation << 8 | state
    state: AtomicU64,
    /// Bytes of the response body that the client's side has taken.
    response_taken: AtomicU64,
    /// A futex word that moves with `response_taken` and `gone`.
    credit: AtomicU32,
    /// [`GONE`] and [`OVERTIME`]: nobody waits for the response any more.
    gone: AtomicU32,
}

#[repr(C)]
struct WorkerPart {
    /// Bytes of the request body that the application has taken.
    request_taken: AtomicU64,
    /// A [`CreditWait`].
    wants_credit: AtomicU32,
    /// 1 when the front wants a [`Kind::RequestCredit`](crate::Kind::RequestCredit).
    request_credit_wanted: AtomicU32,
    /// 1 when the worker needs the request's part of the [`BodyArea`](crate::BodyArea) no more.
    body_released: AtomicU32,
    /// Which route the application chose, once it is known, below the low half of the generation that it is of: for
    /// what is said of a request that its worker did not survive.
    route: AtomicU32,
}

#[cfg(test)]
impl SlotCell {
    /// A cell as fresh shared memory has it.
    pub(crate) fn zero() -> Self {
        let front = FrontPart {
            state: AtomicU64::new(0),
            response_taken: AtomicU64::new(0),
            credit: AtomicU32::new(0),
            gone: AtomicU32::new(0),
        };
        let worker = WorkerPart {
            request_taken: AtomicU64::new(0),
            wants_credit: AtomicU32::new(0),
            request_credit_wanted: AtomicU32::new(0),
            body_released: AtomicU32::new(0),
            route: AtomicU32::new(0),
        };
        Self { front: Line(front), worker: Line(worker) }
    }
}

/// A view of the slot table. Both sides have one.
#[derive(Clone)]
pub struct Slots {
    cells: NonNull<SlotCell>,
    count: u16,
    _keep: Keep,
}

// SAFETY: the cells are only reached through atomics.
unsafe impl Send for Slots {}
// SAFETY: as above.
unsafe impl Sync for Slots {}

impl Slots {
    /// # Safety
    /// `cells` points to `count` zero-initialised or live cells that live as long as `keep`.
    pub(crate) const unsafe fn new(cells: NonNull<SlotCell>, count: u16, keep: Keep) -> Self {
        Self { cells, count, _keep: keep }
    }

    /// How many slots there are.
    #[must_use]
    pub const fn count(&self) -> u16 {
        self.count
    }

    fn cell(&self, slot: u16) -> &SlotCell {
        assert!(slot < self.count, "slot {slot} of {}", self.count);
        // SAFETY: `slot` was checked; `new` promises that the cells live.
        unsafe { self.cells.add(usize::from(slot)).as_ref() }
    }

    // --- the front's side

    /// Begins a use of a slot: counters at zero, state [`SlotState::Queued`].
    pub fn begin(&self, slot: u16, generation: u32) {
        let cell = self.cell(slot);
        cell.front.0.response_taken.store(0, Ordering::Relaxed);
        cell.front.0.gone.store(0, Ordering::Relaxed);
        cell.worker.0.request_taken.store(0, Ordering::Relaxed);
        cell.worker.0.wants_credit.store(0, Ordering::Relaxed);
        cell.worker.0.request_credit_wanted.store(0, Ordering::Relaxed);
        cell.worker.0.body_released.store(0, Ordering::Relaxed);
        cell.worker.0.route.store(0, Ordering::Relaxed);
        cell.front.0.state.store(pack(generation, SlotState::Queued), Ordering::Release);
    }

    /// Takes a queued request back. False: the worker was quicker.
    #[must_use]
    pub fn reclaim(&self, slot: u16, generation: u32) -> bool {
        self.exchange(slot, generation, SlotState::Queued, SlotState::Reclaimed)
    }

    /// The state of a use of a slot; [`SlotState::Free`] if the slot is at another use.
    #[must_use]
    pub fn state(&self, slot: u16, generation: u32) -> SlotState {
        let word = self.cell(slot).front.0.state.load(Ordering::Acquire);
        if (word >> 8) as u32 == generation {
            SlotState::from_u8(word as u8)
        } else {
            SlotState::Free
        }
    }

    /// Says that the client's side took `bytes` more of the response. Returns how the worker waits
    /// for it, and resets that; a sleeping thread has been woken already.
    #[must_use = "an event loop must be sent a Credit descriptor"]
    pub fn response_took(&self, slot: u16, bytes: u64) -> CreditWait {
        let cell = self.cell(slot);
        cell.front.0.response_taken.fetch_add(bytes, Ordering::Release);
        Self::wake_waiter(cell)
    }

    /// Whether the worker says that it waits for credit; the front resets that when there is some.
    #[must_use]
    pub fn waits_for_credit(&self, slot: u16) -> bool {
        self.cell(slot).worker.0.wants_credit.load(Ordering::Relaxed) != CreditWait::No as u32
    }

    /// Says that the client is gone.
    #[must_use = "an event loop must be sent a Disconnect descriptor"]
    pub fn set_gone(&self, slot: u16) -> CreditWait {
        let cell = self.cell(slot);
        cell.front.0.gone.fetch_or(GONE, Ordering::AcqRel);
        Self::wake_waiter(cell)
    }

    /// Says that the request ran too long: nobody waits for its response, and it shall stop.
    #[must_use = "an event loop must be sent a Disconnect descriptor"]
    pub fn set_overtime(&self, slot: u16) -> CreditWait {
        let cell = self.cell(slot);
        cell.front.0.gone.fetch_or(GONE | OVERTIME, Ordering::AcqRel);
        Self::wake_waiter(cell)
    }

    /// Pairs with [`Self::want_credit`]: either we see that somebody waits, or the waiter sees what we
    /// changed before this.
    fn wake_waiter(cell: &SlotCell) -> CreditWait {
        fence(Ordering::SeqCst);
        match cell.worker.0.wants_credit.load(Ordering::SeqCst) {
            0 => CreditWait::No,
            wanted => {
                cell.worker.0.wants_credit.store(0, Ordering::SeqCst);
                cell.front.0.credit.fetch_add(1, Ordering::SeqCst);
                if wanted == CreditWait::Descriptor as u32 {
                    CreditWait::Descriptor
                } else {
                    wake_futex(&cell.front.0.credit);
                    CreditWait::Thread
                }
            }
        }
    }

    /// Bytes of the request body that the application has taken. The worker may have written any
    /// number, so it must be compared with what was sent before it is subtracted.
    #[must_use]
    pub fn request_taken(&self, slot: u16) -> u64 {
        self.cell(slot).worker.0.request_taken.load(Ordering::Acquire)
    }

    /// Whether the worker has copied the body that it was sent with the request.
    #[must_use]
    pub fn has_released_body(&self, slot: u16) -> bool {
        self.cell(slot).worker.0.body_released.load(Ordering::Acquire) != 0
    }

    /// Which route the application chose for this use of the slot; 0: not known. The worker may have written any
    /// number.
    #[must_use]
    pub fn route(&self, slot: u16, generation: u32) -> u16 {
        let word = self.cell(slot).worker.0.route.load(Ordering::Relaxed);
        if word >> 16 == u32::from(generation as u16) { word as u16 } else { 0 }
    }

    /// Asks the worker to send a [`Kind::RequestCredit`](crate::Kind::RequestCredit) when it takes
    /// more; look at [`Self::request_taken`] again afterwards.
    pub fn want_request_credit(&self, slot: u16) {
        self.cell(slot).worker.0.request_credit_wanted.store(1, Ordering::SeqCst);
        // Either the worker sees the wish, or our next look sees what it took.
        fence(Ordering::SeqCst);
    }

    // --- the worker's side

    /// Starts a queued request. False: the front took it back.
    #[must_use]
    pub fn start(&self, slot: u16, generation: u32) -> bool {
        self.exchange(slot, generation, SlotState::Queued, SlotState::Running)
    }

    /// Marks a running request as done, after its last descriptor was sent. The front may have seen that one
    /// already, and begun another use of the slot; then this does nothing.
    pub fn finish(&self, slot: u16, generation: u32) {
        let _ = self.exchange(slot, generation, SlotState::Running, SlotState::Done);
    }

    /// Says that the request's body was copied: the front may use its part of the area for another one.
    pub fn release_body(&self, slot: u16) {
        self.cell(slot).worker.0.body_released.store(1, Ordering::Release);
    }

    /// Says which route the application chose for this use of the slot. Of a request that is over it is not said:
    /// another one may have the slot.
    pub fn set_route(&self, slot: u16, generation: u32, route: u16) {
        if self.state(slot, generation) == SlotState::Running {
            // The request may end here; then the number is of another use of the slot than who looks.
            let word = (generation & 0xffff) << 16 | u32::from(route);
            self.cell(slot).worker.0.route.store(word, Ordering::Relaxed);
        }
    }

    /// Whether the client is gone.
    #[must_use]
    pub fn is_gone(&self, slot: u16) -> bool {
        self.cell(slot).front.0.gone.load(Ordering::Acquire) != 0
    }

    /// Whether a running request shall stop, because it ran too long.
    #[must_use]
    pub fn is_overtime(&self, slot: u16, generation: u32) -> bool {
        self.cell(slot).front.0.gone.load(Ordering::Acquire) & OVERTIME != 0
            && self.state(slot, generation) == SlotState::Running
    }

    /// Bytes of the response body that the client's side has taken.
    #[must_use]
    pub fn response_taken(&self, slot: u16) -> u64 {
        self.cell(slot).front.0.response_taken.load(Ordering::Acquire)
    }

    /// Says how the worker is going to wait for credit; look at [`Self::response_taken`] and
    /// [`Self::is_gone`] again afterwards, before waiting.
    pub fn want_credit(&self, slot: u16, wait: CreditWait) {
        self.cell(slot).worker.0.wants_credit.store(wait as u32, Ordering::SeqCst);
        // The looks that follow must not be done before the store is seen: `is_gone` is a plain load.
        fence(Ordering::SeqCst);
    }

    /// The futex word to pass to [`Self::sleep_for_credit`]; read it before looking at the credit.
    #[must_use]
    pub fn credit_ticket(&self, slot: u16) -> u32 {
        self.cell(slot).front.0.credit.load(Ordering::SeqCst)
    }

    /// Sleeps until the front moves the word on from `ticket`, at most `limit`.
    pub fn sleep_for_credit(&self, slot: u16, ticket: u32, limit: Duration) {
        sleep_on_futex(&self.cell(slot).front.0.credit, ticket, limit);
    }

    /// Says that the application took `bytes` more of the request body. True: the front wants a
    /// [`Kind::RequestCredit`](crate::Kind::RequestCredit).
    #[must_use = "the front waits for the descriptor"]
    pub fn request_took(&self, slot: u16, bytes: u64) -> bool {
        let worker = &self.cell(slot).worker.0;
        worker.request_taken.fetch_add(bytes, Ordering::Release);
        fence(Ordering::SeqCst);
        worker.request_credit_wanted.load(Ordering::SeqCst) != 0
            && worker.request_credit_wanted.swap(0, Ordering::SeqCst) != 0
    }

    fn exchange(&self, slot: u16, generation: u32, from: SlotState, to: SlotState) -> bool {
        self.cell(slot)
            .front
            .0
            .state
            .compare_exchange(
                pack(generation, from),
                pack(generation, to),
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .is_ok()
    }
}

const fn pack(generation: u32, state: SlotState) -> u64 {
    (generation as u64) << 8 | state as u64
}
