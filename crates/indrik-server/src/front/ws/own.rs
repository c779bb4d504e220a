//! WebSockets that a WSGI application speaks itself, byte by byte: Flask-SocketIO, Flask-Sock and others.
//!
//! With a request that asks for a WebSocket the worker gets one end of a socket pair, `gunicorn.socket` in
//! the environ. The application answers as any other, or writes into the socket: whichever comes first. What
//! it writes begins with the head of an answer, its own `101`; that is checked and sent, and from then on
//! bytes are copied both ways, through one small buffer each, so that whoever does not read stops the other.

use std::fs::File;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, TRANSFER_ENCODING, UPGRADE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use hyper::ext::ReasonPhrase;
use indrik_core::refusal::Reason;
use indrik_core::time::Micros;
use indrik_ring::Flags;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Sleep, sleep, timeout};

use crate::front::access_log::WebSocketLine;
use crate::front::account::Charge;
use crate::front::body::upload::{NO_DESCRIPTOR, Upload, file_places};
use crate::front::clock;
use crate::front::conn::close::linger;
use crate::front::conn::io::ClientIo;
use crate::front::conn::reaper::Order;
use crate::front::context::{ConnectionContext, RequestContext, Successor};
use crate::front::descriptors::{CountedFile, Reserved};
use crate::front::exchange::{Event, Exchange};
use crate::front::pipeline::call::Call;
use crate::front::refusal::Refusal;
use crate::front::response::Body;
use crate::front::services::Services;
use crate::front::websocket::handshake;

/// The head that an application writes into its socket.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEAD_FIELDS_MAX: usize = 128;
/// How long the rest of it is waited for, and what follows the head of an answer that is no `101`.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(10);
/// Bytes of such an answer.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;
/// The buffer of each direction.
const BUFFER_BYTES: usize = 16 * 1024;
/// How long an application may still write when it was told that its socket is at its end.
const LEAVE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Whether a request of a WSGI application gets a socket.
pub(crate) fn is_requested(parts: &Parts) -> bool {
    let has_body = parts.headers.contains_key(TRANSFER_ENCODING)
        || parts.headers.get_all(CONTENT_LENGTH).iter().any(|length| length != "0");
    parts.method == Method::GET
        && !has_body
        && handshake::is_requested(parts.version, &parts.headers)
}

/// Serves such a request until it is answered.
pub(crate) async fn serve(
    context: RequestContext,
    parts: Parts,
    arrived: Micros,
) -> Result<Response<Body>, Refusal> {
    let mut places = file_places(&context, 2, "the socket of a WebSocket").await?;
    let (socket, theirs) = match pair() {
        Ok(pair) => pair,
        Err(error) => {
            let text = format!("no socket could be made for a WebSocket: {error}");
            context.services().log.error(&text);
            return Err(Refusal::unserved(Reason::NoDescriptor, NO_DESCRIPTOR));
        }
    };
    let accept = handshake::expected_accept(&parts.headers);
    let connection = Arc::clone(&context.connection);
    let upload = Upload::File(CountedFile::new(theirs, places.split_one()), 0);
    let mut call = Call::new(context, parts, upload, Flags::WEBSOCKET);
    call.submit(arrived.max(clock::now()))?;
    if let Some(event) = first_event(&mut call, &socket).await? {
        call.first = Some(event);
        return call.response().await;
    }
    // It has begun to answer: its end is its worker's alone.
    call.exchange().outgoing.let_go_of_file();
    let mut worker = WorkerSide {
        services: Arc::clone(&connection.services),
        exchange: Arc::clone(call.exchange()),
        is_leaving: call.is_leaving(),
    };
    let head = timeout(HEAD_WAIT_MAX, Head::read(&socket));
    let head = worker.heard_beside(&socket, head).await;
    let head = head.unwrap_or_else(|_| Err("did not come to its end".to_owned()));
    let answer = match head {
        Ok(head) => head.into_response(accept.as_ref()),
        Err(why) => Err(why),
    };
    match answer {
        Ok((response, rest)) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            let line = WebSocketLine::default();
            let own = Own { call, worker, socket, rest, line, _place: places };
            *connection.successor.lock() = Some(Box::new(own));
            Ok(response)
        }
        Ok((response, rest)) => {
            let answer = refused(response, rest, &socket);
            worker.heard_beside(&socket, answer).await
        }
        Err(why) => {
            let text = format!("the answer that an application wrote into its socket {why}");
            connection.services.log.error(&text);
            Err(Refusal::failed(StatusCode::INTERNAL_SERVER_ERROR, ""))
        }
    }
}

