//! One direction of a channel: a ring of descriptors and the area their payload lies in.
//!
//! The producer allocates payload in ring order and remembers, in its own memory, where each
//! descriptor's payload ends; space is free again when the consumer has passed the descriptor. So
//! neither side ever reads an allocation structure that the other could have broken.

use core::ptr::NonNull;
use core::time::Duration;
use core::{fmt, slice};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::layout::RingHead;
use crate::memory::Keep;
use crate::sync::{Ordering, fence, sleep_on_futex, wake_futex};
use crate::wire::{Cell, Descriptor, Direction};

/// Payload starts on such a boundary.
const ALIGN: usize = 16;

/// When a ring is empty and has used so much of its area, it begins again at the start, where the memory is warm in
/// the caches. What lies before that stays readable for a while; see `recent`.
pub(crate) const KEPT_BYTES: u64 = 8 * 1024;

/// Why something was not sent. Each reason wants another answer, so they are never thrown together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The ring has no room now; ask again after the other side has taken something.
    NoSpace,
    /// The socket that files are handed over by has no room now; ask again after the other side has taken one.
    FilesFull,
    /// It is larger than the channel ever takes.
    TooLarge,
    /// The other side wrote something impossible; nothing can be sent any more.
    Broken(Violation),
    /// The other side has no end of the socket for files any more, or we have lost ours.
    FilesClosed,
}

impl NotSent {
    /// Whether it may be tried again.
    #[must_use]
    pub const fn is_for_now(self) -> bool {
        match self {
            Self::NoSpace | Self::FilesFull => true,
            Self::TooLarge | Self::Broken(_) | Self::FilesClosed => false,
        }
    }
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSpace => "the channel has no room at the moment",
            Self::FilesFull => "no more files can be handed over at the moment",
            Self::TooLarge => "it is larger than the channel takes",
            Self::Broken(violation) => return violation.fmt(f),
            Self::FilesClosed => "the socket that files are handed over by is closed",
        })
    }
}

impl std::error::Error for NotSent {}

/// The other side wrote something that cannot be; the channel must not be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// A ring index moved backwards or too far.
    Index,
    /// A descriptor of unknown kind, or of a kind of the other direction.
    Kind,
    /// A payload outside the area.
    Payload,
    /// A slot that the channel does not have.
    Slot,
    /// A slot's state, or one of its counters, is one that it cannot have come to.
    State,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Index => "a ring index in the shared memory is out of range",
            Self::Kind => "a descriptor in the shared memory is of no kind of this direction",
            Self::Payload => "a descriptor in the shared memory points outside its area",
            Self::Slot => "a descriptor in the shared memory names a slot that does not exist",
            Self::State => "a slot in the shared memory is in a state that it cannot have come to",
        })
    }
}

impl std::error::Error for Violation {}

/// The memory of one direction.
#[derive(Clone)]
pub(crate) struct RingMemory {
    pub(crate) head: NonNull<RingHead>,
    pub(crate) cells: NonNull<Cell>,
    pub(crate) cell_count: u32,
    pub(crate) area: NonNull<u8>,
    pub(crate) area_len: u32,
    /// How many slots the channel has.
    pub(crate) slot_count: u16,
    /// Which kinds of descriptors may lie in it.
    pub(crate) direction: Direction,
    pub(crate) _keep: Keep,
}

impl RingMemory {
    fn shared(&self) -> &RingHead {
        // SAFETY: `_keep` keeps the memory alive.
        unsafe { self.head.as_ref() }
    }

    pub(crate) fn cell(&self, index: u64) -> &Cell {
        let place = (index & u64::from(self.cell_count - 1)) as usize;
        // SAFETY: `cell_count` is a power of two, so `place` is below it.
        unsafe { self.cells.add(place).as_ref() }
    }

    /// Copies a part of the area; what does not lie in it is left out.
    pub(crate) fn copy(&self, offset: u32, len: usize) -> Vec<u8> {
        let len = len.min((self.area_len.saturating_sub(offset)) as usize);
        let mut bytes = vec![0; len];
        // SAFETY: the part lies in the area, which `_keep` keeps alive. The other side may be changing it; whoever
        // reads the copy takes it for what a stranger sent.
        unsafe {
            core::ptr::copy_nonoverlapping(
                self.area.add(offset.min(self.area_len) as usize).as_ptr(),
                bytes.as_mut_ptr(),
                len,
            );
        }
        bytes
    }

