//! What comes before HTTP on a connection: its place in the list, a PROXY header, TLS, and which version
//! of HTTP the client speaks.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use indrik_core::logs::level::Level;
use indrik_core::proxy::Header;

use super::cleartext::{self, Beginning};
use super::close;
use super::io::ClientIo;
use super::preamble::{self, Preamble};
use super::reaper::Watch;
use super::stream::Stream;
use super::tls::Begun;
use crate::front::account::{CONNECTION_BYTES, Charge, Holder};
use crate::front::descriptors::Reserved;
use crate::front::metrics::{self, Handshake};
use crate::front::peer::Peer;
use crate::front::pipeline::forwarding::is_in;
use crate::front::refusal::Refusal;
use crate::front::services::Services;

/// What a connection is charged while its buffers are given back.
const PARKED_BYTES: usize = 4 * 1024;
/// For the whole of a TLS handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// The version of HTTP on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// 1.0 or 1.1: each request says which.
    Http1,
    Http2,
}

/// Where a connection came from.
pub(crate) struct Origin {
    pub(crate) listener: u16,
    /// `None` for a Unix socket.
    pub(crate) ip: Option<IpAddr>,
    pub(crate) port: u16,
}

/// What came before HTTP: a PROXY header, and bytes that were read behind it.
#[derive(Default)]
pub(crate) struct Proxied {
    pub(super) header: Option<Header>,
    pub(super) first: Bytes,
}

/// A connection's place in the list, from the moment it is accepted until it is over, however that
/// comes: so the front is never taken for idle while one is on its way to its thread.
pub(crate) struct Open {
    pub(super) services: Arc<Services>,
    key: usize,
    pub(super) watch: Arc<Watch>,
    /// What it takes by being there.
    base: Charge,
    /// Its place among the descriptors; given back after it has left the list.
    _place: Reserved,
}

impl Open {
    pub(crate) fn new(services: &Arc<Services>, place: Reserved) -> Self {
        let (key, watch) = services.connections.add(&services.account);
        let mut base = Charge::of(watch.holder());
        base.set(CONNECTION_BYTES);
        Self { services: Arc::clone(services), key, watch, base, _place: place }
    }

    /// Runs what serves it to its end, or until it is cut for the memory it holds.
    pub(crate) async fn run(holder: Arc<Holder>, serving: impl Future<Output = ()>) {
        let mut serving = pin!(serving);
        poll_fn(|cx| match holder.is_cut() {
            true => Poll::Ready(()),
            false => serving.as_mut().poll(cx),
        })
        .await;
    }

    /// What it holds of memory.
    pub(crate) fn holder(&self) -> &Arc<Holder> {
        self.watch.holder()
    }

    /// Its buffers are given back.
    pub(super) fn is_parked(&mut self) {
        self.base.set(PARKED_BYTES);
    }

    /// It gets buffers again, as soon as there is room for them. False: it is to close before that.
    pub(super) async fn unpark(&mut self) -> bool {
        let room = poll_fn(|cx| self.watch.holder().poll_room(0, cx));
        let has_room = self.watch.unless_closed(room).await.is_some();
        self.base.set(CONNECTION_BYTES);
        has_room
    }

