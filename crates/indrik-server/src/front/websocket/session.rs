//! The driver: one connection's protocol state between its socket and its application.
//!
//! # The seam
//!
//! [`Application`] is what the front knows of an application's end of the connection. Everything
//! is a poll with the task's waker, as both directions share one task:
//!
//! * **Towards the application**, at most one message waits here. [`Application::poll_ready`] says
//!   that there is room (a credit of the channel's window); then [`Application::deliver`] takes it.
//!   While there is no room the socket is not read, so TCP slows the peer down.
//! * **From the application**, [`Application::poll_command`] is asked for a part of a message only when
//!   the one before has been turned into bytes and fewer than
//!   [`OUTPUT_TARGET_BYTES`](super::connection::OUTPUT_TARGET_BYTES) of them wait for the socket.
//!   [`Application::unsent`] says how much the socket has not taken, so that whoever made it waits.
//! * The socket is read only when everything read before is decoded and given on, whether or not the
//!   peer takes what is sent to it: one that is slow to read is still heard.
//! * **The end** is told exactly once, by [`Application::disconnected`], in order behind the
//!   messages. It needs no room: an application end keeps a place for it.
//!
//! # How a connection ends
//!
//! When the peer ends it, by a Close frame or by breaking a rule, the messages before that were
//! good ones and the application may still be answering them. So the Close frame that answers waits
//! until the application says [`Command::Finished`] (it has taken `disconnected`, or returned), at
//! most [`SessionLimits::answer_timeout`]. When the application ends it, the peer's Close is awaited
//! for [`SessionLimits::close_timeout`]. Then our direction is shut down, and what the peer still
//! sends is read and thrown away, for the same time at most, until it closes its own: closing with
//! unread bytes would reset the connection and could destroy the Close frame on its way.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::close::{self, CloseFrame};
use super::connection::{Connection, Event, OUTPUT_TARGET_BYTES, Part};
use super::message::{Message, TextCheck};
use super::pace::Pace;

/// Bytes read from a socket at once, into a buffer that all connections of a thread share.
const READ_BYTES: usize = 64 * 1024;
/// The same where no large frame is under way: what is read and not decoded yet lies with each connection, and
/// there are many of them.
const READ_SMALL_BYTES: usize = 16 * 1024;

/// Steps a session takes before it lets others run.
const TURN_STEPS_MAX: usize = 16;
/// Commands of the application that are taken in one step.
const COMMANDS_MAX: usize = 64;

/// How long a session waits for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// A Ping is sent when nothing has come for this long.
    pub ping_interval: Duration,
    /// The connection is given up when nothing has come for this long after a Ping.
    pub ping_timeout: Duration,
    /// After our Close frame: for the peer's, and once more for the peer to close its socket.
    pub close_timeout: Duration,
    /// The same where the server leaves, which must not wait for clients that are asleep.
    pub leave_timeout: Duration,
    /// After the peer's end: for what the application still has to send.
    pub answer_timeout: Duration,
    /// For the socket to take at least one byte of what waits.
    pub write_timeout: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_secs(20),
            ping_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(10),
            leave_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(2),
            write_timeout: Duration::from_secs(30),
        }
    }
}

/// What the application wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Send a message or a part of one. Text that is not UTF-8 ends the connection with 1011.
    Send(Part),
    /// End the connection: 1000 when it returned, 1011 when it failed, 1012 for a restart, or as it
    /// says itself. A code that must not be sent becomes 1011.
    Close(CloseFrame),
    /// The server ends the connection: the application is told the same as the peer, at once, so that
    /// it can finish whether or not the peer answers.
    Leave(CloseFrame),
    /// There will be nothing more: it has returned, or it has taken `disconnected`, and all it sent
    /// before was given out before this. Without a close of its own, the connection ends with 1000.
    Finished,
}

/// The peer's end of a connection.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Ready when the peer is known to have gone: asked while nothing is read from it, for as long as the
    /// application has no room.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Socket for tokio::net::TcpStream {
    /// Its end lies behind what was not read. Only what is written to it finds out.
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// An application's end of a connection; see the module's documentation.
pub trait Application {
    /// Ready when there is room for one more message. Never ready again once it is gone.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;

    /// Takes a message; called only after [`Self::poll_ready`] was ready.
    fn deliver(&mut self, message: Message);

