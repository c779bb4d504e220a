//! The way to the peer: parts of messages and control frames become bytes, piece by piece.
//!
//! A message that the application gives in parts goes out in as many frames: nothing here waits for its end.
//! So what lies here is bounded whatever the application sends, by [`OUTPUT_TARGET_BYTES`] and one part.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use super::close::CloseFrame;
use super::deflate::Deflater;
use super::frame::{self, OpCode};
use super::message::Message;

/// [`Outgoing::fill`] stops making bytes once this many wait for the socket.
pub const OUTPUT_TARGET_BYTES: usize = 64 * 1024;

/// A message is compressed in pieces of this size, one frame each, so that a large one neither
/// holds the I/O thread nor lies in memory a second time.
const COMPRESS_PIECE_BYTES: usize = 64 * 1024;

/// Pings and Pongs that may wait for the next gap between frames. Beyond that only the last Ping is
/// answered (RFC 6455 section 5.5.2 allows it), and none is sent.
const CONTROL_BYTES_MAX: usize = 4096;

/// An idle connection's buffers above this size are given back.
pub(super) const IDLE_BUFFER_BYTES: usize = 4096;

/// A part of a message to the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Of a text; all parts of a message say the same.
    pub text: bool,
    /// The bytes.
    pub payload: Bytes,
    /// It is the last one.
    pub end: bool,
}

impl From<Message> for Part {
    fn from(message: Message) -> Self {
        match message {
            Message::Text(payload) => Self { text: true, payload, end: true },
            Message::Binary(payload) => Self { text: false, payload, end: true },
        }
    }
}

#[derive(Debug)]
enum Item {
    Part(Part),
    Close(CloseFrame),
}

/// The message whose parts are on their way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    compressed: bool,
    /// What the next frame of it is.
    opcode: OpCode,
    /// The header of the part in front is out; only its payload may follow.
    in_frame: bool,
}

/// What waits to be sent.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    /// Bytes for the socket.
    output: BytesMut,
    /// Pings and Pongs waiting for the next gap between frames.
    control: BytesMut,
    /// The answer to the last Ping, where there was no room for it.
    last_pong: Option<Bytes>,
    queue: VecDeque<Item>,
    message: Option<UnderWay>,
    /// And from which size on it is used.
    deflater: Option<(Deflater, usize)>,
}

impl Outgoing {
    pub(super) fn new(deflater: Option<(Deflater, usize)>) -> Self {
        Self { deflater, ..Self::default() }
    }

    pub(super) fn push(&mut self, part: Part) {
        self.queue.push_back(Item::Part(part));
    }

    /// Nothing follows it.
    pub(super) fn push_close(&mut self, close: CloseFrame) {
        self.queue.push_back(Item::Close(close));
    }

    /// At most 125 bytes of payload.
    pub(super) fn ping(&mut self, payload: &[u8]) {
        if self.has_room_for(payload) {
            self.push_control(OpCode::Ping, payload);
        }
    }

    /// Answers a Ping, before long.
    pub(super) fn pong(&mut self, payload: &Bytes) {
        if self.last_pong.is_none() && self.has_room_for(payload) {
            self.push_control(OpCode::Pong, payload);
        } else {
            // A copy: it must not keep all that was read with it.
            self.last_pong = Some(Bytes::copy_from_slice(payload));
        }
    }

    fn has_room_for(&self, payload: &[u8]) -> bool {
        self.control.len() + payload.len() < CONTROL_BYTES_MAX
    }

    fn push_control(&mut self, opcode: OpCode, payload: &[u8]) {
        frame::encode_header(&mut self.control, true, false, opcode, payload.len());
        self.control.extend_from_slice(payload);
    }