    /// Tells the producer how far the consumer is. True: it waits for that (a thread that sleeps on the futex has
    /// been woken already).
    fn give_back(&self, head: u64) -> bool {
        let shared = self.shared();
        shared.head.0.store(head, Ordering::Release);
        fence(Ordering::SeqCst);
        if shared.starving.0.load(Ordering::Relaxed) == 0 {
            return false;
        }
        shared.starving.0.store(0, Ordering::SeqCst);
        shared.space.0.fetch_add(1, Ordering::SeqCst);
        wake_futex(&shared.space.0);
        true
    }
}

/// The producing end.
pub struct Sender {
    memory: RingMemory,
    tail: u64,
    /// The consumer's head as last seen.
    head: u64,
    /// Where the payload of each descriptor in the ring ends, as a position that only grows.
    ends: Box<[u64]>,
    area_tail: u64,
    area_head: u64,
    broken: bool,
    /// Something was sent since the last [`Self::must_wake`].
    unannounced: core::cell::Cell<bool>,
}

// SAFETY: the memory is shared through atomics, and one end is used by one thread at a time.
unsafe impl Send for Sender {}

impl Sender {
    /// # Safety
    /// The memory's counters are zero, and this is its only producer.
    pub(crate) unsafe fn new(memory: RingMemory) -> Self {
        let ends = vec![0; memory.cell_count as usize].into_boxed_slice();
        Self {
            memory,
            tail: 0,
            head: 0,
            ends,
            area_tail: 0,
            area_head: 0,
            broken: false,
            unannounced: core::cell::Cell::new(false),
        }
    }

    /// The largest payload that one descriptor can have.
    #[must_use]
    pub const fn payload_max(&self) -> usize {
        self.memory.area_len as usize / 2
    }

    /// Sends a descriptor with a payload of `len` bytes that `fill` writes in place. The consumer
    /// is not woken before [`Self::must_wake`] is asked.
    ///
    /// # Errors
    /// [`NotSent`]; a `len` over [`Self::payload_max`] is [`NotSent::TooLarge`].
    #[inline]
    pub fn send(
        &mut self,
        descriptor: Descriptor,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), NotSent> {
        self.reserve(len)?.commit(descriptor, fill);
        Ok(())
    }

