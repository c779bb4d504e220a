//! Between a WebSocket session and the application's channel.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use h2::ext::Protocol;
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use indrik_core::refusal::Reason;
use indrik_core::time::Micros;
use indrik_ring::{CHUNK_MAX, Flags, Kind, ResponseHead, websocket_piece_cost};

use crate::front::access_log::WebSocketLine;
use crate::front::account::{CONNECTION_BYTES, Charge};
use crate::front::body::Pieces;
use crate::front::body::upload::Upload;
use crate::front::clock;
use crate::front::conn::h2::streams::{Leaving, TunnelSuccessor};
use crate::front::conn::h2::tunnel::Tunnel;
use crate::front::conn::io::ClientIo;
use crate::front::conn::reaper::{Order, Watch};
use crate::front::context::{ConnectionContext, RequestContext, Successor};
use crate::front::exchange::{Event, Exchange};
use crate::front::pipeline::call::Call;
use crate::front::pool::Piece;
use crate::front::refusal::Refusal;
use crate::front::response::{self, Body};
use crate::front::services::Services;
use crate::front::websocket::handshake::{self, Handshake};
use crate::front::websocket::negotiation::{Deflate, DeflatePolicy};
use crate::front::websocket::session::{self, Application, Command, SessionLimits, Socket};
use crate::front::websocket::{CloseFrame, Connection, Message, Part};

/// Close codes (RFC 6455 section 7.4, IANA registry).
const INTERNAL_ERROR: u16 = 1011;
const SERVICE_RESTART: u16 = 1012;

/// Credit of less than this waits for more of it, or for everything to be sent.
const CREDIT_STEP_BYTES: u64 = 16 * 1024;

/// What a connection becomes after the 101.
struct Upgrade {
    call: Call,
    deflate: Option<Deflate>,
    line: WebSocketLine,
}

/// Whether a request opens a WebSocket.
pub(crate) fn is_requested(parts: &Parts) -> bool {
    is_tunnel(parts) || handshake::is_requested(parts.version, &parts.headers)
}

/// Whether it does so as HTTP/2 has it (RFC 8441).
pub(crate) fn is_tunnel(parts: &Parts) -> bool {
    parts.extensions.get::<Protocol>().is_some()
}

/// Serves the handshake: the application accepts, closes or answers with a response of its own.
pub(crate) async fn serve(
    context: RequestContext,
    parts: Parts,
    arrived: Micros,
) -> Result<Response<Body>, Refusal> {
    let policy = DeflatePolicy::default();
    let read = if is_tunnel(&parts) {
        Handshake::read_tunnel(&parts.headers, Some(&policy))
    } else {
        Handshake::read(&parts.method, parts.version, &parts.headers, Some(&policy))
    };
    let handshake = match read {
        Ok(handshake) => handshake,
        Err(bad) => {
            let text = |text: &'static str| Body::full(Bytes::from_static(text.as_bytes()));
            let response = bad.response().map(text);
            let reason = Reason::of_status(response.status().as_u16());
            context.services().note_refusal(reason);
            return Ok(response);
        }
    };
    let accepted = context.clone();
    let mut call = Call::new(context, parts, Upload::Memory(Pieces::default()), Flags::WEBSOCKET);
    call.submit(arrived.max(clock::now()))?;
    match call.next().await? {
        Event::WebSocketAccept { payload } => accept(&accepted, call, &handshake, &payload),
        Event::WebSocketClose { .. } => {
            let message = "the application refused the WebSocket";
            let served = call.exchange().served();
            let refusal = Refusal::failed(StatusCode::FORBIDDEN, message).of(served);
            Err(Refusal { reason: Reason::WebSocketRefused, ..refusal })
        }
        Event::Response { payload, head_len, flags } => {
            call.begin_response(&payload, head_len, flags, None)
        }
        _ => Err(call.unexpected()),
    }
}

fn accept(
    context: &RequestContext,
    call: Call,
    handshake: &Handshake,
    payload: &Bytes,
) -> Result<Response<Body>, Refusal> {
    let invalid = |why: &dyn std::fmt::Display| {
        context.services().log.error(&format!("The WebSocket cannot be accepted: {why}"));
        Refusal::failed(StatusCode::INTERNAL_SERVER_ERROR, "")
    };
    let head = ResponseHead::decode(payload).map_err(|error| invalid(&error))?;
    let mut extra = HeaderMap::new();
    response::copy_headers(payload, head.headers, &mut extra).map_err(|error| invalid(&error.0))?;
    let subprotocol = std::str::from_utf8(head.reason).map_err(|error| invalid(&error))?;
    let subprotocol = (!subprotocol.is_empty()).then_some(subprotocol);
    let response = handshake.response(subprotocol, extra).map_err(|error| invalid(&error))?;
    let deflate = handshake.deflate.clone();
    let upgrade = Box::new(Upgrade { call, deflate, line: WebSocketLine::default() });
    match &context.stream {
        Some(stream) => stream.set_successor(upgrade),
        None => *context.connection.successor.lock() = Some(upgrade),
    }
    Ok(response.map(|()| Body::full(Bytes::new())))
}

