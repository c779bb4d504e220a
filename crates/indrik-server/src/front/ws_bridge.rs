//! Between a WebSocket session and the application's channel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Response, StatusCode};
use indrik_core::dispatch::Micros;
use indrik_ring::{CHUNK_MAX, Flags, Kind, ResponseHead};

use super::answer::Refusal;
use super::client_io::ClientIo;
use super::exchange::{Event, Exchange};
use super::pool::Piece;
use super::request::{Call, Client};
use super::response::{self, Body};
use super::sweep::{Order, Watch};
use super::upload::Upload;
use super::websocket::handshake::{self, Handshake};
use super::websocket::negotiation::{Deflate, DeflatePolicy};
use super::websocket::session::{self, Application, Command, SessionLimits};
use super::websocket::{CloseFrame, Connection, Message};
use super::{Shared, clock};

/// Close codes (RFC 6455 section 7.4, IANA registry).
const INTERNAL_ERROR: u16 = 1011;
const SERVICE_RESTART: u16 = 1012;

/// What a connection becomes after the 101.
pub(super) struct Upgrade {
    call: Call,
    deflate: Option<Deflate>,
}

/// Whether a request opens a WebSocket.
pub(super) fn is_requested(parts: &Parts) -> bool {
    handshake::is_requested(parts.version, &parts.headers)
}

/// Serves the handshake: the application accepts, closes or answers with a response of its own.
pub(super) async fn serve(
    client: &Arc<Client>,
    parts: Parts,
    arrived: Micros,
) -> Result<Response<Body>, Refusal> {
    let policy = DeflatePolicy::default();
    let read = Handshake::read(&parts.method, parts.version, &parts.headers, Some(&policy));
    let handshake = match read {
        Ok(handshake) => handshake,
        Err(bad) => {
            let text = |text: &'static str| Body::full(Bytes::from_static(text.as_bytes()));
            return Ok(bad.response().map(text));
        }
    };
    let mut call = Call::new(client, parts, Upload::Inline(Bytes::new()), Flags::WEBSOCKET);
    call.submit(arrived.max(clock::now()))?;
    match call.next().await? {
        Event::WebSocketAccept { payload } => accept(client, call, &handshake, &payload),
        Event::WebSocketClose { .. } => {
            Err(Refusal::failed(StatusCode::FORBIDDEN, "the application refused the WebSocket"))
        }
        Event::Response { payload, head_len, flags } => {
            call.begin_response(&payload, head_len, flags, None)
        }
        _ => Err(call.unexpected()),
    }
}

fn accept(
    client: &Client,
    call: Call,
    handshake: &Handshake,
    payload: &Bytes,
) -> Result<Response<Body>, Refusal> {
    let invalid = |why: &dyn std::fmt::Display| {
        client.shared.log.error(&format!("The WebSocket cannot be accepted: {why}"));
        Refusal::failed(StatusCode::INTERNAL_SERVER_ERROR, "")
    };
    let head = ResponseHead::decode(payload).map_err(|error| invalid(&error))?;
    let mut extra = HeaderMap::new();
    response::copy_headers(payload, head.headers, &mut extra).map_err(|error| invalid(&error.0))?;
    let subprotocol = std::str::from_utf8(head.reason).map_err(|error| invalid(&error))?;
    let subprotocol = (!subprotocol.is_empty()).then_some(subprotocol);
    let response = handshake.response(subprotocol, extra).map_err(|error| invalid(&error))?;
    let deflate = handshake.deflate.clone();
    *client.upgrade.lock() = Some(Upgrade { call, deflate });
    Ok(response.map(|()| Body::full(Bytes::new())))
}

/// Runs the session to its end; `first` is what was read behind the request.
pub(super) async fn run(client: &Client, upgrade: Upgrade, mut io: ClientIo, first: Bytes) {
    let Upgrade { call, deflate } = upgrade;
    let (message_max, write_timeout) = {
        let config = client.shared.config();
        (config.websocket_max_message_size, config.write_timeout)
    };
    io.stop_screening();
    client.watch.begin();
    let connection = Connection::new(message_max, deflate);
    let limits = SessionLimits { write_timeout, ..Default::default() };
    let leaving = call.is_leaving();
    let mut bridge = Bridge {
        exchange: Arc::clone(call.exchange()),
        shared: Arc::clone(&client.shared),
        watch: Arc::clone(&client.watch),
        call: Some(call),
        outgoing: None,
        sent: 0,
        end: None,
        incoming: BytesMut::new(),
        commands: VecDeque::new(),
        finished: false,
    };
    if leaving {
        bridge.leave();
    }
    session::run(io, connection, &first, bridge, limits).await;
    client.watch.end();
}

/// The application's end of a session.
struct Bridge {
    shared: Arc<Shared>,
    exchange: Arc<Exchange>,
    watch: Arc<Watch>,
    /// Tells the application when it is dropped before the end.
    call: Option<Call>,
    /// The message on its way to the application, and how much of it has gone.
    outgoing: Option<(Message, usize)>,
    /// Bytes sent to the application.
    sent: u64,
    /// The end, to be told behind the messages.
    end: Option<CloseFrame>,
    /// The message on its way from the application; bounded by what the application holds in
    /// memory as one object.
    incoming: BytesMut,
    commands: VecDeque<Command>,
    finished: bool,
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
            let bytes = &payload[*at..*at + len];
            let piece = Piece { kind: Kind::WebSocketReceive, flags, aux: 0, bytes };
            let pool = &self.shared.pool;
            if std::task::ready!(pool.poll_send_piece(&self.exchange, &piece, self.sent, cx)) {
                self.sent += len as u64;
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
            let pool = &self.shared.pool;
            let _ = std::task::ready!(pool.poll_send_piece(&self.exchange, &piece, 0, cx));
            self.end = None;
        }
        Poll::Ready(())
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::WebSocketSend { bytes, text, end } => {
                self.shared.pool.took(&self.exchange, bytes.len());
                self.incoming.extend_from_slice(&bytes);
                if end {
                    let payload = self.incoming.split().freeze();
                    let message =
                        if text { Message::Text(payload) } else { Message::Binary(payload) };
                    self.commands.push_back(Command::Send(message));
                }
            }
            Event::WebSocketClose { code, reason } => {
                let reason = String::from_utf8_lossy(&reason).into_owned();
                self.commands.push_back(Command::Close(CloseFrame::new(code, reason)));
            }
            Event::Leaving => self.leave(),
            Event::Done => self.finish(),
            Event::Failed { message, .. } => {
                if !message.is_empty() {
                    self.shared.log.error(&String::from_utf8_lossy(&message));
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
            | Event::Path { .. }
            | Event::Trailers { .. }
            | Event::WebSocketAccept { .. }
            | Event::BodyWanted
            | Event::UploadBroken(_)
            | Event::QueueTimeout => {}
        }
    }

    /// Both sides are told that this end goes, and why: the client will find another worker.
    fn leave(&mut self) {
        let close = CloseFrame::new(SERVICE_RESTART, "the server is restarting");
        self.commands.push_back(Command::Leave(close));
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

    fn disconnected(&mut self, close: &CloseFrame) {
        self.end = Some(close.clone());
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        let _ = self.poll_send(cx);
        match self.watch.poll_order(cx) {
            Order::Finish | Order::Expire | Order::Close => self.leave(),
            Order::None | Order::Park => {}
        }
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
