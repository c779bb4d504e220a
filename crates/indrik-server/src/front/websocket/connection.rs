//! One connection's protocol state, without input or output of its own.
//!
//! Bytes from the peer go in by [`Connection::feed`] and come out as events of
//! [`Connection::poll_event`], one at a time, so that nothing more is decoded than is asked for.
//! Messages go in by [`Connection::send`] and come out as bytes of [`Connection::output`], filled
//! piece by piece by [`Connection::fill_output`].
//!
//! What was fed and is not decoded yet is at most what was fed last and the start of a frame, if more is
//! fed only when [`Connection::poll_event`] has said that it needs more.
//!
//! Pings are answered by the engine. A Close from the peer and a broken rule are *not*: they are
//! events, after which what the application still has to say can be sent, until
//! [`Connection::answer_close`] ends it. So the answers to everything that came before the end
//! reach the peer although the application works in another process.

use bytes::{Buf, Bytes, BytesMut};

use super::close::{self, CloseFrame};
use super::deflate::{Deflater, Inflater};
use super::frame::{self, Header, OpCode};
use super::message::{Assembler, Message};
use super::negotiation::Deflate;
use super::outgoing::{IDLE_BUFFER_BYTES, Outgoing};
pub use super::outgoing::{OUTPUT_TARGET_BYTES, Part};
pub use super::violation::Violation;

/// Bytes of a compressed message that are inflated at once: at most a thousand times as many come out, and are
/// charged before more do.
const INFLATE_STEP_BYTES: usize = 1024;
/// By so many bytes a message grows in a step before it is asked whether there is room for more.
const GROWN_BYTES: usize = 64 * 1024;

/// What the peer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A whole message.
    Message(Message),
    /// The message under way has become much larger while it was inflated, and goes on.
    Grown,
    /// A Ping; the Pong is already on its way.
    Ping(Bytes),
    /// A Pong, asked for or not.
    Pong(Bytes),
    /// A frame of so many bytes that ends no message, or one that is not looked at any more: each is told, so that
    /// whoever asks can do something else after some of them.
    Part(u64),
    /// The peer's Close frame. If it came first, [`Connection::answer_close`] is owed.
    Close(CloseFrame),
    /// The peer broke a rule. Nothing more is read; [`Connection::answer_close`] is owed.
    Violation(Violation),
}

/// Sending after the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// How far the closing handshake is (RFC 6455 section 7).
#[derive(Clone, Debug, PartialEq, Eq)]
enum ClosingHandshake {
    /// It has not begun.
    Open,
    /// The peer ended it, by a Close frame or a violation; this answer is owed.
    Ending(CloseFrame),
    /// Our Close frame is queued; the peer's has not come.
    CloseSent,
    /// Nothing more is read or queued; output may be left.
    Done,
}

#[derive(Debug)]
struct CurrentFrame {
    header: Header,
    /// Payload bytes already taken.
    taken: u64,
}

/// The server's end of one WebSocket connection.
#[derive(Debug)]
pub struct Connection {
    closing: ClosingHandshake,
    input: BytesMut,
    frame: Option<CurrentFrame>,
    assembler: Assembler,
    outgoing: Outgoing,
}

impl Connection {
    /// A connection whose handshake is done.
    ///
    /// `message_size_max`: bytes of a received message, inflated; 0 means no limit. `deflate`: what
    /// was negotiated.
    pub fn new(message_size_max: usize, deflate: Option<Deflate>) -> Self {
        let size_max = if message_size_max == 0 { usize::MAX } else { message_size_max };
        let inflater = deflate
            .as_ref()
            .map(|d| Inflater::new(d.client_max_window_bits, d.client_no_context_takeover));
        let deflater = deflate.map(|d| {
            let deflater = Deflater::new(d.server_max_window_bits, d.server_no_context_takeover);
            (deflater, d.compress_size_min)
        });
        Self {
            closing: ClosingHandshake::Open,
            input: BytesMut::new(),
            frame: None,
            assembler: Assembler::new(size_max, inflater),
            outgoing: Outgoing::new(deflater),
        }
    }

    // --- from the peer ---

