//! The small encodings: what a number or a payload of a few bytes means.

use core::time::Duration;

use super::frame::{Descriptor, Flags, Kind};

/// In the `aux` of a [`Kind::Disconnect`](super::Kind::Disconnect): the request ran too long and shall stop.
/// 0 there: only its client has gone.
pub const STOP_OVERTIME: u64 = 1;

/// In [`Descriptor::time_us`]: longer than the number can say, which is more than an hour.
pub const TIME_TOO_LONG: u32 = u32::MAX;

/// Where the body of a request lies. A new place (memory that is mapped once and used again, say) is a new
/// case here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyIn {
    /// Behind the head, in the same payload.
    Payload,
    /// In the [`BodyArea`](crate::BodyArea); behind the head is the [`BodyPlace`](crate::BodyPlace).
    Placed,
    /// In a file, handed over with the descriptor.
    File,
    /// In [`Kind::RequestBody`](super::Kind::RequestBody) descriptors that follow.
    Stream,
}

/// What a [`Kind::Failed`](super::Kind::Failed) says in its `aux`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Failure {
    /// The application failed before its response began.
    Before = 1,
    /// The application failed after its response began.
    After = 2,
    /// The application gave something that must not be sent.
    Invalid = 3,
    /// The response ended short of its `Content-Length`.
    Short = 4,
}

/// The part of a file that a [`Kind::File`](super::Kind::File) sends; its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePart {
    /// Where it begins.
    pub offset: u64,
    /// Its length.
    pub len: u64,
}

/// What travels with a file's descriptor: which use of which slot it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileMark {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
}

impl Descriptor {
    /// Where the body lies of the request that this begins, or the first part of one with
    /// [`Flags::BODY_STREAM`].
    #[must_use]
    pub const fn body_in(&self) -> BodyIn {
        if self.flags.has(Flags::BODY_FILE) {
            BodyIn::File
        } else if self.flags.has(Flags::BODY_PLACED) {
            BodyIn::Placed
        } else if self.flags.has(Flags::BODY_STREAM) {
            BodyIn::Stream
        } else {
            BodyIn::Payload
        }
    }

    /// Whether it says how long the application has had the request: at the head of the response, at its
    /// end, and when the application has returned.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        matches!(self.kind, Kind::Response)
            || self.flags.has(Flags::END)
            || self.flags.has(Flags::DONE)
    }

    /// The same, with how long the application has had the request.
    #[must_use]
    pub fn took(mut self, time: Duration) -> Self {
        let us = u32::try_from(time.as_micros()).unwrap_or(TIME_TOO_LONG);
        self.time_us = us.max(1);
        self
    }

    /// The same, with the route that the application chose.
    #[must_use]
    pub const fn on_route(mut self, route: u16) -> Self {
        self.route = route;
        self
    }

    /// The payload of a request or response: its head, and what of the body lies behind it. `None` when the
    /// head is longer than the payload.
    #[must_use]
    pub fn split_head<'a>(&self, payload: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
        payload.split_at_checked(usize::try_from(self.aux).ok()?)
    }
}

impl Failure {
    /// Reads what was written as `aux`.
    #[must_use]
    pub const fn from_aux(aux: u64) -> Option<Self> {
        Some(match aux {
            1 => Self::Before,
            2 => Self::After,
            3 => Self::Invalid,
            4 => Self::Short,
            _ => return None,
        })
    }
}

impl FilePart {
    /// Bytes of its encoding.
    pub const LEN: usize = 16;

    /// Writes it into [`Self::LEN`] bytes.
    pub fn encode(self, into: &mut [u8]) {
        into[..8].copy_from_slice(&self.offset.to_le_bytes());
        into[8..Self::LEN].copy_from_slice(&self.len.to_le_bytes());
    }

    /// Reads it. `None` when the payload is too short.
    #[must_use]
    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (offset, rest) = payload.split_first_chunk()?;
        let (len, _) = rest.split_first_chunk()?;
        Some(Self { offset: u64::from_le_bytes(*offset), len: u64::from_le_bytes(*len) })
    }
}

impl FileMark {
    pub(crate) const LEN: usize = 8;

    pub(crate) fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..2].copy_from_slice(&self.slot.to_le_bytes());
        bytes[4..].copy_from_slice(&self.generation.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let [a, b, 0, 0, c, d, e, f] = *<&[u8; Self::LEN]>::try_from(bytes).ok()? else {
            return None;
        };
        let (slot, generation) = (u16::from_le_bytes([a, b]), u32::from_le_bytes([c, d, e, f]));
        Some(Self { slot, generation })
    }
}
