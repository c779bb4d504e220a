//! What can happen to a request after it was submitted, and the file that some of it may come by.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use indrik_core::time::Micros;
use indrik_ring::Flags;

use super::part::Part;
use crate::front::descriptors::CountedFile;
use crate::front::refusal::Refusal;

/// What an event costs beside its payload.
const EVENT_BYTES: usize = 64;

/// What can happen to a request after it was submitted.
#[derive(Debug)]
pub(crate) enum Event {
    /// The response's head, and the first part of its body.
    Response { payload: Bytes, head_len: usize, flags: Flags },
    /// An interim response.
    Informational { payload: Bytes },
    /// More of the body.
    Body { part: Part, end: bool },
    /// The rest of the body is this part of a file.
    /// `None`: there was no place for it among the descriptors.
    File { file: Option<CountedFile>, offset: u64, len: u64 },
    /// The trailers; they end the body.
    Trailers { payload: Bytes },
    /// The application accepts the WebSocket.
    WebSocketAccept { payload: Bytes },
    /// A piece of a WebSocket message.
    WebSocketSend { bytes: Bytes, text: bool, end: bool },
    /// The application closes the WebSocket.
    WebSocketClose { code: u16, reason: Bytes },
    /// The application failed.
    Failed {
        /// What the log should say that the worker has not said.
        message: Bytes,
        /// The response is shorter than its Content-Length.
        short: bool,
    },
    /// The application wants the request's body.
    BodyWanted,
    /// The application has returned.
    Done,
    /// The worker is gone.
    WorkerLost {
        /// Whether the application had the request.
        started: bool,
    },
    /// The request's body broke off, or is too large.
    UploadBroken(Refusal),
    /// The time in the queue is over.
    QueueTimeout {
        /// There was some worker at some time meanwhile.
        had_worker: bool,
    },
    /// It was made ready for the other interface, and a reload came between.
    InterfaceChanged,
    /// No worker's channel takes it.
    TooLarge,
    /// The request ran longer than it may.
    TimedOut {
        /// Its limit, or how long it had run when its worker was found to stand still.
        after: Micros,
    },
    /// The worker is to go: a WebSocket is ended for its client to come back to another one.
    Leaving,
    /// The rest of the response comes by way of a file.
    Spooled(Arc<dyn Spool>),
}

impl Event {
    /// What it costs to keep.
    pub(super) fn bytes(&self) -> usize {
        let payload = match self {
            Self::Response { payload, .. }
            | Self::Informational { payload }
            | Self::Trailers { payload }
            | Self::WebSocketAccept { payload } => payload.len(),
            Self::Body { part, .. } => part.len(),
            Self::WebSocketSend { bytes, .. } => bytes.len(),
            Self::WebSocketClose { reason, .. } => reason.len(),
            Self::Failed { message, .. } => message.len(),
            Self::File { .. }
            | Self::BodyWanted
            | Self::Done
            | Self::WorkerLost { .. }
            | Self::UploadBroken(_)
            | Self::QueueTimeout { .. }
            | Self::InterfaceChanged
            | Self::TooLarge
            | Self::TimedOut { .. }
            | Self::Leaving
            | Self::Spooled(_) => 0,
        };
        EVENT_BYTES + payload
    }

    /// Takes what of it lies in the worker's channel out of it.
    pub(super) fn copy_out(&mut self) {
        if let Self::Body { part, .. } = self {
            part.copy_out();
        }
    }

    /// Whether it brings bytes of the response's body.
    pub(super) fn brings_bytes(&self) -> bool {
        matches!(self, Self::Body { part, .. } if part.len() > 0)
    }

    /// Whether nothing of interest can follow.
    pub(crate) const fn ends_response(&self) -> bool {
        match self {
            Self::Response { flags, .. } => flags.has(Flags::END),
            Self::Body { end, .. } => *end,
            _ => false,
        }
    }
}

/// A file that a response goes into when its worker would have to wait for the client.
pub(crate) trait Spool: Debug + Send + Sync {
    /// The response is over, for whatever reason.
    fn close(&self);

    /// What reads the response back from it.
    fn reader(self: Arc<Self>) -> Box<dyn SpoolReader>;
}

/// What a response has in its file, as its body reads it.
pub(crate) trait SpoolReader: Send {
    /// The next bytes of the file, about `most` of them, or what comes behind them. Without room (`most` is 0) no
    /// bytes are read.
    fn poll_next(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<io::Result<Next>>;
}

/// What comes next of a response.
pub(crate) enum Next {
    Bytes(Bytes),
    Event(Event),
    /// Bytes, for which there is no room.
    NeedsRoom,
}