    /// Room for a descriptor with a payload of `len` bytes. Nothing is sent, and nothing has to be undone,
    /// before [`Reserved::commit`]; that cannot fail any more.
    ///
    /// # Errors
    /// As for [`Self::send`].
    #[inline]
    pub fn reserve(&mut self, len: usize) -> Result<Reserved<'_>, NotSent> {
        let (offset, end) = self.find_room(len)?;
        Ok(Reserved { sender: self, offset, len, end })
    }

    /// Whether the consumer sleeps and has to be woken; asking resets it, so the caller must do it.
    /// To be asked once after a batch of [`Self::send`].
    #[must_use = "the consumer sleeps until it is woken"]
    pub fn must_wake(&self) -> bool {
        // A consumer that went to sleep with everything taken is left alone.
        if !self.unannounced.replace(false) {
            return false;
        }
        fence(Ordering::SeqCst);
        let sleeping = &self.memory.shared().sleeping.0;
        sleeping.load(Ordering::Relaxed) != 0 && sleeping.swap(0, Ordering::SeqCst) != 0
    }

    /// Whether the consumer has taken everything.
    #[must_use]
    pub fn is_drained(&mut self) -> bool {
        self.refresh();
        self.head == self.tail
    }

    /// How many descriptors the consumer has ever taken, and whether that is all.
    #[must_use]
    pub fn taken(&mut self) -> (u64, bool) {
        self.refresh();
        (self.head, self.head == self.tail)
    }

    /// How many descriptors were ever sent.
    #[must_use]
    pub const fn sent(&self) -> u64 {
        self.tail
    }

    pub(crate) const fn memory(&self) -> &RingMemory {
        &self.memory
    }

    /// Whether the consumer wrote an impossible index; nothing can be sent any more.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.broken
    }

    /// Looks how far the consumer is, and whether that is possible.
    ///
    /// # Errors
    /// [`Violation::Index`].
    pub fn check(&mut self) -> Result<(), Violation> {
        self.refresh();
        if self.broken { Err(Violation::Index) } else { Ok(()) }
    }

    /// Asks the consumer to say when there is space again. False: there may be some already, so
    /// try again first. True also when the ring [`Self::is_broken`]: then no space will ever come.
    #[must_use = "false means: try again now"]
    pub fn starve(&mut self) -> bool {
        let seen = self.head;
        self.memory.shared().starving.0.store(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        self.refresh();
        self.head == seen
    }

    /// What a thread waits with for space; it needs no hold on the sender meanwhile.
    #[must_use]
    pub fn space_wait(&self) -> SpaceWait {
        SpaceWait(self.memory.clone())
    }

    /// Room for `len` bytes: their offset, and the position behind them.
    fn find_room(&mut self, len: usize) -> Result<(u32, u64), NotSent> {
        if len > self.payload_max() {
            return Err(NotSent::TooLarge);
        }
        if let Some(place) = self.try_room(len) {
            return Ok(place);
        }
        self.refresh();
        match self.try_room(len) {
            Some(place) => Ok(place),
            None if self.broken => Err(NotSent::Broken(Violation::Index)),
            None => Err(NotSent::NoSpace),
        }
    }

    fn try_room(&mut self, len: usize) -> Option<(u32, u64)> {
        if self.broken || self.tail - self.head >= u64::from(self.memory.cell_count) {
            return None;
        }
        let area_len = u64::from(self.memory.area_len);
        let padded = len.next_multiple_of(ALIGN) as u64;
        let at = self.area_tail % area_len;
        // A payload lies in one piece: when the rest of the area is too short, it is passed over.
        let start =
            if at + padded > area_len { self.area_tail + (area_len - at) } else { self.area_tail };
        let end = start + padded;
        (end - self.area_head <= area_len).then_some(((start % area_len) as u32, end))
    }

    /// Looks how far the consumer is.
    fn refresh(&mut self) {
        let head = self.memory.shared().head.0.load(Ordering::Acquire);
        if head < self.head || head > self.tail {
            self.broken = true;
        } else if head != self.head {
            self.head = head;
            let last = ((head - 1) & u64::from(self.memory.cell_count - 1)) as usize;
            self.area_head = self.ends[last];
        }
        if self.head == self.tail {
            // All is free.
            if self.area_tail > KEPT_BYTES {
                self.area_tail = 0;
            }
            self.area_head = self.area_tail;
        }
    }

    /// Looks how far the consumer is if anything is under way; once per batch keeps both the
    /// descriptors and the payload in warm memory.
    pub fn begin_batch(&mut self) {
        if self.head != self.tail {
            self.refresh();
        }
    }
}

/// Room in a ring. Dropping it gives it back.
#[must_use = "nothing is sent before it is committed"]
pub struct Reserved<'a> {
    sender: &'a mut Sender,
    offset: u32,
    len: usize,
    end: u64,
}

impl Reserved<'_> {
    /// Sends a descriptor with the payload that `fill` writes in place.
    pub fn commit(self, mut descriptor: Descriptor, fill: impl FnOnce(&mut [u8])) {
        let Self { sender, offset, len, end } = self;
        descriptor.offset = offset;
        descriptor.len = len as u32;
        if len != 0 {
            // SAFETY: `find_room` gave us this part of the area, and the consumer does not look at it
            // before the tail moves. (A hostile one could, but it only harms what it reads.)
            fill(unsafe {
                slice::from_raw_parts_mut(sender.memory.area.add(offset as usize).as_ptr(), len)
            });
        }
        descriptor.store(sender.memory.cell(sender.tail));
        let place = (sender.tail & u64::from(sender.memory.cell_count - 1)) as usize;
        sender.ends[place] = end;
        sender.area_tail = end;
        sender.tail += 1;
        sender.unannounced.set(true);
        sender.memory.shared().tail.0.store(sender.tail, Ordering::Release);
    }
}

/// How a thread of the producing side waits for space.
pub struct SpaceWait(RingMemory);

// SAFETY: it reaches the memory through atomics only.
unsafe impl Send for SpaceWait {}
// SAFETY: as above.
unsafe impl Sync for SpaceWait {}

impl SpaceWait {
    /// The futex word to pass to [`Self::sleep`]; read it before [`Sender::starve`].
    #[must_use]
    pub fn ticket(&self) -> u32 {
        self.0.shared().space.0.load(Ordering::SeqCst)
    }

