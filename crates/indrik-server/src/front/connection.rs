//! One connection, from its first byte to its last.
//!
//! hyper parses and writes; this drives it, obeys the sweeper's orders, gives the buffers of idle
//! connections back, and closes so that the last answer is not lost.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};
use indrik_core::supervise::Level;
use parking_lot::Mutex;

use super::client_io::{ClientIo, IoState, Stream};
use super::request::{Client, serve};
use super::response::Body;
use super::sweep::{Order, Phase, Watch};
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

/// Where a connection came from.
pub(super) struct Origin {
    pub(super) listener: u16,
    pub(super) address: String,
    pub(super) port: u16,
}

/// Serves a connection to its end.
pub(super) async fn serve_connection(open: Open, stream: Stream, origin: Origin) {
    let (shared, watch) = (Arc::clone(&open.shared), Arc::clone(&open.watch));
    let state = Arc::new(IoState::default());
    let mut io = ClientIo::new(stream, Arc::clone(&watch), Arc::clone(&state));
    let client = Arc::new(Client {
        shared,
        listener: origin.listener,
        address: origin.address,
        port: origin.port,
        io: state,
        watch,
        upgrade: Mutex::new(None),
    });
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
            // Boxed: its buffer would otherwise be part of every connection's task.
            Left::Ended(io) => return Box::pin(linger(io)).await,
            Left::Lost => return,
        }
    }
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

    /// The connection with TLS, if the server has it. `None`: the client did not get through.
    pub(super) async fn secured(&self, stream: Stream, origin: &Origin) -> Option<Stream> {
        let Some(tls) = &self.shared.tls else { return Some(stream) };
        // Boxed, or the handshake's memory would stay a part of every connection's task.
        let handshake = Box::pin(tls.handshake(stream));
        let secured = tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await.ok().flatten();
        if secured.is_none() {
            let text = format!("TLS handshake failed: ip={}", origin.address);
            self.shared.log.write(Level::Debug, &text);
        }
        secured
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
    /// Everything is answered and written.
    Ended(ClientIo),
    /// The client is gone, or was cut off.
    Lost,
}

async fn drive(client: &Arc<Client>, io: ClientIo) -> Left {
    let (headers_max, keep_alive) = {
        let limits = client.shared.config();
        (limits.limit_request_fields, !limits.keepalive.is_zero())
    };
    let mut builder = http1::Builder::new();
    builder
        .half_close(false)
        .keep_alive(keep_alive)
        .max_headers(headers_max.saturating_add(1))
        .max_buf_size(HEAD_BUFFER_BYTES_MAX);
    let handler = service_fn(|request| serve(client, request));
    let mut connection = Box::pin(builder.serve_connection(io, handler));
    let ended = poll_fn(|cx| poll_drive(&client.watch, connection.as_mut(), cx)).await;
    // hyper's type can be moved again: it is `Unpin`, and done.
    let parts = (*Pin::into_inner(connection)).into_parts();
    match ended {
        Ended::Parked => Left::Parked(unread(parts.io, parts.read_buf)),
        Ended::Closed(Ok(())) if client.upgrade.lock().is_some() => {
            Left::Upgraded(parts.io, parts.read_buf)
        }
        Ended::Closed(Ok(())) => Left::Ended(parts.io),
        // A message that cannot be parsed has been answered; the client may still be writing.
        Ended::Closed(Err(error)) if error.is_parse() => {
            let why = client.io.broken().map_or_else(|| error.to_string(), |why| why.to_string());
            let text = format!("Invalid request from ip={}: {why}", client.address);
            client.shared.log.write(Level::Warning, &text);
            Left::Ended(parts.io)
        }
        Ended::Closed(Err(_)) | Ended::CutOff => Left::Lost,
    }
}

enum Ended {
    Parked,
    Closed(hyper::Result<()>),
    CutOff,
}

fn poll_drive<S>(
    watch: &Watch,
    mut connection: Pin<&mut http1::Connection<ClientIo, S>>,
    cx: &mut Context<'_>,
) -> Poll<Ended>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible> + Unpin,
    S::Future: Unpin,
{
    match watch.poll_order(cx) {
        Order::None => {}
        Order::Close => return Poll::Ready(Ended::CutOff),
        Order::Finish => connection.as_mut().graceful_shutdown(),
        Order::Park if watch.phase() == Phase::Idle => return Poll::Ready(Ended::Parked),
        Order::Park => {}
    }
    connection.poll_without_shutdown(cx).map(Ended::Closed)
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
        match watch.poll_order(cx) {
            Order::Close | Order::Finish => return Poll::Ready(false),
            Order::None | Order::Park => {}
        }
        io.stream().poll_read_ready(cx).map(|_| {
            watch.set(Phase::Idle);
            true
        })
    })
    .await
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