/// Our end and the application's, which may wait.
fn pair() -> std::io::Result<(UnixStream, File)> {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    indrik_sys::rights::refuse(&ours);
    Ok((UnixStream::from_std(ours)?, File::from(OwnedFd::from(theirs))))
}

/// What the application says first: an event, or (`None`) bytes in its socket.
async fn first_event(call: &mut Call, socket: &UnixStream) -> Result<Option<Event>, Refusal> {
    let mut may_speak = true;
    loop {
        let came = {
            let mut next = pin!(call.next());
            poll_fn(|cx| {
                let is_ready = may_speak && socket.poll_read_ready(cx).is_ready();
                // What was written before the worker's word is there, known to be ready or not.
                if is_ready || matches!(peek(socket), Peek::Bytes) {
                    return Poll::Ready(None);
                }
                next.as_mut().poll(cx).map(Some)
            })
            .await
        };
        match (came, peek(socket)) {
            (came, Peek::Bytes) => {
                let is_over = came.is_some_and(|event| event.as_ref().map_or(true, is_end));
                if is_over {
                    end(socket);
                }
                return Ok(None);
            }
            (Some(event), _) => return event.map(Some),
            // Closed unused: it answers otherwise.
            (None, Peek::End) => may_speak = false,
            // The readiness was of something else; asking clears it.
            (None, Peek::Nothing) => {
                let _ = socket.try_io(tokio::io::Interest::READABLE, || {
                    Err::<(), _>(std::io::ErrorKind::WouldBlock.into())
                });
            }
        }
    }
}

/// What the worker says of a request whose application speaks on its socket.
struct WorkerSide {
    services: Arc<Services>,
    exchange: Arc<Exchange>,
    /// The application is to be told to come to an end.
    is_leaving: bool,
}

impl WorkerSide {
    /// Hears it while something is done with the socket.
    async fn heard_beside<T>(&mut self, socket: &UnixStream, done: impl Future<Output = T>) -> T {
        let mut done = pin!(done);
        poll_fn(|cx| {
            self.poll(socket, cx);
            done.as_mut().poll(cx)
        })
        .await
    }

    /// Its end is the socket's, whoever has a copy of that.
    fn poll(&mut self, socket: &UnixStream, cx: &mut Context<'_>) {
        while let Poll::Ready(event) = self.exchange.poll_next(cx) {
            self.is_leaving |= matches!(event, Event::Leaving | Event::TimedOut { .. });
            if is_end(&event) {
                end(socket);
            }
            // An answer behind the socket: nobody reads it, and its sender must not wait.
            let len = match event {
                Event::Response { payload, .. } => payload.len(),
                Event::Body { part, .. } => part.len(),
                _ => continue,
            };
            self.services.pool.took(&self.exchange, len);
        }
    }
}

/// Whether the worker's side of the request is over.
fn is_end(event: &Event) -> bool {
    event.ends_response()
        || matches!(event, Event::Done | Event::Failed { .. } | Event::WorkerLost { .. })
}

/// Ends a socket whose other end somebody may still have: what lies in it can be read, and then its end.
fn end(socket: &UnixStream) {
    let _ = rustix::net::shutdown(socket, rustix::net::Shutdown::Both);
}

enum Peek {
    Bytes,
    End,
    Nothing,
}

fn peek(socket: &UnixStream) -> Peek {
    let mut byte = [0];
    match rustix::net::recv(socket, &mut byte, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => Peek::End,
        Ok(_) => Peek::Bytes,
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Peek::Nothing,
        Err(_) => Peek::End,
    }
}

/// The head of an answer as the application wrote it, and what came behind it.
#[derive(Debug)]
struct Head {
    status: StatusCode,
    reason: String,
    fields: Vec<(HeaderName, HeaderValue)>,
    rest: Bytes,
}

impl Head {
    async fn read(socket: &UnixStream) -> Result<Self, String> {
        let mut bytes = BytesMut::new();
        loop {
            if let Some(head) = Self::parse(&bytes)? {
                return Ok(head);
            }
            if bytes.len() >= HEAD_BYTES_MAX {
                return Err(format!("has a head of more than {HEAD_BYTES_MAX} bytes"));
            }
            socket.readable().await.map_err(|error| format!("broke off: {error}"))?;
            bytes.reserve(4096);
            match socket.try_read_buf(&mut bytes) {
                Ok(0) => return Err("ends within its head".to_owned()),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(format!("broke off: {error}")),
            }
        }
    }