impl Successor for Upgrade {
    fn log_to(&mut self, line: WebSocketLine) {
        self.line = line;
    }

    fn run(
        self: Box<Self>,
        connection: Arc<ConnectionContext>,
        mut io: ClientIo,
        first: Bytes,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        io.stop_screening();
        let orders = Orders::Connection(Arc::clone(&connection.watch));
        Box::pin(run(connection, *self, io, first, orders))
    }
}

impl TunnelSuccessor for Upgrade {
    fn log_to(&mut self, line: WebSocketLine) {
        self.line = line;
    }

    fn run(
        self: Box<Self>,
        connection: Arc<ConnectionContext>,
        tunnel: Tunnel,
        leaving: Leaving,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let orders = Orders::Stream(Some(leaving));
        Box::pin(run(connection, *self, tunnel, Bytes::new(), orders))
    }
}

/// Runs the session to its end; `first` is what was read behind the request.
async fn run(
    context: Arc<ConnectionContext>,
    upgrade: Upgrade,
    socket: impl Socket,
    first: Bytes,
    orders: Orders,
) {
    let Upgrade { call, deflate, mut line } = upgrade;
    let (message_max, write_timeout) = {
        let config = &context.services.settings().config;
        (config.websocket_max_message_size, config.write_timeout)
    };
    context.watch.begin();
    let connection = Connection::new(message_max, deflate);
    let limits = SessionLimits { write_timeout, ..Default::default() };
    let leaving = call.is_leaving();
    let exchange = Arc::clone(call.exchange());
    let mut bridge = Bridge {
        exchange: Arc::clone(&exchange),
        services: Arc::clone(&context.services),
        orders,
        call: Some(call),
        outgoing: None,
        sent: 0,
        end: None,
        owed: 0,
        commands: VecDeque::new(),
        charge: Charge::of(context.watch.holder()),
        finished: false,
    };
    if leaving {
        bridge.leave();
    }
    let outcome = session::run(socket, connection, &first, bridge, limits).await;
    line.went(&outcome, exchange.route());
    context.watch.end();
}

/// Where the word comes from that the server ends.
enum Orders {
    /// The connection is the session's own.
    Connection(Arc<Watch>),
    /// It has one stream of it; the word comes once.
    Stream(Option<Leaving>),
}

impl Orders {
    /// Whether the session is to end, said once for each word.
    fn poll_leave(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Connection(watch) => match watch.poll_order(cx) {
                Order::Finish | Order::Expire | Order::Late | Order::Close => true,
                Order::Shed => {
                    watch.stays();
                    false
                }
                Order::None | Order::Look | Order::Park => false,
            },
            Self::Stream(leaving) => {
                let comes =
                    leaving.as_mut().is_some_and(|leaving| leaving.as_mut().poll(cx).is_ready());
                if comes {
                    *leaving = None;
                }
                comes
            }
        }
    }
}

fn restarting() -> CloseFrame {
    CloseFrame::new(SERVICE_RESTART, "the server is restarting")
}