    /// Whether a part or a Close frame is not yet wholly turned into output.
    pub(super) fn is_sending(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Bytes made that wait for the socket.
    pub(super) fn output_len(&self) -> usize {
        self.output.len() + self.control.len()
    }

    /// Bytes that wait for the socket or to be made bytes for it.
    pub(super) fn unsent(&self) -> usize {
        let parts = self.queue.iter().map(|item| match item {
            Item::Part(part) => part.payload.len(),
            Item::Close(_) => 0,
        });
        self.output_len() + parts.sum::<usize>()
    }

    /// What it takes of memory, bytes.
    pub(super) fn memory(&self) -> usize {
        let deflater = self.deflater.as_ref().map_or(0, |(deflater, _)| deflater.memory());
        self.unsent() - self.output.len() + self.output.capacity() + deflater
    }

    /// Turns what is queued into bytes until [`OUTPUT_TARGET_BYTES`] wait (a little more may).
    pub(super) fn fill(&mut self) {
        while self.output.len() < OUTPUT_TARGET_BYTES {
            if !self.message.is_some_and(|message| message.in_frame) {
                self.output.extend_from_slice(&self.control);
                self.control.clear();
                if let Some(payload) = self.last_pong.take() {
                    frame::encode_header(
                        &mut self.output,
                        true,
                        false,
                        OpCode::Pong,
                        payload.len(),
                    );
                    self.output.extend_from_slice(&payload);
                }
            }
            if !self.fill_from_queue() {
                break;
            }
        }
    }

    /// Makes one piece of output; `false` when nothing is queued.
    fn fill_from_queue(&mut self) -> bool {
        match self.queue.front() {
            None => return false,
            Some(Item::Close(close)) => {
                let payload = close.encode();
                frame::encode_header(&mut self.output, true, false, OpCode::Close, payload.len());
                self.output.extend_from_slice(&payload);
                // Nothing follows a Close frame.
                self.queue.clear();
                self.control.clear();
                return false;
            }
            Some(Item::Part(_)) => {}
        }
        let Some(Item::Part(mut part)) = self.queue.pop_front() else { return false };
        let mut message = self.message.take().unwrap_or_else(|| self.begin(&part));
        let is_over = if message.compressed {
            self.compress(&mut part, &mut message)
        } else {
            self.copy(&mut part, &mut message)
        };
        let end = part.end;
        if !is_over {
            self.queue.push_front(Item::Part(part));
        }
        self.message = (!is_over || !end).then_some(message);
        true
    }

    fn begin(&self, first: &Part) -> UnderWay {
        let is_large = |size_min: usize| !first.end || first.payload.len() >= size_min;
        let compressed = self.deflater.as_ref().is_some_and(|(_, size_min)| is_large(*size_min));
        let opcode = if first.text { OpCode::Text } else { OpCode::Binary };
        UnderWay { compressed, opcode, in_frame: false }
    }

    /// Some of a part, one frame of its own; whether that was all.
    fn copy(&mut self, part: &mut Part, message: &mut UnderWay) -> bool {
        if !message.in_frame && (part.end || !part.payload.is_empty()) {
            let (opcode, len) = (message.opcode, part.payload.len());
            frame::encode_header(&mut self.output, part.end, false, opcode, len);
            message.opcode = OpCode::Continuation;
        }
        let room = OUTPUT_TARGET_BYTES.saturating_sub(self.output.len()).max(1);
        let piece = part.payload.split_to(part.payload.len().min(room));
        self.output.extend_from_slice(&piece);
        message.in_frame = !part.payload.is_empty();
        !message.in_frame
    }

    /// A piece of a part, in a frame of its own; whether that was all.
    fn compress(&mut self, part: &mut Part, message: &mut UnderWay) -> bool {
        let piece = part.payload.split_to(part.payload.len().min(COMPRESS_PIECE_BYTES));
        let last = part.end && part.payload.is_empty();
        let mut data = Vec::new();
        if let Some((deflater, _)) = &mut self.deflater {
            deflater.push(&piece, &mut data, last);
        }
        if last || !data.is_empty() {
            let first = message.opcode != OpCode::Continuation;
            frame::encode_header(&mut self.output, last, first, message.opcode, data.len());
            self.output.extend_from_slice(&data);
            message.opcode = OpCode::Continuation;
        }
        part.payload.is_empty()
    }

    /// The bytes to write to the socket.
    pub(super) fn output(&self) -> &[u8] {
        &self.output
    }

    /// The socket took the first `len` bytes of [`Self::output`].
    pub(super) fn advance(&mut self, len: usize) {
        self.output.advance(len);
        if self.output.is_empty() && self.output.capacity() > IDLE_BUFFER_BYTES {
            self.output = BytesMut::new();
        }
    }

    /// Gives back the compressor's memory, unless a message is under way.
    pub(super) fn release_memory(&mut self) {
        if self.queue.is_empty()
            && self.message.is_none()
            && let Some((deflater, _)) = &mut self.deflater
        {
            deflater.release();
        }
    }
}