    /// `None`: there is more to come.
    fn parse(bytes: &[u8]) -> Result<Option<Self>, String> {
        let malformed = |error: &dyn std::fmt::Display| format!("has a malformed head: {error}");
        let mut fields = [httparse::EMPTY_HEADER; HEAD_FIELDS_MAX];
        let mut head = httparse::Response::new(&mut fields);
        let len = match head.parse(bytes).map_err(|error| malformed(&error))? {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial => return Ok(None),
        };
        let status = StatusCode::from_u16(head.code.unwrap_or(0)).map_err(|e| malformed(&e))?;
        let reason = head.reason.unwrap_or("").to_owned();
        let mut read = Vec::new();
        for field in head.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|e| malformed(&e))?;
            read.push((name, HeaderValue::from_bytes(field.value).map_err(|e| malformed(&e))?));
        }
        Ok(Some(Self { status, reason, fields: read, rest: Bytes::copy_from_slice(&bytes[len..]) }))
    }

    /// The answer for the client; `accept`: what it is going to look for in a `101`.
    fn into_response(
        self,
        accept: Option<&HeaderValue>,
    ) -> Result<(Response<Body>, Bytes), String> {
        let mut response = Response::new(Body::full(Bytes::new()));
        *response.status_mut() = self.status;
        if Some(&*self.reason) != self.status.canonical_reason()
            && let Ok(reason) = ReasonPhrase::try_from(self.reason.into_bytes())
        {
            response.extensions_mut().insert(reason);
        }
        let switches = self.status == StatusCode::SWITCHING_PROTOCOLS;
        for (name, value) in self.fields {
            // Of another answer the front says itself where it ends.
            let ours = [CONNECTION, UPGRADE, CONTENT_LENGTH, TRANSFER_ENCODING].contains(&name);
            if switches || !ours {
                response.headers_mut().append(name, value);
            }
        }
        if !switches {
            if self.status.is_informational() {
                return Err(format!("has the status {}", self.status));
            }
            return Ok((response, self.rest));
        }
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        headers.remove(TRANSFER_ENCODING);
        if accept.is_some() && headers.get(SEC_WEBSOCKET_ACCEPT) != accept {
            return Err("is a 101 with a wrong Sec-WebSocket-Accept".to_owned());
        }
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        Ok((response, self.rest))
    }
}

/// An answer of the application's own that is no `101`: its body ends with the socket.
async fn refused(
    response: Response<Body>,
    rest: Bytes,
    mut socket: &UnixStream,
) -> Result<Response<Body>, Refusal> {
    let mut body = rest.to_vec();
    let left = REFUSAL_BYTES_MAX.saturating_sub(body.len()) as u64;
    let mut limited = Borrowed(&mut socket).take(left);
    let _ = timeout(HEAD_WAIT_MAX, limited.read_to_end(&mut body)).await;
    let mut response = response.map(|_| Body::full(body.into()));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(response)
}

/// Reads from a socket that somebody else owns.
struct Borrowed<'a, 'b>(&'a mut &'b UnixStream);

