//! A client's socket as the HTTP/2 library reads and writes it.
//!
//! The heads of all frames are seen in passing, above TLS. What comes counts against the connection's
//! allowance; when that is used up, nothing more is read, and the driver ends the connection. Fields that no
//! message may have are mended so that they end their stream and not the connection. A connection that ends is read for a moment longer, so that the client gets the last word.

use std::io;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use indrik_core::http2::{Allowance, Blocks, Flood, FrameKind, FrameReader, Passed};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::super::close::{LINGER, LINGER_BYTES_MAX};
use super::super::io::ClientIo;
use super::super::join::{JOIN_BYTES_MAX, joined};
use super::super::reaper::{Phase, Watch};
use super::super::stream::{Discard, give_of};
use super::streams::Streams;
use crate::front::clock;

/// What the socket tells the driver.
#[derive(Debug, Default)]
pub(super) struct Notes {
    flood: Mutex<Option<Flood>>,
    /// The driver wants to know whether bytes lie unread.
    is_asked: AtomicBool,
    /// They do.
    has_unread: AtomicBool,
    /// Requests that the library has answered by itself, and the driver has not heard of.
    refused: AtomicU32,
}

impl Notes {
    /// What the client has sent too many of, if anything: nothing more is read from it.
    pub(super) fn flood(&self) -> Option<Flood> {
        *self.flood.lock()
    }

    /// How many requests the library has answered by itself since this was asked: their heads were too large.
    pub(super) fn take_refused(&self) -> u32 {
        match self.refused.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.refused.swap(0, Ordering::Relaxed),
        }
    }

    /// Whoever reads the socket next, and is told that there is nothing, asks the kernel as well.
    pub(super) fn ask_for_unread(&self) {
        self.has_unread.store(false, Ordering::Relaxed);
        self.is_asked.store(true, Ordering::Relaxed);
    }

    /// What it found.
    pub(super) fn has_unread(&self) -> bool {
        self.has_unread.load(Ordering::Relaxed)
    }

    fn note_unread(&self, io: &ClientIo) {
        if self.is_asked.load(Ordering::Relaxed) {
            self.is_asked.store(false, Ordering::Relaxed);
            self.has_unread.store(io.has_unread(), Ordering::Relaxed);
        }
    }
}

/// A client's socket.
pub(super) struct FrameIo {
    io: ClientIo,
    watch: Arc<Watch>,
    notes: Arc<Notes>,
    streams: Arc<Streams>,
    allowance: Allowance,
    received: FrameReader,
    blocks: Blocks,
    /// What comes next of what was read.
    ready: Bytes,
    sent: FrameReader,
    is_flooded: bool,
    /// The client has closed its direction.
    at_end: bool,
    lingering: Option<Lingering>,
}

/// After our direction is closed: for how long the client is still read, and how much of it.
struct Lingering {
    until: Pin<Box<Sleep>>,
    discard: Discard,
}

impl FrameIo {
    pub(super) fn new(
        io: ClientIo,
        watch: &Arc<Watch>,
        (notes, streams): (&Arc<Notes>, &Arc<Streams>),
        fields_max: usize,
    ) -> Self {
        Self {
            io,
            watch: Arc::clone(watch),
            notes: Arc::clone(notes),
            streams: Arc::clone(streams),
            allowance: Allowance::new(clock::coarse()),
            received: FrameReader::of_client(),
            blocks: Blocks::new(fields_max),
            ready: Bytes::new(),
            sent: FrameReader::of_server(),
            is_flooded: false,
            at_end: false,
            lingering: None,
        }
    }

