//! One connection, from its first byte to its last.
//!
//! hyper parses and writes; this drives it, obeys the sweeper's orders, gives the buffers of idle
//! connections back, and closes so that the last answer is not lost.

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use indrik_core::http1::Broken;
use indrik_core::proxy::Header;
use indrik_core::supervise::Level;
use parking_lot::Mutex;

use super::answer::Refusal;
use super::client_io::{ClientIo, IoState, Stream};
use super::forwarding::{describe, is_in};
use super::http2::{self, Beginning};
use super::policy::Policy;
use super::preamble::{self, Preamble};
use super::request::{Client, serve};
use super::response::Body;
use super::sweep::{Order, Phase, Watch};
use super::tls::Begun;
use super::{Shared, ws_bridge};

/// Bytes of a head that hyper buffers before it answers 431 by itself.
const HEAD_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// After an answer that ends the connection: bytes of the client that are still read, so that the
/// kernel does not reset the connection under the answer.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// For the whole of a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// For how long the client is read from then.
const LINGER: Duration = Duration::from_secs(2);

/// The version of HTTP on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// 1.0 or 1.1: each request says which.
    Http1,
    Http2,
}

/// Where a connection came from.
pub(super) struct Origin {
    pub(super) listener: u16,
    /// `None` for a Unix socket.
    pub(super) ip: Option<IpAddr>,
    pub(super) port: u16,
}

/// What came before HTTP: a PROXY header, and bytes that were read behind it.
#[derive(Default)]
pub(super) struct Proxied {
    header: Option<Header>,
    first: Bytes,
}

/// Serves a connection to its end.
pub(super) async fn serve_connection(
    open: Open,
    (stream, spoken): (Stream, Spoken),
    origin: Origin,
    proxied: Option<Proxied>,
) {
    let (shared, watch) = (Arc::clone(&open.shared), Arc::clone(&open.watch));
    let state = Arc::new(IoState::default());
    // A handshake is over; the wait for a request begins now.
    watch.begin_waiting();
    let policy = shared.policy.load_full();
    let mut io = ClientIo::new(stream, &policy, Arc::clone(&watch), Arc::clone(&state));
    if spoken == Spoken::Http2 {
        io.stop_screening();
    }
    let client = Arc::new(client(shared, policy, &origin, (state, &watch), proxied, &mut io));
    if spoken == Spoken::Http2 {
        // Boxed: it is large, and most connections have none of it.
        return Box::pin(http2::drive(&client, io)).await;
    }
    loop {
        match drive(&client, io).await {
            Left::Parked(parked) => match wait_for_bytes(&client.watch, &parked).await {
                true => io = parked,
                false => return,
            },
            Left::Upgraded(io, first) => {
                let upgrade = client.upgrade.lock().take();
                if let Some(upgrade) = upgrade {
                    Box::pin(ws_bridge::run(&client, upgrade, io, first)).await;
                }
                return;
            }
            Left::Refused(io, broken) => return Box::pin(refuse(io, broken)).await,
            // Boxed: its buffer would otherwise be part of every connection's task.
            Left::Ended(io) => return Box::pin(linger(io)).await,
            Left::Lost => return,
        }
    }
}

/// The connection as the request path sees it.
fn client(
    shared: Arc<Shared>,
    policy: Arc<Policy>,
    origin: &Origin,
    (state, watch): (Arc<IoState>, &Arc<Watch>),
    proxied: Option<Proxied>,
    io: &mut ClientIo,
) -> Client {
    let (mut ip, mut port, mut description) = (origin.ip, origin.port, String::new());
    if let Some(proxied) = proxied {
        watch.set(Phase::Idle);
        io.take(&proxied.first);
        if let Some(header) = proxied.header {
            description = describe(&header);
            if let Some(ends) = header.ends {
                (ip, port) = (Some(ends.source.ip().to_canonical()), ends.source.port());
            }
        }
    }
    Client {
        trusted: policy.forwarding.trusts(origin.ip),
        policy,
        shared,
        listener: origin.listener,
        ip,
        address: shown(ip),
        port,
        proxied: description,
        io: state,
        watch: Arc::clone(watch),
        upgrade: Mutex::new(None),
    }
}

fn shown(ip: Option<IpAddr>) -> String {
    ip.map_or_else(String::new, |ip| ip.to_string())
}

/// A connection's place in the list, from the moment it is accepted until it is over, however that
/// comes: so the front is never taken for idle while one is on its way to its thread.
pub(super) struct Open {
    shared: Arc<Shared>,
    key: usize,
    watch: Arc<Watch>,
}