    /// Sleeps until the consumer made space, at most `limit`.
    pub fn sleep(&self, ticket: u32, limit: Duration) {
        sleep_on_futex(&self.0.shared().space.0, ticket, limit);
    }
}

/// The consuming end.
pub struct Receiver {
    memory: RingMemory,
    head: u64,
    /// The producer's tail as last seen.
    tail: u64,
    /// What was given back to the producer, but for what is lent.
    released: u64,
    /// What was lent of it, if anything ever was.
    loans: Option<Arc<Loans>>,
}

// SAFETY: as for `Sender`.
unsafe impl Send for Receiver {}

impl Receiver {
    /// # Safety
    /// The memory's counters are zero, and this is its only consumer.
    pub(crate) const unsafe fn new(memory: RingMemory) -> Self {
        Self { memory, head: 0, tail: 0, released: 0, loans: None }
    }

    /// Takes the next descriptor, if there is one. Its payload stays valid until [`Self::release`].
    ///
    /// # Errors
    /// [`Violation`] when the producer wrote something that cannot be.
    #[inline]
    pub fn receive(&mut self) -> Result<Option<Descriptor>, Violation> {
        if self.head == self.tail && !self.look()? {
            return Ok(None);
        }
        let descriptor = Descriptor::load(self.memory.cell(self.head)).ok_or(Violation::Kind)?;
        let end = u64::from(descriptor.offset) + u64::from(descriptor.len);
        if end > u64::from(self.memory.area_len) {
            return Err(Violation::Payload);
        }
        if descriptor.slot >= self.memory.slot_count {
            return Err(Violation::Slot);
        }
        if descriptor.kind.direction() != self.memory.direction {
            return Err(Violation::Kind);
        }
        self.head += 1;
        Ok(Some(descriptor))
    }

    pub(crate) const fn memory(&self) -> &RingMemory {
        &self.memory
    }

    /// How many descriptors were ever received.
    pub(crate) const fn received(&self) -> u64 {
        self.head
    }

    /// Whether something lies in the ring.
    ///
    /// # Errors
    /// [`Violation::Index`].
    pub fn look(&mut self) -> Result<bool, Violation> {
        let tail = self.memory.shared().tail.0.load(Ordering::Acquire);
        if tail < self.tail || tail - self.head > u64::from(self.memory.cell_count) {
            return Err(Violation::Index);
        }
        self.tail = tail;
        Ok(self.head != self.tail)
    }

    /// Where a payload lies.
    ///
    /// # Panics
    /// When the descriptor was not received from this ring (`len` is public, so it may have been
    /// changed since [`Self::receive`] checked it).
    fn place(&self, descriptor: &Descriptor) -> NonNull<u8> {
        let end = u64::from(descriptor.offset) + u64::from(descriptor.len);
        assert!(end <= u64::from(self.memory.area_len), "a payload of another ring");
        // SAFETY: just checked; the area is one allocation.
        unsafe { self.memory.area.add(descriptor.offset as usize) }
    }

    /// Copies a payload out, replacing what is in `into`.
    ///
    /// # Panics
    /// When the descriptor is not as this receiver gave it.
    pub fn copy_payload(&self, descriptor: &Descriptor, into: &mut Vec<u8>) {
        let len = descriptor.len as usize;
        into.clear();
        into.reserve(len);
        let from = self.place(descriptor).as_ptr();
        // SAFETY: `place` checked that the payload lies in the area; the vector has room. The
        // producer may be changing the bytes at this moment if it is hostile; we then copy some
        // mixture, which the parser treats like any other input.
        unsafe {
            core::ptr::copy_nonoverlapping(from, into.as_mut_ptr(), len);
            into.set_len(len);
        }
    }

    /// The payload in place.
    ///
    /// # Safety
    /// Only for a consumer that trusts the producer not to change it (a worker its front), and not
    /// after [`Self::release`].
    ///
    /// # Panics
    /// When the descriptor is not as this receiver gave it.
    #[must_use]
    pub unsafe fn payload<'a>(&self, descriptor: &Descriptor) -> &'a [u8] {
        let from = self.place(descriptor).as_ptr();
        // SAFETY: `place` checked the bounds; the rest is the caller's promise.
        unsafe { slice::from_raw_parts(from, descriptor.len as usize) }
    }