    /// Looks at what has come. Returns how much of it the connection may have.
    fn look_at_received(&mut self, bytes: &[u8]) -> usize {
        let (allowance, now) = (&mut self.allowance, clock::coarse());
        let held = self.streams.held();
        let mut flood = None;
        let passed = self.received.read(bytes, |head| match allowance.received(&head, now) {
            Ok(()) => {
                match head.kind {
                    FrameKind::Data => held.receives(head.stream, head.body_len()),
                    FrameKind::Headers | FrameKind::Continuation => {}
                    FrameKind::Reset => {
                        held.is_reset(head.stream);
                        held.answers();
                    }
                    FrameKind::Priority
                    | FrameKind::Settings
                    | FrameKind::PushPromise
                    | FrameKind::Ping
                    | FrameKind::GoAway
                    | FrameKind::WindowUpdate
                    | FrameKind::Unknown => held.answers(),
                }
                ControlFlow::Continue(())
            }
            Err(found) => {
                flood = Some(found);
                ControlFlow::Break(())
            }
        });
        if flood.is_some() {
            self.is_flooded = true;
            *self.notes.flood.lock() = flood;
        }
        self.note_phase();
        passed
    }

    /// A request's head that has begun must end in time, as in HTTP/1.1, unless others are under way: then the
    /// client holds up its own.
    fn note_phase(&self) {
        if self.watch.is_in_flight() {
            return;
        }
        let is_in_head = self.received.is_before_frames() || self.received.is_in_block();
        match self.watch.phase() {
            Phase::Idle if is_in_head => self.watch.set(Phase::Head),
            Phase::Head if !is_in_head => self.watch.set(Phase::Idle),
            Phase::Idle | Phase::Head | Phase::Busy | Phase::Writing => {}
            Phase::Parked | Phase::Handshake => {}
        }
    }

    /// Looks at what the socket has taken.
    fn look_at_sent(&mut self, bytes: &[u8]) {
        let (allowance, streams, notes) = (&mut self.allowance, &self.streams, &self.notes);
        self.sent.read(bytes, |head| {
            allowance.sent(&head);
            match head.kind {
                FrameKind::Data => streams.held().writes(head.stream, head.body_len()),
                FrameKind::Reset => streams.held().is_reset(head.stream),
                _ => {}
            }
            // An answer without a body: one of ours, or trailers, or the library's own.
            let is_head = head.kind == FrameKind::Headers && head.ends_stream();
            if is_head && !streams.begun().has(head.stream) {
                notes.refused.fetch_add(1, Ordering::Relaxed);
            }
            ControlFlow::Continue(())
        });
    }
}

impl AsyncRead for FrameIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = into.filled().len();
        loop {
            if !this.ready.is_empty() {
                give_of(&mut this.ready, into);
                return Poll::Ready(Ok(()));
            }
            if this.is_flooded {
                // The driver sees it when it is told that there is nothing.
                return Poll::Pending;
            }
            let read = Pin::new(&mut this.io).poll_read(cx, into);
            if read.is_pending() {
                this.notes.note_unread(&this.io);
            }
            ready!(read)?;
            this.at_end = into.filled().len() == before;
            let passed = this.look_at_received(&into.filled()[before..]);
            into.set_filled(before + passed);
            if let Passed::Others(bytes) = this.blocks.pass(&into.filled()[before..]) {
                into.set_filled(before);
                this.ready = bytes.into();
                this.streams.held().hold_block(this.blocks.held());
            }
            // Nothing would be taken for the end.
            if this.at_end || into.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for FrameIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.io.note_write(&result);
        if let Poll::Ready(Ok(len)) = result {
            self.look_at_sent(&bytes[..len]);
        }
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = [0; JOIN_BYTES_MAX];
        if let Some(joined) = joined(parts, &mut buffer) {
            return self.poll_write(cx, joined);
        }
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, parts);
        self.io.note_write(&result);
        if let Poll::Ready(Ok(mut len)) = result {
            for part in parts {
                let taken = len.min(part.len());
                self.look_at_sent(&part[..taken]);
                len -= taken;
            }
        }
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Closes our direction, and reads a little of what the client still sends: closing with unread bytes would
    /// reset the connection and could destroy the last word on its way.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.lingering.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        let lingering = this.lingering.get_or_insert_with(|| Lingering {
            until: Box::pin(sleep(LINGER)),
            discard: Discard::new(LINGER_BYTES_MAX),
        });
        if !this.at_end && lingering.until.as_mut().poll(cx).is_pending() {
            ready!(lingering.discard.poll(&mut this.io, cx));
        }
        Poll::Ready(Ok(()))
    }
}
