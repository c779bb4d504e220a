//! What a descriptor says: its kind, its flags, whom it concerns and where its payload lies.

use crate::sync::{AtomicU64, Ordering};

/// What a descriptor means. The request direction uses 1–15, the response direction 16–31.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A new request: a [`RequestHead`](crate::RequestHead), then perhaps the whole body.
    /// `aux` is the length of the head in bytes.
    Request = 1,
    /// A piece of the request body.
    RequestBody = 2,
    /// A whole or partial WebSocket message from the client.
    WebSocketReceive = 3,
    /// The WebSocket is closed; `aux` is the close code, the payload the reason.
    WebSocketClosed = 4,
    /// The client is gone; `aux` is [`STOP_OVERTIME`](crate::STOP_OVERTIME): the request ran too long and
    /// shall stop.
    Disconnect = 5,
    /// There is response credit again for a side that waits with [`CreditWait::Descriptor`](crate::CreditWait).
    Credit = 6,

    /// A response: a [`ResponseHead`](crate::ResponseHead), then perhaps (part of) the body.
    /// `aux` is the length of the head in bytes.
    Response = 16,
    /// A piece of the response body.
    ResponseBody = 17,
    /// The trailers; they end the body.
    Trailers = 18,
    /// Send a file, handed over with this descriptor. Payload: a [`FilePart`](crate::FilePart).
    File = 19,
    /// An interim response (103): a [`ResponseHead`](crate::ResponseHead).
    Informational = 21,
    /// The application accepts the WebSocket: a [`ResponseHead`](crate::ResponseHead) whose reason is the subprotocol.
    WebSocketAccept = 22,
    /// A whole or partial WebSocket message from the application.
    WebSocketSend = 23,
    /// The application closes the WebSocket; `aux` is the close code, the payload the reason.
    WebSocketClose = 24,
    /// The application has returned; nothing more will come for this request.
    Done = 25,
    /// The application failed; `aux` is a [`Failure`](crate::Failure), the payload the message for the log.
    Failed = 26,
    /// The application wants the request body now (`100 Continue` may be sent).
    BodyWanted = 27,
    /// The application took some of the request body and the front asked to be told.
    RequestCredit = 28,
}

/// Which way a ring goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Front to worker.
    Requests,
    /// Worker to front.
    Responses,
}

impl Kind {
    /// In which direction descriptors of this kind go.
    pub(crate) const fn direction(self) -> Direction {
        if (self as u8) < 16 { Direction::Requests } else { Direction::Responses }
    }

    fn from_u8(value: u8) -> Option<Self> {
        Some(match value {
            1 => Self::Request,
            2 => Self::RequestBody,
            3 => Self::WebSocketReceive,
            4 => Self::WebSocketClosed,
            5 => Self::Disconnect,
            6 => Self::Credit,
            16 => Self::Response,
            17 => Self::ResponseBody,
            18 => Self::Trailers,
            19 => Self::File,
            21 => Self::Informational,
            22 => Self::WebSocketAccept,
            23 => Self::WebSocketSend,
            24 => Self::WebSocketClose,
            25 => Self::Done,
            26 => Self::Failed,
            27 => Self::BodyWanted,
            28 => Self::RequestCredit,
            _ => return None,
        })
    }
}

/// Flags of a descriptor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// The last piece of this body, or of this message.
    pub const END: Self = Self(1);
    /// The application has returned: the slot is free.
    pub const DONE: Self = Self(2);
    /// The request's body follows in [`Kind::RequestBody`] descriptors.
    pub const BODY_STREAM: Self = Self(4);
    /// The request's body is a file, handed over with this descriptor.
    pub const BODY_FILE: Self = Self(8);
    /// On a response: its body is a [`Kind::File`], which follows at once.
    pub const FILE: Self = Self(8);
    /// The request asks for a WebSocket.
    pub const WEBSOCKET: Self = Self(16);
    /// The message is text, not binary.
    pub const TEXT: Self = Self(32);
    /// On a response: it will have trailers after its body.
    pub const TRAILERS: Self = Self(64);
    /// On a request: the front reads the body only after [`Kind::BodyWanted`] (the client sent
    /// `Expect: 100-continue`).
    pub const BODY_WAITS: Self = Self(64);
    /// The connection must be closed after this response.
    pub const CLOSE: Self = Self(128);
    /// On a request: its body lies in the [`BodyArea`](crate::BodyArea); a [`BodyPlace`](crate::BodyPlace) is
    /// behind the head.
    pub const BODY_PLACED: Self = Self(256);

    /// Whether all flags of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets of flags.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One descriptor, copied out of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// What it means.
    pub kind: Kind,
    /// Its flags.
    pub flags: Flags,
    /// The slot of the request it concerns.
    pub slot: u16,
    /// The use of that slot it concerns; stale ones are dropped.
    pub generation: u32,
    /// A number whose meaning depends on the kind.
    pub aux: u64,
    /// Where [`Self::is_timed`]: how long the application has had the request so far, its waits for the client
    /// taken off, microseconds; 0: it was not measured, [`TIME_TOO_LONG`](crate::TIME_TOO_LONG): longer than that.
    pub time_us: u32,
    /// Which route the application chose, as worker and front number them; 0: not known.
    pub route: u16,
    /// Where the payload lies in the direction's area, bytes.
    pub(crate) offset: u32,
    /// The payload's length, bytes.
    pub len: u32,
}

impl Descriptor {
    /// A descriptor without a payload yet; the sender fills in where it lies.
    #[must_use]
    pub const fn new(kind: Kind, flags: Flags, slot: u16, generation: u32, aux: u64) -> Self {
        Self { kind, flags, slot, generation, aux, time_us: 0, route: 0, offset: 0, len: 0 }
    }

    pub(crate) fn store(&self, cell: &Cell) {
        let first = u64::from(self.kind as u8)
            | u64::from(self.slot) << 16
            | u64::from(self.generation) << 32;
        cell.0[0].store(first, Ordering::Relaxed);
        cell.0[1].store(self.aux, Ordering::Relaxed);
        let place = u64::from(self.offset) | u64::from(self.len) << 32;
        cell.0[2].store(place, Ordering::Relaxed);
        let last =
            u64::from(self.flags.0) | u64::from(self.route) << 16 | u64::from(self.time_us) << 32;
        cell.0[3].store(last, Ordering::Relaxed);
    }

    /// Copies a descriptor out. `None` when its kind is unknown.
    pub(crate) fn load(cell: &Cell) -> Option<Self> {
        let first = cell.0[0].load(Ordering::Relaxed);
        let aux = cell.0[1].load(Ordering::Relaxed);
        let place = cell.0[2].load(Ordering::Relaxed);
        let last = cell.0[3].load(Ordering::Relaxed);
        Some(Self {
            kind: Kind::from_u8(first as u8)?,
            flags: Flags(last as u16),
            slot: (first >> 16) as u16,
            generation: (first >> 32) as u32,
            aux,
            time_us: (last >> 32) as u32,
            route: (last >> 16) as u16,
            offset: place as u32,
            len: (place >> 32) as u32,
        })
    }
}

/// A descriptor as it lies in shared memory: kind (8 bits, then 8 that are kept free), slot, generation;
/// `aux`; the payload's place; flags, route, time.
#[repr(C)]
pub(crate) struct Cell(pub(crate) [AtomicU64; 4]);