    /// The PROXY header, if the server reads them: it comes before everything, TLS included. `None`:
    /// the connection is over.
    pub(crate) async fn read_preamble(
        &self,
        mut stream: Stream,
        origin: &Origin,
    ) -> Option<(Stream, Option<Proxied>)> {
        let settings = self.services.settings();
        let Some((accepts, peers)) = &settings.forwarding.proxy_protocol else {
            return Some((stream, None));
        };
        let (accepts, may_send) = (*accepts, origin.ip.is_none_or(|ip| is_in(peers, ip)));
        drop(settings);
        let read = preamble::read(&mut stream, &self.watch, accepts, may_send);
        // Boxed, as is the rest: most servers have none of it.
        match Box::pin(read).await {
            Preamble::Http(header, first) if self.services.tls.is_some() => {
                let stream = Stream::Ahead(Box::new((first, stream, 0)));
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
    pub(crate) async fn secured(&self, stream: Stream, origin: &Origin) -> Option<Stream> {
        let Some(tls) = &self.services.tls else { return Some(stream) };
        // Boxed, or the handshake's memory would stay a part of every connection's task.
        let begin = Box::pin(tls.begin(stream, &self.watch));
        match tokio::time::timeout(HANDSHAKE_LIMIT, begin).await {
            Ok(Begun::Secured(stream)) => Some(stream),
            Ok(Begun::Plain(stream)) => {
                let message = "this port speaks HTTPS; the request was sent as HTTP";
                self.refuse(stream, origin, Refusal::bad(StatusCode::BAD_REQUEST, message)).await;
                None
            }
            lost @ (Ok(Begun::Lost) | Err(_)) => {
                if lost.is_err() {
                    metrics::handshake(Handshake::Late);
                }
                let text = format!("TLS handshake failed: ip={}", shown(origin.ip));
                self.services.log.write(Level::Debug, &text);
                None
            }
        }
    }

    /// Which version of HTTP the client speaks: by what TLS agreed on, or by its first bytes where the
    /// settings let it begin with HTTP/2. `None`: the connection is over.
    pub(crate) async fn version(
        &self,
        stream: Stream,
        origin: &Origin,
        proxied: &mut Option<Proxied>,
    ) -> Option<(Stream, Spoken)> {
        if self.services.tls.is_some() {
            let spoken = if stream.agreed_on_http2() { Spoken::Http2 } else { Spoken::Http1 };
            return Some((stream, spoken));
        }
        let settings = self.services.settings.load_full();
        let trusted = settings.forwarding.trusts(origin.ip);
        if !cleartext::is_looked_for(&settings.http2, trusted) {
            return Some((stream, Spoken::Http1));
        }
        let stream = match proxied {
            Some(proxied) if !proxied.first.is_empty() => {
                Stream::Ahead(Box::new((std::mem::take(&mut proxied.first), stream, 0)))
            }
            _ => stream,
        };
        match Box::pin(cleartext::look(&settings.http2, stream, &self.watch)).await {
            Beginning::Http2(stream) => Some((stream, Spoken::Http2)),
            Beginning::Other(stream) => Some((stream, Spoken::Http1)),
            Beginning::Refused(stream) => {
                let message = "this port speaks HTTP/2; the connection began with something else";
                self.refuse(stream, origin, Refusal::bad(StatusCode::BAD_REQUEST, message)).await;
                None
            }
            Beginning::Late(stream) => {
                let message = "the beginning of HTTP/2 did not arrive in time";
                let refusal = Refusal { message, ..Refusal::LATE_HEAD };
                self.refuse(stream, origin, refusal).await;
                None
            }
            Beginning::Lost => None,
        }
    }

    /// Answers a connection that never came to a request, and closes it.
    async fn refuse(&self, stream: Stream, origin: &Origin, refusal: Refusal) {
        let (settings, watch) = (self.services.settings.load_full(), Arc::clone(&self.watch));
        let io = ClientIo::new(stream, &settings, watch, Arc::default());
        let peer = Peer {
            listener: origin.listener,
            ip: origin.ip,
            address: shown(origin.ip),
            port: origin.port,
            ..Peer::default()
        };
        Box::pin(close::refuse(&self.services, &peer, io, &[], refusal)).await;
    }

    /// The socket could not be taken over.
    pub(crate) fn log_lost(&self, error: &std::io::Error) {
        self.services.log.error(&format!("A connection could not be served: {error}"));
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.services.connections.remove(self.key);
    }
}

/// An address as text; empty for a Unix socket.
pub(super) fn shown(ip: Option<IpAddr>) -> String {
    ip.map_or_else(String::new, |ip| ip.to_string())
}
