//! Where everything lies in a channel's memory.

use core::fmt;

use crate::memory::{Line, PAGE};
use crate::slot::SlotCell;
use crate::sync::{AtomicU32, AtomicU64};
use crate::windows::CHUNK_MAX;
use crate::wire::Cell;

pub(crate) const MAGIC: u64 = 0x314b_4952_444e_4930;
pub(crate) const VERSION: u32 = 7;

/// The sizes of a channel; they never change after it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChannelLimits {
    /// Requests that may be at the worker at once, running or queued ahead.
    pub slots: u16,
    /// Descriptors in each ring; a power of two.
    pub descriptors: u32,
    /// Bytes of payload that may wait in the request direction.
    pub request_area: u32,
    /// Bytes of payload that may wait in the response direction.
    pub response_area: u32,
    /// Bytes of request bodies that the worker reads in place; 0: none.
    pub body_area: u32,
}

impl Default for ChannelLimits {
    fn default() -> Self {
        Self {
            slots: 128,
            descriptors: 1024,
            request_area: 1024 * 1024,
            response_area: 1536 * 1024,
            body_area: 8 * 1024 * 1024,
        }
    }
}

impl ChannelLimits {
    /// The most slots a channel can have.
    pub const SLOTS_MAX: u16 = 16_384;
    const DESCRIPTORS_MAX: u32 = 65_536;
    const AREA_MIN: u32 = 2 * (CHUNK_MAX as u32);
    const AREA_MAX: u32 = 256 * 1024 * 1024;

    /// Checks the limits.
    ///
    /// # Errors
    /// [`LimitError`] names the limit that is out of range.
    pub fn check(&self) -> Result<(), LimitError> {
        let fail = |name| Err(LimitError { name });
        if self.slots == 0 || self.slots > Self::SLOTS_MAX {
            return fail("slots");
        }
        if !self.descriptors.is_power_of_two() || self.descriptors > Self::DESCRIPTORS_MAX {
            return fail("descriptors");
        }
        let area = Self::AREA_MIN..=Self::AREA_MAX;
        if !area.contains(&self.request_area) || !self.request_area.is_multiple_of(64) {
            return fail("request_area");
        }
        if !area.contains(&self.response_area) || !self.response_area.is_multiple_of(64) {
            return fail("response_area");
        }
        if self.body_area > Self::AREA_MAX || !self.body_area.is_multiple_of(PAGE as u32) {
            return fail("body_area");
        }
        Ok(())
    }

    pub(crate) fn map(&self) -> Map {
        let slots = PAGE;
        let request_cells = slots + usize::from(self.slots) * size_of::<SlotCell>();
        let cells = self.descriptors as usize * size_of::<Cell>();
        let response_cells = request_cells + cells;
        let request_area = (response_cells + cells).next_multiple_of(PAGE);
        let response_area = (request_area + self.request_area as usize).next_multiple_of(PAGE);
        let bodies = (response_area + self.response_area as usize).next_multiple_of(PAGE);
        let total = bodies + self.body_area as usize;
        Map { slots, request_cells, response_cells, request_area, response_area, bodies, total }
    }
}

/// A limit that is out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitError {
    /// The name of the field in [`ChannelLimits`].
    pub name: &'static str,
}

impl fmt::Display for LimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "channel limit `{}` is out of range", self.name)
    }
}

impl std::error::Error for LimitError {}

/// Byte offsets of the parts in the mapping.
pub(crate) struct Map {
    pub(crate) slots: usize,
    pub(crate) request_cells: usize,
    pub(crate) response_cells: usize,
    pub(crate) request_area: usize,
    pub(crate) response_area: usize,
    pub(crate) bodies: usize,
    pub(crate) total: usize,
}

/// What the two ends of one ring share beside the descriptors.
#[repr(C)]
pub(crate) struct RingHead {
    /// Descriptors ever pushed; written by the producer.
    pub(crate) tail: Line<AtomicU64>,
    /// Descriptors ever taken; written by the consumer.
    pub(crate) head: Line<AtomicU64>,
    /// 1 while the consumer sleeps, or is about to.
    pub(crate) sleeping: Line<AtomicU32>,
    /// 1 while the producer waits for space.
    pub(crate) starving: Line<AtomicU32>,
    /// A futex word that moves whenever a starving producer got space.
    pub(crate) space: Line<AtomicU32>,
    /// A futex word that moves whenever a consumer that sleeps on it is woken.
    pub(crate) bell: Line<AtomicU32>,
}

/// The first page of a channel.
#[repr(C)]
pub(crate) struct Header {
    pub(crate) magic: u64,
    pub(crate) version: u32,
    pub(crate) slots: u32,
    pub(crate) descriptors: u32,
    pub(crate) request_area: u32,
    pub(crate) response_area: u32,
    pub(crate) body_area: u32,
    pub(crate) requests: RingHead,
    pub(crate) responses: RingHead,
    /// 1 when the worker shall leave once its ring is empty; written by either side.
    pub(crate) shutdown: Line<AtomicU32>,
    /// Moves whenever the worker's main loop turns; written by the worker.
    pub(crate) heartbeat: Line<AtomicU64>,
    /// Moves while some thread of the worker gets the interpreter's lock; written by the worker.
    pub(crate) pulse: Line<AtomicU64>,
    /// How often the worker was told to look for requests that shall stop; written by the front.
    pub(crate) interrupts: Line<AtomicU32>,
    /// Up to which of these the worker has looked; written by the worker.
    pub(crate) interrupts_seen: Line<AtomicU32>,
    /// Which ends were opened; each can be opened once.
    pub(crate) attached: Line<AtomicU32>,
    /// For how long the worker's event loop did not turn although it should have, microseconds; written by the worker.
    pub(crate) loop_blocked: Line<AtomicU64>,
    /// For how long its threads waited for the interpreter's lock, microseconds; written by the worker.
    pub(crate) gil_waited: Line<AtomicU64>,
    /// The request that was the last cause of either; written by the worker.
    pub(crate) blocked_by: Line<AtomicU64>,
    /// The request whose coroutine takes a step, and since when; written by the worker.
    pub(crate) step: Line<(AtomicU64, AtomicU64)>,
}

#[cfg(not(loom))]
const _: () = {
    assert!(size_of::<Header>() <= PAGE);
    assert!(size_of::<Cell>() == 32);
    assert!(size_of::<SlotCell>() == 256);
};