    /// Takes the end: the code and reason of the peer's Close frame, of the violation, or 1006.
    /// Called once, whether or not there is room.
    fn disconnected(&mut self, close: &CloseFrame);

    /// Whether the server ends the connection, as by [`Command::Leave`]: heard also while there is no room
    /// for a command.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<CloseFrame> {
        let _ = cx;
        Poll::Pending
    }

    /// The session has more to do and lets others run.
    fn yields(&mut self) {}

    /// So many bytes of what it gave out, with their frames' headers, have not been taken by the socket.
    fn unsent(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// So much memory is held for the connection, apart from what the application's end holds itself.
    fn holds(&mut self, bytes: usize) {
        let _ = bytes;
    }

    /// Ready when more memory may be held for the connection.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// The next command. After [`Command::Finished`] it is not called again.
    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Command>;
}

/// Who ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client: it said so, broke the rules, or was not there any more.
    Client,
    /// The application.
    Application,
    /// We did.
    Server,
}

/// How a connection went, for the access log and the metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The code and reason the application was told.
    pub close: CloseFrame,
    /// Who ended it first.
    pub ended_by: Side,
    /// Messages received and delivered.
    pub messages_received: u64,
    /// Messages sent.
    pub messages_sent: u64,
    /// Bytes read from the socket.
    pub bytes_received: u64,
    /// Bytes written to the socket.
    pub bytes_sent: u64,
}