    /// Leaves the payload of the descriptor received last where it lies, from its byte `from` on: neither its space
    /// nor any behind it is given back before the loan is dropped.
    ///
    /// # Panics
    /// When the descriptor is not as this receiver gave it, or its payload is shorter.
    #[must_use = "what is dropped is given back"]
    pub fn lend(&mut self, descriptor: &Descriptor, from: usize) -> Lent {
        let start = self.place(descriptor);
        let len = descriptor.len as usize;
        assert!(from <= len, "more than the payload");
        // SAFETY: `place` checked that all `len` bytes lie in the area.
        let start = unsafe { start.add(from) };
        let (number, released) = (self.head - 1, self.released);
        let loans = self.loans.get_or_insert_with(|| {
            let open = Mutex::new(Open { head: released, loans: VecDeque::new() });
            Arc::new(Loans { memory: self.memory.clone(), open })
        });
        loans.open().loans.push_back((number, false));
        Lent { start, len: len - from, number, loans: Arc::clone(loans) }
    }

    /// Gives the space of everything received so far, up to the first loan, back to the producer. True: the
    /// producer waits for it and must be told (a thread that sleeps on the futex has been woken already).
    #[must_use = "a producer that polls must be woken"]
    pub fn release(&mut self) -> bool {
        self.released = self.head;
        let Some(loans) = &self.loans else { return self.memory.give_back(self.head) };
        let mut open = loans.open();
        open.head = self.head;
        self.memory.give_back(open.taken())
    }

    /// Says that the consumer is going to sleep. False: something has come, so do not.
    ///
    /// # Errors
    /// [`Violation::Index`].
    pub fn prepare_sleep(&mut self) -> Result<bool, Violation> {
        // A swap rather than a store (the same instruction on x86), so that it comes after a swap of
        // the producer in every reading of the memory model, loom's weaker one included.
        self.memory.shared().sleeping.0.swap(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        if self.look()? {
            self.awake();
            return Ok(false);
        }
        Ok(true)
    }

    /// Says that the consumer does not sleep (any more).
    pub fn awake(&self) {
        self.memory.shared().sleeping.0.store(0, Ordering::Relaxed);
    }
}

/// What is lent of a ring. A loan may come back on any thread.
struct Loans {
    memory: RingMemory,
    open: Mutex<Open>,
}

// SAFETY: the ring's head is written under the lock only, by whoever has it.
unsafe impl Send for Loans {}
// SAFETY: as above.
unsafe impl Sync for Loans {}

struct Open {
    /// How far the consumer has given back what is not lent.
    head: u64,
    /// Numbers of the descriptors, in order, and whether they came back.
    loans: VecDeque<(u64, bool)>,
}

impl Loans {
    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// How far the producer may go.
    fn taken(&self) -> u64 {
        self.loans.front().map_or(self.head, |(number, _)| self.head.min(*number))
    }

    fn comes_back(&mut self, number: u64) {
        let place = self.loans.partition_point(|(other, _)| *other < number);
        if let Some((_, is_back)) = self.loans.get_mut(place) {
            *is_back = true;
        }
        while self.loans.front().is_some_and(|(_, is_back)| *is_back) {
            self.loans.pop_front();
        }
    }
}

/// A payload that lies in the ring until this is dropped.
///
/// An honest producer does not touch it meanwhile. A hostile one may change it at any moment, so its bytes are to be
/// handed on (to a system call, or copied), and never to be looked at: nothing may be concluded from them.
pub struct Lent {
    start: NonNull<u8>,
    len: usize,
    number: u64,
    loans: Arc<Loans>,
}

// SAFETY: the memory is kept alive by `loans`, and read only.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: `Receiver::lend` checked the bounds, and the memory is mapped as long as `loans` lives. The space
        // is not given back before we are dropped, so nobody who keeps to the protocol writes there; of one who does
        // not, whoever reads gets some mixture, as from a file that is mapped and written at the same time.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl fmt::Debug for Lent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lent({} bytes)", self.len)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut open = self.loans.open();
        let before = open.taken();
        open.comes_back(self.number);
        let taken = open.taken();
        if taken != before {
            // Who waits for space sleeps on the futex.
            let _ = self.loans.memory.give_back(taken);
        }
    }
}