impl AsyncRead for Borrowed<'_, '_> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            ready!(self.0.poll_read_ready(cx))?;
            match self.0.try_read(into.initialize_unfilled()) {
                Ok(read) => {
                    into.advance(read);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

/// What the connection becomes after the application's `101`.
struct Own {
    /// Tells the application that its client is gone when it is dropped before the end.
    call: Call,
    worker: WorkerSide,
    socket: UnixStream,
    /// What came behind the head.
    rest: Bytes,
    line: WebSocketLine,
    /// The socket's place among the descriptors.
    _place: Reserved,
}

impl Successor for Own {
    fn log_to(&mut self, line: WebSocketLine) {
        self.line = line;
    }

    fn run(
        self: Box<Self>,
        connection: Arc<ConnectionContext>,
        io: ClientIo,
        first: Bytes,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(run(connection, *self, io, first))
    }
}

async fn run(connection: Arc<ConnectionContext>, own: Own, mut io: ClientIo, first: Bytes) {
    let Own { call, worker, mut socket, rest, mut line, _place } = own;
    io.stop_screening();
    connection.watch.begin();
    let mut charge = Charge::of(connection.watch.holder());
    charge.set(2 * BUFFER_BYTES + first.len() + rest.len());
    let write_timeout = connection.services.settings().config.write_timeout;
    let mut copy = Copy {
        connection: &connection,
        up: Direction::new(first),
        down: Direction::new(rest),
        worker,
        leaving: None,
        stalled: None,
        write_timeout,
    };
    let ended = poll_fn(|cx| copy.poll(&mut io, &mut socket, cx)).await;
    // How it was closed is between the application and its client.
    line.passed(copy.up.passed, copy.down.passed, call.exchange().route());
    // The application sees the end of its socket while the client still gets its last bytes.
    drop(socket);
    drop(call);
    if matches!(ended, End::Whole) {
        linger(io).await;
    }
    connection.watch.end();
}

/// How the copying ended.
enum End {
    /// The application has closed its socket, and everything of it was written.
    Whole,
    /// The client is gone, or takes nothing.
    Broken,
}

struct Copy<'a> {
    connection: &'a ConnectionContext,
    /// From the client to the application.
    up: Direction,
    /// From the application to the client.
    down: Direction,
    worker: WorkerSide,
    /// The application was told that its socket is at its end; until then it may write.
    leaving: Option<Pin<Box<Sleep>>>,
    /// The client takes nothing; until then it may begin again.
    stalled: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
}

impl Copy<'_> {
    fn poll(
        &mut self,
        io: &mut ClientIo,
        socket: &mut UnixStream,
        cx: &mut Context<'_>,
    ) -> Poll<End> {
        match self.connection.watch.poll_order(cx) {
            Order::Close | Order::Late => return Poll::Ready(End::Broken),
            Order::Finish | Order::Expire => self.leave(),
            Order::Shed => self.connection.watch.stays(),
            Order::None | Order::Look | Order::Park => {}
        }
        self.worker.poll(socket, cx);
        if self.worker.is_leaving {
            self.leave();
        }
        if let Poll::Ready(Err(error)) = self.up.poll(io, socket, cx) {
            // An application that has closed its socket may still have bytes under way.
            if error.kind() != std::io::ErrorKind::BrokenPipe {
                return Poll::Ready(End::Broken);
            }
            self.up.end();
            self.up.is_shut = true;
        }
        let before = self.down.passed;
        match self.down.poll(socket, io, cx) {
            Poll::Ready(Ok(())) => return Poll::Ready(End::Whole),
            Poll::Ready(Err(_)) => return Poll::Ready(End::Broken),
            Poll::Pending => {}
        }
        let is_stalled = self.is_stalled(before, cx);
        if is_stalled {
            return Poll::Ready(End::Broken);
        }
        match &mut self.leaving {
            Some(leaving) => leaving.as_mut().poll(cx).map(|()| End::Whole),
            None => Poll::Pending,
        }
    }

    /// Whether the client has taken nothing for too long; `before`: what it had taken when last asked.
    fn is_stalled(&mut self, before: u64, cx: &mut Context<'_>) -> bool {
        if self.down.is_empty() || self.down.passed != before || self.write_timeout.is_zero() {
            self.stalled = None;
        }
        if self.down.is_empty() || self.write_timeout.is_zero() {
            return false;
        }
        let limit = self.write_timeout;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(limit)));
        stalled.as_mut().poll(cx).is_ready()
    }

    /// The application is told to come to an end.
    fn leave(&mut self) {
        if self.leaving.is_none() {
            self.up.end();
            self.leaving = Some(Box::pin(sleep(LEAVE_WAIT_MAX)));
        }
    }
}

/// One direction: bytes that were read and not written yet, and whether there are more.
struct Direction {
    /// Read before the copying began.
    early: Bytes,
    buffer: Box<[u8]>,
    at: usize,
    filled: usize,
    /// Bytes written.
    passed: u64,
    must_flush: bool,
    ended: bool,
    is_shut: bool,
}

impl Direction {
    fn new(early: Bytes) -> Self {
        Self {
            early,
            buffer: vec![0; BUFFER_BYTES].into(),
            at: 0,
            filled: 0,
            passed: 0,
            must_flush: false,
            ended: false,
            is_shut: false,
        }
    }

    /// Whether nothing waits to be written.
    fn is_empty(&self) -> bool {
        self.early.is_empty() && self.at == self.filled && !self.must_flush
    }

    /// Nothing more is read.
    const fn end(&mut self) {
        self.ended = true;
    }

