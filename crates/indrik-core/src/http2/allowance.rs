//! How many frames that carry nothing a client may send (CVE-2019-9512 and its kin, CVE-2023-44487).
//!
//! Two buckets of tokens. Control frames take from the first; time fills it slowly, and what a connection is
//! for fills it: heads and bodies, either way. So whoever transfers much may also steer much (some clients give
//! back their window with every few KiB they read), and whoever only steers runs out. Resets take from the
//! second, which answers fill: a client may change its mind, but not all the time.

use super::frame::{FrameHead, FrameKind};

/// Microseconds on the caller's clock.
type Micros = u64;

/// Control frames that a new connection may send.
const CONTROL_FIRST: u64 = 1_000;
/// Control frames that can be saved up.
const CONTROL_MAX: u64 = 10_000;
/// Control frames a second that are always free.
const CONTROL_PER_SECOND: u64 = 100;
/// Bytes of an answer for which a client may send one control frame more. Clients give back both windows, the
/// stream's and the connection's, with every 4 KiB at the most often.
const BYTES_PER_CONTROL: u32 = 2048;
/// Streams that a client may reset at once: those of a large page that is left, several times.
const RESETS_MAX: u64 = 500;
/// Resets a second that are always free.
const RESETS_PER_SECOND: u64 = 20;

/// What a client has sent too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flood {
    /// Frames that carry no part of a message.
    Control,
    /// Resets of streams.
    Resets,
}

impl Flood {
    /// For the log.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Control => "too many HTTP/2 control frames",
            Self::Resets => "too many HTTP/2 streams reset",
        }
    }
}

/// What the client of one connection may still send.
#[derive(Clone, Debug)]
pub struct Allowance {
    control: Bucket,
    resets: Bucket,
}

impl Allowance {
    /// That of a connection which begins now.
    pub const fn new(now: Micros) -> Self {
        Self {
            control: Bucket::new(CONTROL_FIRST, CONTROL_MAX, CONTROL_PER_SECOND, now),
            resets: Bucket::new(RESETS_MAX, RESETS_MAX, RESETS_PER_SECOND, now),
        }
    }

    /// A frame has come.
    ///
    /// # Errors
    /// It is one too many; the connection is to end.
    pub fn received(&mut self, head: &FrameHead, now: Micros) -> Result<(), Flood> {
        let is_empty = head.len == 0 && !head.ends_stream();
        match head.kind {
            FrameKind::Data if !is_empty => self.control.add(1),
            FrameKind::Headers => self.control.add(1),
            FrameKind::Reset => return self.resets.take(now).then_some(()).ok_or(Flood::Resets),
            FrameKind::Data
            | FrameKind::Priority
            | FrameKind::Settings
            | FrameKind::PushPromise
            | FrameKind::Ping
            | FrameKind::GoAway
            | FrameKind::WindowUpdate
            | FrameKind::Continuation
            | FrameKind::Unknown => {
                return self.control.take(now).then_some(()).ok_or(Flood::Control);
            }
        }
        Ok(())
    }

    /// A frame has been sent.
    pub fn sent(&mut self, head: &FrameHead) {
        match head.kind {
            FrameKind::Data => self.control.add(1 + u64::from(head.len / BYTES_PER_CONTROL)),
            FrameKind::Headers => self.control.add(1),
            FrameKind::Priority
            | FrameKind::Reset
            | FrameKind::Settings
            | FrameKind::PushPromise
            | FrameKind::Ping
            | FrameKind::GoAway
            | FrameKind::WindowUpdate
            | FrameKind::Continuation
            | FrameKind::Unknown => {}
        }
        if head.ends_stream() {
            self.resets.add(1);
        }
    }
}

/// Tokens, in millionths.
#[derive(Clone, Debug)]
struct Bucket {
    level: u64,
    max: u64,
    per_second: u64,
    filled_at: Micros,
}

const TOKEN: u64 = 1_000_000;

impl Bucket {
    const fn new(first: u64, max: u64, per_second: u64, now: Micros) -> Self {
        Self { level: first * TOKEN, max: max * TOKEN, per_second, filled_at: now }
    }

    fn add(&mut self, tokens: u64) {
        self.level = self.level.saturating_add(tokens.saturating_mul(TOKEN)).min(self.max);
    }

    /// Takes a token; false: there is none.
    fn take(&mut self, now: Micros) -> bool {
        if self.level < TOKEN {
            let passed = now.saturating_sub(self.filled_at);
            let grown = passed.saturating_mul(self.per_second);
            self.level = self.level.saturating_add(grown).min(self.max);
            self.filled_at = now;
        }
        let has_one = self.level >= TOKEN;
        if has_one {
            self.level -= TOKEN;
        }
        has_one
    }
}

#[cfg(test)]
mod tests;