    /// Takes bytes from the socket. They are kept until [`Self::poll_event`] has used them.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.is_reading() {
            self.input.extend_from_slice(bytes);
        }
    }

    /// Whether bytes from the peer still mean anything.
    pub fn is_reading(&self) -> bool {
        matches!(self.closing, ClosingHandshake::Open | ClosingHandshake::CloseSent)
    }

    /// Bytes of the frame under way that have not come.
    pub fn frame_left(&self) -> usize {
        let left = self.frame.as_ref().map_or(0, |frame| frame.header.payload_len - frame.taken);
        usize::try_from(left).unwrap_or(usize::MAX)
    }

    /// The next thing the fed bytes say; `None` when more bytes are needed, or nothing more is read.
    pub fn poll_event(&mut self) -> Option<Event> {
        while self.is_reading() {
            match self.step() {
                Ok(Step::Event(event)) => return Some(event),
                Ok(Step::Again) => {}
                Ok(Step::NeedInput) => {
                    if self.input.is_empty() && self.input.capacity() > IDLE_BUFFER_BYTES {
                        self.input = BytesMut::new();
                    }
                    return None;
                }
                Err(violation) => {
                    self.stop_reading();
                    self.closing = match self.closing {
                        ClosingHandshake::CloseSent => ClosingHandshake::Done,
                        _ => ClosingHandshake::Ending(CloseFrame::new(
                            violation.code,
                            &*violation.reason,
                        )),
                    };
                    return Some(Event::Violation(violation));
                }
            }
        }
        None
    }

    fn step(&mut self) -> Result<Step, Violation> {
        let Some(frame) = &mut self.frame else { return self.begin_frame() };
        let left = frame.header.payload_len - frame.taken;
        if frame.header.opcode.is_control() {
            // At most 125 bytes: the cast loses nothing.
            let len = left as usize;
            if self.input.len() < len {
                return Ok(Step::NeedInput);
            }
            let mut payload = self.input.split_to(len);
            frame::unmask(&mut payload, frame.header.mask, 0);
            let opcode = frame.header.opcode;
            self.frame = None;
            return self.take_control(opcode, payload.freeze());
        }
        let most = if self.assembler.is_inflating() { INFLATE_STEP_BYTES } else { usize::MAX };
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.input.len()).min(most);
        if len == 0 && left > 0 {
            return Ok(Step::NeedInput);
        }
        let before = self.assembler.memory();
        let payload = &mut self.input[..len];
        if self.closing == ClosingHandshake::Open {
            frame::unmask(payload, frame.header.mask, frame.taken);
            self.assembler.push(payload)?;
        }
        self.input.advance(len);
        frame.taken += len as u64;
        let has_grown = self.assembler.memory().saturating_sub(before) >= GROWN_BYTES;
        if frame.taken < frame.header.payload_len {
            let is_told = self.assembler.is_inflating() && has_grown;
            return Ok(if is_told { Step::Event(Event::Grown) } else { Step::Again });
        }
        let (fin, bytes) = (frame.header.fin, frame.header.payload_len);
        self.frame = None;
        // After our Close frame the peer's messages are skipped, not even inflated.
        if fin && self.closing == ClosingHandshake::Open {
            return Ok(Step::Event(Event::Message(self.assembler.finish()?)));
        }
        Ok(Step::Event(Event::Part(bytes)))
    }

    fn begin_frame(&mut self) -> Result<Step, Violation> {
        let Some((header, len)) = Header::decode(&self.input)? else { return Ok(Step::NeedInput) };
        let starts = matches!(header.opcode, OpCode::Text | OpCode::Binary);
        if header.rsv1 && !starts {
            return Err(Violation::protocol("a frame with reserved bits set"));
        }
        if self.closing == ClosingHandshake::Open && !header.opcode.is_control() {
            if starts {
                self.assembler.begin(header.opcode == OpCode::Text, header.rsv1)?;
            }
            self.assembler.begin_frame(header.payload_len)?;
        }
        self.input.advance(len);
        self.frame = Some(CurrentFrame { header, taken: 0 });
        Ok(Step::Again)
    }

    fn take_control(&mut self, opcode: OpCode, payload: Bytes) -> Result<Step, Violation> {
        match opcode {
            OpCode::Close => {
                let close = CloseFrame::decode(&payload)?;
                self.stop_reading();
                self.closing = match self.closing {
                    ClosingHandshake::CloseSent => ClosingHandshake::Done,
                    _ => ClosingHandshake::Ending(CloseFrame::new(close.code, "")),
                };
                Ok(Step::Event(Event::Close(close)))
            }
            OpCode::Ping => {
                if self.closing == ClosingHandshake::Open {
                    self.outgoing.pong(&payload);
                }
                Ok(Step::Event(Event::Ping(payload)))
            }
            _ => Ok(Step::Event(Event::Pong(payload))),
        }
    }

    fn stop_reading(&mut self) {
        self.input = BytesMut::new();
        self.frame = None;
        self.assembler.discard();
    }

    // --- to the peer ---

    /// Queues a message, or a part of one. Ask [`Self::is_sending`] first to have at most one in memory.
    ///
    /// # Errors
    /// [`Closed`] after [`Self::close`] or [`Self::answer_close`].
    pub fn send(&mut self, part: impl Into<Part>) -> Result<(), Closed> {
        if !matches!(self.closing, ClosingHandshake::Open | ClosingHandshake::Ending(_)) {
            return Err(Closed);
        }
        self.outgoing.push(part.into());
        Ok(())
    }

    /// Sends a Ping with up to 125 bytes of payload (more are cut off), if the connection is open.
    pub fn ping(&mut self, payload: &[u8]) {
        if self.closing == ClosingHandshake::Open {
            let len = payload.len().min(frame::CONTROL_PAYLOAD_MAX);
            self.outgoing.ping(&payload[..len]);
        }
    }

    /// Ends the connection from our side, behind the messages already queued; the peer's Close is
    /// awaited. When the peer has ended it already, this is [`Self::answer_close`].
    ///
    /// A code that must not be sent is replaced by 1011.
    pub fn close(&mut self, close: CloseFrame) {
        match self.closing {
            ClosingHandshake::Open => {
                let known = close::is_sendable(close.code) || close.code == close::NO_STATUS;
                let code = if known { close.code } else { close::INTERNAL_ERROR };
                self.outgoing.push_close(CloseFrame { code, ..close });
                self.assembler.discard();
                self.closing = ClosingHandshake::CloseSent;
            }
            ClosingHandshake::Ending(_) => self.answer_close(),
            ClosingHandshake::CloseSent | ClosingHandshake::Done => {}
        }
    }

    /// Answers the peer's Close frame with its own code, or a violation with that one's.
    pub fn answer_close(&mut self) {
        if let ClosingHandshake::Ending(answer) = &self.closing {
            self.outgoing.push_close(answer.clone());
            self.closing = ClosingHandshake::Done;
        }
    }

    /// Whether the closing handshake is over, or was given up; only [`Self::output`] may be left.
    pub fn is_done(&self) -> bool {
        self.closing == ClosingHandshake::Done
    }

    /// Whether a part of a message or a Close frame is not yet wholly turned into output.
    pub fn is_sending(&self) -> bool {
        self.outgoing.is_sending()
    }

    /// Bytes made that wait for the socket.
    pub fn output_len(&self) -> usize {
        self.outgoing.output_len()
    }

    /// Bytes of what was sent that the socket has not taken, frames' headers included.
    pub fn unsent(&self) -> usize {
        self.outgoing.unsent()
    }

    /// What the connection takes of memory, bytes.
    pub fn memory(&self) -> usize {
        self.input.capacity() + self.assembler.memory() + self.outgoing.memory()
    }

    /// Turns what is queued into bytes until [`OUTPUT_TARGET_BYTES`] wait (a little more may).
    pub fn fill_output(&mut self) {
        self.outgoing.fill();
    }

    /// The bytes to write to the socket.
    pub fn output(&self) -> &[u8] {
        self.outgoing.output()
    }

    /// The socket took the first `len` bytes of [`Self::output`].
    pub fn advance_output(&mut self, len: usize) {
        self.outgoing.advance(len);
    }

    /// Gives back the compressor's memory; it is taken again with the next message. For a
    /// connection that has been quiet for a while.
    pub fn release_memory(&mut self) {
        self.outgoing.release_memory();
    }
}

enum Step {
    Event(Event),
    Again,
    NeedInput,
}

#[cfg(test)]
mod tests;