    /// Copies until one side has to wait; ready when the reader's end was passed on.
    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        reader: &mut R,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            ready!(self.poll_write(writer, cx))?;
            if self.ended {
                if !self.is_shut {
                    ready!(Pin::new(writer).poll_shutdown(cx))?;
                    self.is_shut = true;
                }
                return Poll::Ready(Ok(()));
            }
            let mut into = ReadBuf::new(&mut self.buffer);
            ready!(Pin::new(&mut *reader).poll_read(cx, &mut into))?;
            (self.at, self.filled) = (0, into.filled().len());
            self.ended = self.filled == 0;
        }
    }

    /// Writes and flushes what was read.
    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        loop {
            let early = !self.early.is_empty();
            let bytes = if early { &self.early[..] } else { &self.buffer[self.at..self.filled] };
            if bytes.is_empty() {
                break;
            }
            let written = ready!(Pin::new(&mut *writer).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(std::io::ErrorKind::WriteZero.into()));
            }
            if early {
                self.early.advance(written);
            } else {
                self.at += written;
            }
            self.passed += written as u64;
            self.must_flush = true;
        }
        if self.must_flush {
            ready!(Pin::new(writer).poll_flush(cx))?;
            self.must_flush = false;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Head>, String> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn a_head_is_read_when_it_is_whole_and_what_follows_stays() {
        let text = "HTTP/1.1 101 Own Words\r\nUpgrade: WebSocket\r\nX-A: b\r\n\r\nframes";
        for cut in 0..text.len() - "frames".len() {
            assert!(parsed(&text[..cut]).unwrap().is_none(), "{cut}");
        }
        let head = parsed(text).unwrap().unwrap();
        let (response, rest) = head.into_response(None).unwrap();
        assert_eq!(
            (response.status(), &rest[..]),
            (StatusCode::SWITCHING_PROTOCOLS, &b"frames"[..])
        );
        assert_eq!(response.headers()["upgrade"], "websocket");
        assert_eq!(response.headers()["x-a"], "b");
        assert_eq!(response.extensions().get::<ReasonPhrase>().unwrap().as_bytes(), b"Own Words");
    }

    #[test]
    fn what_is_no_head_of_an_answer_is_refused() {
        for text in
            ["GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 1x1\r\n\r\n", "HTTP/1.1 101 X\r\na b: c\r\n\r\n"]
        {
            assert!(parsed(text).is_err(), "{text:?}");
        }
        let head = parsed("HTTP/1.1 103 Early Hints\r\n\r\n").unwrap().unwrap();
        assert!(head.into_response(None).is_err());
    }

    #[test]
    fn a_wrong_key_is_refused_and_a_right_one_sent() {
        let accept = HeaderValue::from_static("right");
        let said = |key: &str| {
            let text =
                format!("HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: {key}\r\n\r\n");
            parsed(&text)
                .unwrap()
                .unwrap()
                .into_response(Some(&accept))
                .map(|(response, _)| response)
        };
        assert!(said("wrong").is_err());
        assert_eq!(said("right").unwrap().headers()["sec-websocket-accept"], "right");
    }

    #[test]
    fn of_another_answer_the_front_says_itself_where_it_ends() {
        let text = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 9\r\nX-A: b\r\n\r\nno";
        let (response, rest) = parsed(text).unwrap().unwrap().into_response(None).unwrap();
        assert_eq!((response.status(), &rest[..]), (StatusCode::BAD_REQUEST, &b"no"[..]));
        assert_eq!(response.headers().len(), 1);
    }

    #[tokio::test]
    async fn whoever_does_not_read_stops_the_other_and_nothing_is_lost() {
        let text: Vec<u8> = (0..1_000_000u32).map(|at| at as u8).collect();
        let (mut near, mut from) = tokio::io::duplex(64);
        let (mut to, mut far) = tokio::io::duplex(64);
        let early = Bytes::copy_from_slice(&text[..70_000]);
        let mut copy = Direction::new(early);
        let writes = async {
            use tokio::io::AsyncWriteExt;
            near.write_all(&text[70_000..]).await.unwrap();
            drop(near);
        };
        let copies = poll_fn(|cx| copy.poll(&mut from, &mut to, cx));
        let reads = async {
            let mut got = Vec::new();
            far.read_to_end(&mut got).await.unwrap();
            got
        };
        let ((), copied, got) = tokio::join!(writes, copies, reads);
        copied.unwrap();
        assert_eq!((got.len(), got == text), (text.len(), true));
    }
}
