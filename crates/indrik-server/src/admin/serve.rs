//! Connections of the admin listener: from accept to the last answer.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use indrik_core::admin::access::From;
use indrik_core::logs::level::Level;
use rustix::net::sockopt::socket_peercred;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use super::body::Body;
use super::caller::Caller;
use super::context::Context;
use super::places::{Place, Places};
use super::request::answer;
use super::socket::{Shared, Socket};
use super::stall::Impatient;
use crate::front::Listener;

/// Bytes of a head; more is answered 431.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// How long a head may take to come, the wait for a connection's next one included.
const HEAD_TIME_MAX: Duration = Duration::from_secs(15);
/// How long accepting rests when it fails: the process may be out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long it may take to say that there is no place.
const FAREWELL_TIME_MAX: Duration = Duration::from_millis(200);
/// What a connection is told for which there is no place.
const FULL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
    retry-after: 1\r\nconnection: close\r\ncontent-length: 61\r\n\r\n\
    {\"status\":503,\"error\":\"too many admin connections are open\"}\n";

/// Accepts connections until it is told to stop; those that are there go on.
pub(super) async fn accept(
    listener: Listener,
    context: Arc<Context>,
    places: Places,
    farewells: Arc<Semaphore>,
    mut stop: watch::Receiver<bool>,
) {
    let listener = match Doors::of(listener) {
        Ok(listener) => listener,
        Err(error) => return context.log.error(&format!("Admin: cannot listen: {error}")),
    };
    let mut is_told = false;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        match accepted {
            Ok((stream, caller)) => {
                is_told = false;
                match places.take(caller.from) {
                    Some(place) => admit(stream, caller, &context, place),
                    None => turn_away(stream, &farewells).await,
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_told, true) {
                    context.log.error(&format!(
                        "Admin: cannot accept connections for now: {error}\n  hint: if descriptors are used up, raise \
                         LimitNOFILE or ulimit -n"
                    ));
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

enum Doors {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Doors {
    fn of(listener: Listener) -> io::Result<Self> {
        Ok(match listener {
            Listener::Tcp(socket) => Self::Tcp(TcpListener::from_std(socket)?),
            Listener::Unix(socket, _) => Self::Unix(UnixListener::from_std(socket)?),
        })
    }

    async fn accept(&self) -> io::Result<(Socket, Caller)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are short and written at once.
                let _ = stream.set_nodelay(true);
                let ip = address.ip().to_canonical();
                let from = if ip.is_loopback() { From::Loopback } else { From::Remote };
                Ok((Socket::Tcp(stream), Caller { from, ip: Some(ip), uid: None }))
            }
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let uid = socket_peercred(&stream).ok().map(|peer| peer.uid);
                let is_owner =
                    uid.is_some_and(|uid| uid.is_root() || uid == rustix::process::geteuid());
                let from = if is_owner { From::Owner } else { From::OtherUser };
                let uid = uid.map(rustix::process::Uid::as_raw);
                Ok((Socket::Unix(stream), Caller { from, ip: None::<IpAddr>, uid }))
            }
        }
    }
}

fn admit(socket: Socket, caller: Caller, context: &Arc<Context>, place: Place) {
    let stream = Shared(Arc::new(socket));
    let context = Arc::clone(context);
    let tls = context.tls.load_full().filter(|_| matches!(*stream.0, Socket::Tcp(_)));
    let socket = Arc::clone(&stream.0);
    tokio::spawn(async move {
        let place = Arc::new(place);
        let Some(tls) = tls else {
            return serve(stream, (caller, socket), &context, &place).await;
        };
        // What does not become a connection in time is none; whoever speaks plain HTTP sees it closed.
        let shaken = tokio::time::timeout(HEAD_TIME_MAX, tls.acceptor().accept(stream)).await;
        if let Ok(Ok(stream)) = shaken {
            serve(stream, (caller, socket), &context, &place).await;
        }
    });
}

/// Says that there is no place. Only some are told at once, and the next ones wait for that: they have descriptors as well.
async fn turn_away(socket: Socket, farewells: &Arc<Semaphore>) {
    let Ok(farewell) = Arc::clone(farewells).acquire_owned().await else { return };
    let mut stream = Shared(Arc::new(socket));
    tokio::spawn(async move {
        let _ = tokio::time::timeout(FAREWELL_TIME_MAX, stream.write_all(FULL)).await;
        drop((stream, farewell));
    });
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    (caller, socket): (Caller, Arc<Socket>),
    context: &Arc<Context>,
    place: &Arc<Place>,
) {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        // Who has nothing more to ask may still want the answer.
        .half_close(true);
    let handler = service_fn(|request: Request<Incoming>| {
        let (context, place) = (Arc::clone(context), Arc::clone(place));
        let socket = Arc::clone(&socket);
        let future: Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>> =
            Box::pin(async move {
                let mut response = answer(&context, (caller, socket), request).await;
                if place.is_crowded() {
                    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok(response)
            });
        future
    });
    let served = builder.serve_connection(TokioIo::new(Impatient::new(stream)), handler).await;
    if let Err(error) = served
        && error.is_parse()
    {
        let text = format!("Admin: invalid request from {caller}: {error}");
        context.log.write(Level::Debug, &text);
    }
}
