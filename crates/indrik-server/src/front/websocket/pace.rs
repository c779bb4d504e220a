//! How fast a peer may send frames that are no message: pings, pongs, and parts of messages.
//!
//! Messages wait for the application; nobody but the front waits for these. A peer that sends nothing else, as fast
//! as it can, would keep its thread busy for ever: with others taking their turns in between, but on a core that the
//! workers want too. So a connection has some of them handled in each span of time, and is not read for the rest of it.

use std::time::Duration;

use tokio::time::Instant;

/// Control frames, and parts that hardly carry anything, that are handled within [`SPAN`].
pub(super) const FRAMES_MAX: u32 = 64;
/// So many parts that carry something count as one of them.
const PARTS_PER_FRAME: u32 = 8;
/// A part carries something from so many bytes on.
const PART_BYTES_MIN: u64 = 64;
/// The time for which they are counted.
pub(super) const SPAN: Duration = Duration::from_millis(10);

/// What a peer has sent in this span.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// In parts.
    counted: u32,
    since: Instant,
}

impl Pace {
    pub(super) const fn new(now: Instant) -> Self {
        Self { counted: 0, since: now }
    }

    /// A control frame has come.
    pub(super) fn control(&mut self, now: Instant) {
        self.count(PARTS_PER_FRAME, now);
    }

    /// A part of a message has come, with so many bytes.
    pub(super) fn part(&mut self, bytes: u64, now: Instant) {
        self.count(if bytes < PART_BYTES_MIN { PARTS_PER_FRAME } else { 1 }, now);
    }

    fn count(&mut self, parts: u32, now: Instant) {
        if now >= self.since + SPAN {
            *self = Self::new(now);
        }
        self.counted += parts;
    }

    /// Until when nothing more is read, if these were enough.
    pub(super) fn rests_until(&self, now: Instant) -> Option<Instant> {
        let until = self.since + SPAN;
        (self.counted >= FRAMES_MAX * PARTS_PER_FRAME && now < until).then_some(until)
    }
}