impl Open {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        let (key, watch) = shared.connections.add();
        Self { shared: Arc::clone(shared), key, watch }
    }

    /// The PROXY header, if the server reads them: it comes before everything, TLS included. `None`:
    /// the connection is over.
    pub(super) async fn read_preamble(
        &self,
        mut stream: Stream,
        origin: &Origin,
    ) -> Option<(Stream, Option<Proxied>)> {
        let policy = self.shared.policy.load();
        let Some((accepts, peers)) = &policy.forwarding.proxy_protocol else {
            return Some((stream, None));
        };
        let (accepts, may_send) = (*accepts, origin.ip.is_none_or(|ip| is_in(peers, ip)));
        drop(policy);
        let read = preamble::read(&mut stream, &self.watch, accepts, may_send);
        // Boxed, as is the rest: most servers have none of it.
        match Box::pin(read).await {
            Preamble::Http(header, first) if self.shared.tls.is_some() => {
                let stream = Stream::Ahead(Box::new((first, stream)));
                Some((stream, Some(Proxied { header, first: Bytes::new() })))
            }
            Preamble::Http(header, first) => Some((stream, Some(Proxied { header, first }))),
            Preamble::Refused(refusal) => {
                self.refuse(stream, origin, refusal).await;
                None
            }
            Preamble::Lost => None,
        }
    }

    /// The connection with TLS, if the server has it. `None`: the client did not get through.
    pub(super) async fn secured(&self, stream: Stream, origin: &Origin) -> Option<Stream> {
        let Some(tls) = &self.shared.tls else { return Some(stream) };
        // Boxed, or the handshake's memory would stay a part of every connection's task.
        let begin = Box::pin(tls.begin(stream, &self.watch));
        match tokio::time::timeout(HANDSHAKE_LIMIT, begin).await {
            Ok(Begun::Secured(stream)) => Some(stream),
            Ok(Begun::Plain(stream)) => {
                let message = "this port speaks HTTPS; the request was sent as HTTP";
                self.refuse(stream, origin, Refusal::bad(StatusCode::BAD_REQUEST, message)).await;
                None
            }
            Ok(Begun::Lost) | Err(_) => {
                let text = format!("TLS handshake failed: ip={}", shown(origin.ip));
                self.shared.log.write(Level::Debug, &text);
                None
            }
        }
    }

    /// Which version of HTTP the client speaks: by what TLS agreed on, or by its first bytes where the
    /// settings let it begin with HTTP/2. `None`: the connection is over.
    pub(super) async fn version(
        &self,
        stream: Stream,
        origin: &Origin,
        proxied: &mut Option<Proxied>,
    ) -> Option<(Stream, Spoken)> {
        if self.shared.tls.is_some() {
            let spoken = if stream.agreed_on_http2() { Spoken::Http2 } else { Spoken::Http1 };
            return Some((stream, spoken));
        }
        let policy = self.shared.policy.load_full();
        let trusted = policy.forwarding.trusts(origin.ip);
        if !policy.http2.looks(trusted) {
            return Some((stream, Spoken::Http1));
        }
        let stream = match proxied {
            Some(proxied) if !proxied.first.is_empty() => {
                Stream::Ahead(Box::new((std::mem::take(&mut proxied.first), stream)))
            }
            _ => stream,
        };
        match Box::pin(policy.http2.look(stream, &self.watch)).await {
            Beginning::Http2(stream) => Some((stream, Spoken::Http2)),
            Beginning::Other(stream) => Some((stream, Spoken::Http1)),
            Beginning::Refused(stream) => {
                let message = "this port speaks HTTP/2; the connection began with something else";
                self.refuse(stream, origin, Refusal::bad(StatusCode::BAD_REQUEST, message)).await;
                None
            }
            Beginning::Lost => None,
        }
    }

    /// Answers a connection that never came to a request, and closes it.
    async fn refuse(&self, stream: Stream, origin: &Origin, refusal: Refusal) {
        log_invalid(&self.shared, &shown(origin.ip), refusal.message);
        let (policy, watch) = (self.shared.policy.load_full(), Arc::clone(&self.watch));
        let io = ClientIo::new(stream, &policy, watch, Arc::default());
        Box::pin(refuse(io, refusal)).await;
    }

    /// The socket could not be taken over.
    pub(super) fn log_lost(&self, error: &std::io::Error) {
        self.shared.log.error(&format!("A connection could not be served: {error}"));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.connections.remove(self.key);
    }
}

/// How hyper's part ended.
enum Left {
    /// The connection is idle; its buffers are given back.
    Parked(ClientIo),
    /// It is a WebSocket from here on.
    Upgraded(ClientIo, Bytes),
    /// Everything is answered and written but the head that was refused.
    Refused(ClientIo, Refusal),
    /// Everything is answered and written.
    Ended(ClientIo),
    /// The client is gone, or was cut off.
    Lost,
}