impl Socket for ClientIo {
    /// Nothing tells it of whoever is not read from. Where its memory is needed, the connection is cut.
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// The application's end of a session.
struct Bridge {
    services: Arc<Services>,
    exchange: Arc<Exchange>,
    orders: Orders,
    /// Tells the application when it is dropped before the end.
    call: Option<Call>,
    /// The message on its way to the application, and how much of it has gone.
    outgoing: Option<(Message, usize)>,
    /// Bytes sent to the application.
    sent: u64,
    /// The end, to be told behind the messages.
    end: Option<CloseFrame>,
    /// What the session has of the application's messages and the application has no credit for.
    owed: u64,
    /// At most a few, as the session asks for one after the other.
    commands: VecDeque<Command>,
    finished: bool,
    /// What the session and the message on its way to the application take.
    charge: Charge,
}

impl Bridge {
    /// Sends what waits; ready when nothing does.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some((message, at)) = &mut self.outgoing {
            let payload = message.payload().clone();
            let len = (payload.len() - *at).min(CHUNK_MAX);
            let last = *at + len == payload.len();
            let text = if matches!(message, Message::Text(_)) { Flags::TEXT } else { Flags::NONE };
            let flags = if last { text.with(Flags::END) } else { text };
            let cost = websocket_piece_cost(len, last);
            let bytes = &payload[*at..*at + len];
            let piece = Piece { kind: Kind::WebSocketReceive, flags, aux: 0, bytes };
            let pool = &self.services.pool;
            if std::task::ready!(pool.poll_send_piece(&self.exchange, &piece, self.sent, cx)) {
                self.sent += cost;
                *at += len;
            } else {
                // The application has returned; nobody takes messages any more.
                *at = payload.len();
            }
            if last || *at == payload.len() {
                self.outgoing = None;
            }
        }
        if let Some(end) = &self.end {
            let aux = u64::from(end.code);
            let bytes = end.reason.as_bytes();
            let piece = Piece { kind: Kind::WebSocketClosed, flags: Flags::END, aux, bytes };
            // The window has a place for it whatever is under way.
            let pool = &self.services.pool;
            let _ = std::task::ready!(pool.poll_send_piece(&self.exchange, &piece, 0, cx));
            self.end = None;
        }
        Poll::Ready(())
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::WebSocketSend { bytes, text, end } => {
                // The credit for it follows when the socket has taken it.
                self.owed += websocket_piece_cost(bytes.len(), end);
                self.commands.push_back(Command::Send(Part { text, payload: bytes, end }));
            }
            Event::WebSocketClose { code, reason } => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                self.commands.push_back(Command::Close(CloseFrame::new(code, reason)));
            }
            Event::Leaving => self.leave(),
            Event::Done => self.finish(),
            Event::Failed { message, .. } => {
                if !message.is_empty() {
                    self.services.log.error(&String::from_utf8_lossy(&message));
                }
                self.commands.push_back(Command::Close(CloseFrame::new(INTERNAL_ERROR, "")));
            }
            Event::WorkerLost { .. } | Event::TimedOut { .. } => {
                self.commands.push_back(Command::Close(CloseFrame::new(INTERNAL_ERROR, "")));
                self.finish();
            }
            Event::Response { .. }
            | Event::Informational { .. }
            | Event::Body { .. }
            | Event::File { .. }
            | Event::Trailers { .. }
            | Event::WebSocketAccept { .. }
            | Event::BodyWanted
            | Event::UploadBroken(_)
            | Event::QueueTimeout { .. }
            | Event::InterfaceChanged
            | Event::TooLarge
            | Event::Spooled(_) => {}
        }
    }

    /// Both sides are told that this end goes, and why: the client will find another worker.
    fn leave(&mut self) {
        self.commands.push_back(Command::Leave(restarting()));
    }

    fn finish(&mut self) {
        self.finished = true;
        if let Some(mut call) = self.call.take() {
            call.hand_over();
        }
    }
}

impl Application for Bridge {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_send(cx)
    }

    fn deliver(&mut self, message: Message) {
        self.outgoing = Some((message, 0));
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<CloseFrame> {
        if self.orders.poll_leave(cx) { Poll::Ready(restarting()) } else { Poll::Pending }
    }

    fn yields(&mut self) {
        self.services.pool.between_turns();
    }

    fn unsent(&mut self, bytes: usize) {
        let credit = self.owed.saturating_sub(bytes as u64);
        // Not for every tiny message while others wait.
        if credit >= CREDIT_STEP_BYTES || (credit > 0 && bytes == 0) {
            self.owed -= credit;
            self.services.pool.took(&self.exchange, usize::try_from(credit).unwrap_or(usize::MAX));
        }
    }

    fn holds(&mut self, bytes: usize) {
        let outgoing = self.outgoing.as_ref().map_or(0, |(message, _)| message.payload().len());
        self.charge.set(bytes + outgoing);
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.charge.holder().poll_room(CONNECTION_BYTES, cx)
    }

    fn disconnected(&mut self, close: &CloseFrame) {
        self.end = Some(close.clone());
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        let _ = self.poll_send(cx);
        loop {
            if let Some(command) = self.commands.pop_front() {
                return Poll::Ready(command);
            }
            if self.finished {
                return Poll::Ready(Command::Finished);
            }
            let event = std::task::ready!(self.exchange.poll_next(cx));
            self.take(event);
        }
    }
}