/// Drives a connection to its end. Dropping the future drops the connection at once.
///
/// `first_bytes`: what was read from the socket behind the request.
pub async fn run<S, A>(
    socket: S,
    mut connection: Connection,
    first_bytes: &[u8],
    application: A,
    limits: SessionLimits,
) -> Outcome
where
    S: Socket,
    A: Application + Unpin,
{
    connection.feed(first_bytes);
    let now = Instant::now();
    let mut session = Session {
        socket,
        connection,
        application,
        limits,
        phase: Phase::Open,
        waiting: None,
        grown: false,
        starved: false,
        text: TextCheck::default(),
        finished: false,
        told: None,
        ending: CloseFrame::new(close::ABNORMAL, "the connection was lost"),
        ended_by: None,
        pace: Pace::new(now),
        heard_at: now,
        pinged: false,
        probed_at: now,
        written_at: now,
        unflushed: false,
        now,
        timer: Box::pin(sleep_until(now)),
        messages_received: 0,
        messages_sent: 0,
        bytes_received: first_bytes.len() as u64,
        bytes_sent: 0,
    };
    poll_fn(|cx| session.poll(cx)).await;
    let close = session.tell();
    Outcome {
        close,
        ended_by: session.ended_by.unwrap_or(Side::Client),
        messages_received: session.messages_received,
        messages_sent: session.messages_sent,
        bytes_received: session.bytes_received,
        bytes_sent: session.bytes_sent,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Messages go both ways.
    Open,
    /// The peer ended it; the application may answer until then.
    Answering { until: Instant },
    /// We ended it; the peer's Close is awaited until then.
    Closing { until: Instant },
    /// The last bytes are written.
    Flushing,
    /// Our direction is being shut down.
    ShuttingDown { until: Instant },
    /// Waiting for the peer to close its direction.
    Lingering { until: Instant },
    /// Over.
    Over,
}

struct Session<S, A> {
    socket: S,
    connection: Connection,
    application: A,
    limits: SessionLimits,
    phase: Phase,
    /// A message for which the application has no room yet.
    waiting: Option<Message>,
    /// The message under way has grown, and it has not been asked whether there is room for more.
    grown: bool,
    /// Everything that was read is decoded.
    starved: bool,
    /// Of the message that the application sends.
    text: TextCheck,
    /// The application said [`Command::Finished`].
    finished: bool,
    /// What the application was told about the end.
    told: Option<CloseFrame>,
    /// What it will be told.
    ending: CloseFrame,
    /// Who ended it first; none did while it is open or was lost.
    ended_by: Option<Side>,
    /// How fast it sends what is no message.
    pace: Pace,
    /// When bytes last came, or reading was resumed.
    heard_at: Instant,
    /// A Ping is out since `heard_at + ping_interval`.
    pinged: bool,
    /// When reading was paused, or a Ping was sent since then.
    probed_at: Instant,
    /// When the socket last took bytes, or had none to take.
    written_at: Instant,
    /// The socket was given bytes and has not said that they are on their way.
    unflushed: bool,
    /// The time of this turn.
    now: Instant,
    timer: Pin<Box<Sleep>>,
    messages_received: u64,
    messages_sent: u64,
    bytes_received: u64,
    bytes_sent: u64,
}

impl<S: Socket, A: Application> Session<S, A> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let result = self.take_turn(cx);
        self.weigh();
        result
    }

    fn weigh(&mut self) {
        let waiting = self.waiting.as_ref().map_or(0, |message| message.payload().len());
        self.application.holds(self.connection.memory() + waiting);
    }

    fn take_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.now = Instant::now();
        if let Poll::Ready(close) = self.application.poll_leave(cx) {
            self.leave(close);
        }
        for _ in 0..TURN_STEPS_MAX {
            let mut progress = self.poll_commands(cx);
            progress |= self.poll_write(cx);
            self.application.unsent(self.connection.unsent());
            progress |= self.poll_events(cx);
            // Before more is read, or inflated.
            self.weigh();
            progress |= self.poll_read(cx);
            progress |= self.step_phase(cx);
            if self.phase == Phase::Over {
                return Poll::Ready(());
            }
            if !progress && self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
        self.application.yields();
        // Goes on when the other tasks have run and the sockets have been looked at.
        let _ = pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    }

    /// Takes commands while there is room for what they may make: many small messages go out together.
    fn poll_commands(&mut self, cx: &mut Context<'_>) -> bool {
        for taken in 0..COMMANDS_MAX {
            if !self.poll_command(cx) {
                return taken > 0;
            }
            self.connection.fill_output();
        }
        true
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> bool {
        let room =
            !self.connection.is_sending() && self.connection.output_len() < OUTPUT_TARGET_BYTES;
        let listening =
            matches!(self.phase, Phase::Open | Phase::Answering { .. } | Phase::Closing { .. });
        if self.finished || !listening {
            return false;
        }
        if !room {
            // What goes the other way goes on: a peer that is slow to read is heard all the same.
            let _ = self.application.poll_ready(cx);
            return false;
        }
        match self.application.poll_command(cx) {
            Poll::Pending => return false,
            Poll::Ready(Command::Send(part)) => self.send(part),
            Poll::Ready(Command::Close(close)) => {
                self.ended_by.get_or_insert(Side::Application);
                self.end(close);
            }
            Poll::Ready(Command::Leave(close)) => self.leave(close),
            Poll::Ready(Command::Finished) => {
                self.finished = true;
                self.ended_by.get_or_insert(Side::Application);
                self.end(CloseFrame::new(close::NORMAL, ""));
            }
        }
        true
    }

    fn leave(&mut self, close: CloseFrame) {
        self.ended_by.get_or_insert(Side::Server);
        self.limits.close_timeout = self.limits.close_timeout.min(self.limits.leave_timeout);
        if let Phase::Closing { until } = &mut self.phase {
            *until = (*until).min(self.now + self.limits.leave_timeout);
        }
        if self.phase == Phase::Open {
            self.ending = close.clone();
            self.tell();
        }
        self.end(close);
    }

    fn send(&mut self, part: Part) {
        let end = part.end;
        if part.text && !self.text.next(&part.payload, end) {
            let reason = "the application sent text that is not UTF-8";
            self.ended_by.get_or_insert(Side::Application);
            self.end(CloseFrame::new(close::INTERNAL_ERROR, reason));
        } else if self.connection.send(part).is_ok() && end {
            self.messages_sent += 1;
        }
    }

    /// Ends the connection from our side, or answers the peer's end.
    fn end(&mut self, close: CloseFrame) {
        match self.phase {
            Phase::Open => {
                self.waiting = None;
                self.ending = CloseFrame::new(close::ABNORMAL, "the peer did not answer the close");
                self.connection.close(close);
                self.phase = Phase::Closing { until: self.now + self.limits.close_timeout };
            }
            Phase::Answering { .. } => {
                self.connection.answer_close();
                self.phase = Phase::Flushing;
            }
            _ => {}
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> bool {
        let mut progress = false;
        loop {
            self.connection.fill_output();
            if self.connection.output().is_empty() {
                self.written_at = self.now;
                // A layer that buffers (TLS) may hold the end of it while the socket is full; it
                // is asked until it has let go. An error shows with the next write or read too.
                if self.unflushed {
                    self.unflushed = Pin::new(&mut self.socket).poll_flush(cx).is_pending();
                }
                return progress;
            }
            match Pin::new(&mut self.socket).poll_write(cx, self.connection.output()) {
                Poll::Pending => return progress,
                Poll::Ready(Ok(len)) if len > 0 => {
                    self.connection.advance_output(len);
                    self.bytes_sent += len as u64;
                    self.written_at = self.now;
                    (progress, self.unflushed) = (true, true);
                    if len >= OUTPUT_TARGET_BYTES {
                        return true;
                    }
                }
                Poll::Ready(_) => {
                    self.phase = Phase::Over;
                    return true;
                }
            }
        }
    }

    /// Takes what has been read, as far as the application and the output have room.
    fn poll_events(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(message) = self.waiting.take() {
            if self.finished || self.application.poll_ready(cx).is_pending() {
                self.waiting = Some(message);
                return false;
            }
            self.application.deliver(message);
            self.messages_received += 1;
            // The time in which reading was paused says nothing about the peer.
            self.heard_at = self.now;
            return true;
        }
        if !self.is_reading() || (self.grown && self.application.poll_room(cx).is_pending()) {
            return false;
        }
        self.grown = false;
        let Some(event) = self.connection.poll_event() else {
            self.starved = true;
            return false;
        };
        match event {
            Event::Message(message) => self.waiting = Some(message),
            Event::Grown => self.grown = true,
            Event::Ping(_) | Event::Pong(_) => self.pace.control(self.now),
            Event::Part(bytes) => {
                // A small part may be inflated to much.
                self.grown = true;
                self.pace.part(bytes, self.now);
            }
            Event::Close(close) => self.peer_ended(close),
            Event::Violation(violation) => {
                self.peer_ended(CloseFrame::new(violation.code, violation.reason));
            }
        }
        true
    }

    fn peer_ended(&mut self, close: CloseFrame) {
        self.ended_by.get_or_insert(Side::Client);
        self.ending = close;
        self.tell();
        if self.connection.is_done() {
            self.phase = Phase::Flushing;
            return;
        }
        self.phase = Phase::Answering { until: self.now + self.limits.answer_timeout };
        if self.finished {
            self.end(CloseFrame::new(close::NORMAL, ""));
        }
    }

    /// Whether the next event may be asked for.
    fn is_reading(&self) -> bool {
        self.waiting.is_none()
            && self.connection.is_reading()
            && self.pace.rests_until(self.now).is_none()
    }

    /// Whether what was read last waits for the application, or for memory.
    fn has_no_room(&self) -> bool {
        self.waiting.is_some() || self.grown
    }

    /// Whether a peer that is there would be heard, and a Ping reaches it.
    fn expects_answers(&self) -> bool {
        self.is_reading() && self.connection.output_len() < OUTPUT_TARGET_BYTES
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> bool {
        let lingering = matches!(self.phase, Phase::Lingering { .. });
        if !lingering && self.has_no_room() && self.socket.poll_gone(cx).is_ready() {
            self.phase = Phase::Over;
            return true;
        }
        if !(lingering || self.is_reading() && self.starved) {
            return false;
        }
        let Poll::Ready(read) = self.poll_read_socket(cx) else { return false };
        self.starved = false;
        match read {
            Ok(len) if len > 0 => {
                self.heard_at = self.now;
                self.pinged = false;
            }
            Ok(_) | Err(_) => self.phase = Phase::Over,
        }
        true
    }

    fn poll_read_socket(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; READ_BYTES]);
        }
        let most = self.connection.frame_left().clamp(READ_SMALL_BYTES, READ_BYTES);
        BUFFER.with_borrow_mut(|buffer| {
            let mut buffer = ReadBuf::new(&mut buffer[..most]);
            ready!(Pin::new(&mut self.socket).poll_read(cx, &mut buffer))?;
            let bytes = buffer.filled();
            self.connection.feed(bytes);
            self.bytes_received += bytes.len() as u64;
            Poll::Ready(Ok(bytes.len()))
        })
    }

    /// Moves on when the phase is over by itself or by the clock.
    fn step_phase(&mut self, cx: &mut Context<'_>) -> bool {
        let before = self.phase;
        let written = self.connection.output_len() == 0 && !self.connection.is_sending();
        if !written && self.now >= self.written_at + self.limits.write_timeout {
            self.phase = Phase::Over;
            return true;
        }
        match self.phase {
            Phase::Open => return self.keep_alive(),
            Phase::Answering { until } if self.now >= until => {
                self.end(CloseFrame::new(close::NORMAL, ""));
            }
            Phase::Closing { until } if self.now >= until => self.phase = Phase::Over,
            Phase::Flushing if written => {
                self.phase = Phase::ShuttingDown { until: self.now + self.limits.close_timeout };
            }
            Phase::ShuttingDown { until } => match Pin::new(&mut self.socket).poll_shutdown(cx) {
                Poll::Ready(Ok(())) => self.phase = Phase::Lingering { until },
                Poll::Ready(Err(_)) => self.phase = Phase::Over,
                Poll::Pending if self.now >= until => self.phase = Phase::Over,
                Poll::Pending => {}
            },
            Phase::Lingering { until } if self.now >= until => self.phase = Phase::Over,
            _ => {}
        }
        self.phase != before
    }

    /// Pings a silent peer, gives up on one that stays silent. A peer that cannot be heard, or pinged
    /// behind what it has not taken, is not silent.
    fn keep_alive(&mut self) -> bool {
        if !self.expects_answers() {
            (self.heard_at, self.pinged) = (self.now, false);
            return self.probe();
        }
        self.probed_at = self.now;
        let silence = self.now.duration_since(self.heard_at);
        if silence >= self.limits.ping_interval + self.limits.ping_timeout {
            self.ending = CloseFrame::new(close::ABNORMAL, "the peer did not answer a ping");
            self.phase = Phase::Over;
            return true;
        }
        if silence >= self.limits.ping_interval && !self.pinged {
            self.connection.ping(b"indrik");
            self.connection.release_memory();
            self.pinged = true;
            return true;
        }
        false
    }

    /// Pings a peer that is not heard because the application takes nothing: the system of one that has gone says so
    /// at the second one.
    fn probe(&mut self) -> bool {
        if self.next_probe().is_none_or(|at| self.now < at) {
            return false;
        }
        self.connection.ping(b"indrik");
        self.probed_at = self.now;
        true
    }

    /// What is on its way already finds out as well.
    fn next_probe(&self) -> Option<Instant> {
        let is_quiet = self.connection.output_len() == 0 && !self.connection.is_sending();
        let probes = self.has_no_room() && is_quiet;
        probes.then(|| self.probed_at + self.limits.ping_interval)
    }

    /// The next time at which something is due, if anything is.
    fn deadline(&self) -> Option<Instant> {
        let unwritten = self.connection.output_len() > 0 || self.connection.is_sending();
        let write = unwritten.then(|| self.written_at + self.limits.write_timeout);
        let phase = match self.phase {
            Phase::Open if self.expects_answers() => {
                let pong = if self.pinged { self.limits.ping_timeout } else { Duration::ZERO };
                Some(self.heard_at + self.limits.ping_interval + pong)
            }
            Phase::Open => self.next_probe(),
            Phase::Flushing | Phase::Over => None,
            Phase::Answering { until }
            | Phase::Closing { until }
            | Phase::ShuttingDown { until }
            | Phase::Lingering { until } => Some(until),
        };
        let rest = self.pace.rests_until(self.now);
        [write, phase, rest].into_iter().flatten().min()
    }

    /// Ready when something is due. The timer is moved only to an earlier time: one that fires too
    /// early costs less than one that is moved with every message.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(deadline) = self.deadline() else { return Poll::Pending };
        if deadline < self.timer.deadline() || self.timer.is_elapsed() {
            self.timer.as_mut().reset(deadline);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            self.now = Instant::now();
            if self.now >= deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(deadline);
        }
        Poll::Pending
    }

    /// Tells the application about the end, if it has not been told.
    fn tell(&mut self) -> CloseFrame {
        let Self { told, application, ending, finished, .. } = self;
        told.get_or_insert_with(|| {
            if !*finished {
                application.disconnected(ending);
            }
            ending.clone()
        })
        .clone()
    }
}

#[cfg(test)]
mod tests;