async fn drive(client: &Arc<Client>, io: ClientIo) -> Left {
    let keep_alive = !client.shared.config().keepalive.is_zero();
    let mut builder = http1::Builder::new();
    builder
        .half_close(false)
        .keep_alive(keep_alive)
        .max_headers(client.policy.limits.fields.saturating_add(1))
        .max_buf_size(HEAD_BUFFER_BYTES_MAX);
    let handler = service_fn(|request| serve(client, request));
    let mut connection = Box::pin(builder.serve_connection(io, handler));
    let ended = poll_fn(|cx| poll_drive(client, connection.as_mut(), cx)).await;
    // hyper's type can be moved again: it is `Unpin`, and done.
    let parts = (*Pin::into_inner(connection)).into_parts();
    match ended {
        Ended::Parked => Left::Parked(unread(parts.io, parts.read_buf)),
        Ended::Closed(Ok(())) if client.upgrade.lock().is_some() => {
            Left::Upgraded(parts.io, parts.read_buf)
        }
        Ended::Closed(Ok(())) => Left::Ended(parts.io),
        Ended::Refused(broken) => {
            log_invalid(&client.shared, &client.address, broken.message());
            let status = StatusCode::from_u16(broken.status()).unwrap_or(StatusCode::BAD_REQUEST);
            Left::Refused(parts.io, Refusal::bad(status, broken.message()))
        }
        // A message that cannot be parsed has been answered; the client may still be writing.
        Ended::Closed(Err(error)) if error.is_parse() => {
            let why = client.io.broken().map_or_else(|| error.to_string(), |why| why.to_string());
            log_invalid(&client.shared, &client.address, &why);
            Left::Ended(parts.io)
        }
        Ended::Closed(Err(_)) | Ended::CutOff => Left::Lost,
    }
}

fn log_invalid(shared: &Shared, address: &str, why: &str) {
    shared.log.write(Level::Warning, &format!("Invalid request from ip={address}: {why}"));
}

enum Ended {
    Parked,
    /// The screen has refused a head, and there is nothing else left to do.
    Refused(Broken),
    Closed(hyper::Result<()>),
    CutOff,
}

fn poll_drive<S>(
    client: &Client,
    mut connection: Pin<&mut http1::Connection<ClientIo, S>>,
    cx: &mut Context<'_>,
) -> Poll<Ended>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible> + Unpin,
    S::Future: Unpin,
{
    let watch = &client.watch;
    let order = watch.poll_order(cx);
    match order {
        Order::Close => return Poll::Ready(Ended::CutOff),
        Order::Park if watch.phase() == Phase::Idle => return Poll::Ready(Ended::Parked),
        // The next answer says that it is the last; closing without one could cross a request.
        Order::None | Order::Park | Order::Finish | Order::Expire => {}
    }
    let poll = connection.as_mut().poll_without_shutdown(cx).map(Ended::Closed);
    if order == Order::Expire && poll.is_pending() && watch.phase() == Phase::Idle {
        return Poll::Ready(Ended::CutOff);
    }
    if poll.is_pending()
        && client.io.is_refused()
        && !watch.is_in_flight()
        && let Some(broken) = client.io.broken()
    {
        return Poll::Ready(Ended::Refused(broken));
    }
    poll
}

fn unread(mut io: ClientIo, bytes: Bytes) -> ClientIo {
    if !bytes.is_empty() {
        io.unread(bytes);
    }
    io
}

/// Waits, without any buffer, for the next request. False: close.
async fn wait_for_bytes(watch: &Watch, io: &ClientIo) -> bool {
    if !io.is_between_requests() {
        watch.set(Phase::Idle);
        return true;
    }
    watch.set_parked();
    poll_fn(|cx| {
        let order = watch.poll_order(cx);
        if order == Order::Close {
            return Poll::Ready(false);
        }
        match io.stream().poll_read_ready(cx) {
            Poll::Ready(_) => {
                watch.set(Phase::Idle);
                Poll::Ready(true)
            }
            Poll::Pending if order == Order::Expire => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Answers what the screen refused, and closes.
async fn refuse(mut io: ClientIo, refusal: Refusal) {
    let page = refusal.into_bytes();
    if let Ok(Ok(())) = tokio::time::timeout(LINGER, io.write_all(&page)).await {
        linger(io).await;
    }
}

/// Closes our direction, and reads a little of what the client still sends: closing with unread
/// bytes would reset the connection and could destroy the answer on its way.
async fn linger(mut io: ClientIo) {
    let close = async {
        let _ = poll_fn(|cx| hyper::rt::Write::poll_shutdown(Pin::new(&mut io), cx)).await;
        if !io.is_at_end() {
            io.discard(LINGER_BYTES_MAX).await;
        }
    };
    let _ = tokio::time::timeout(LINGER, close).await;
}
