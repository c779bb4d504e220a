//! The streams of a connection: what they share with its driver, and one as the request path sees it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use ::h2::server::SendResponse;
use ::h2::{Reason, SendStream};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Response, StatusCode};
use indrik_core::http2::Begun;
use parking_lot::{Mutex, MutexGuard};
use tokio::sync::watch;

use super::super::reaper::Watch;
use super::held::Held;
use super::tunnel::Tunnel;
use crate::front::access_log::WebSocketLine;
use crate::front::context::ConnectionContext;
use crate::front::response::strip_connection_fields;

/// Interim responses that a request may have.
const INTERIM_MAX: u32 = 64;

/// What the streams of a connection and its driver share.
pub(crate) struct Streams {
    /// Streams to be reset when all that was handed over for them is written.
    resets: Mutex<Vec<(SendStream<Bytes>, Reason)>>,
    /// Tunnels are to end: the server is.
    leaving: watch::Sender<bool>,
    /// The driver's task; the same for its whole life.
    driver: OnceLock<Waker>,
    held: Arc<Held>,
    begun: Mutex<Begun>,
}

impl Streams {
    pub(super) fn new(watch: &Arc<Watch>) -> Arc<Self> {
        Arc::new(Self {
            resets: Mutex::default(),
            leaving: watch::Sender::new(false),
            driver: OnceLock::new(),
            held: Arc::new(Held::new(watch)),
            begun: Mutex::default(),
        })
    }

    pub(crate) const fn held(&self) -> &Arc<Held> {
        &self.held
    }

    /// Those that have become requests.
    pub(super) fn begun(&self) -> MutexGuard<'_, Begun> {
        self.begun.lock()
    }

    /// Tells tunnels to end, which could go on for ever.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Ready when a tunnel is to end.
    pub(crate) fn leaving(&self) -> Leaving {
        let mut leaving = self.leaving.subscribe();
        Box::pin(async move {
            // An end of the connection is an end too.
            let _ = leaving.wait_for(|leaving| *leaving).await;
        })
    }

    /// Notes the driver's task.
    pub(super) fn note_driver(&self, cx: &Context<'_>) {
        self.driver.get_or_init(|| cx.waker().clone());
    }

    /// Has a stream reset once the client has what was handed over for it: a reset drops what waits.
    pub(super) fn reset_when_written(&self, send: SendStream<Bytes>, reason: Reason) {
        self.resets.lock().push((send, reason));
        if let Some(driver) = self.driver.get() {
            driver.wake_by_ref();
        }
    }

    /// Resets the streams that are to be. Returns whether there were some.
    pub(super) fn reset_broken(&self) -> bool {
        let resets = std::mem::take(&mut *self.resets.lock());
        let any = !resets.is_empty();
        for (mut send, reason) in resets {
            send.send_reset(reason);
        }
        any
    }
}

/// A stream as the request path sees it.
pub(crate) struct StreamContext {
    respond: Mutex<SendResponse<Bytes>>,
    streams: Arc<Streams>,
    interim_left: AtomicU32,
    /// Who has the stream when its request is accepted as a tunnel.
    successor: Mutex<Option<Box<dyn TunnelSuccessor>>>,
}

/// What a stream becomes when a request for a tunnel (RFC 8441) is accepted.
pub(crate) trait TunnelSuccessor: Send {
    /// Takes the request's line, to be dropped when the tunnel is over.
    fn log_to(&mut self, line: WebSocketLine);

    /// Has the stream to its end.
    fn run(
        self: Box<Self>,
        connection: Arc<ConnectionContext>,
        tunnel: Tunnel,
        leaving: Leaving,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Ready when a tunnel is to end.
pub(crate) type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl StreamContext {
    pub(super) fn new(respond: SendResponse<Bytes>, streams: &Arc<Streams>) -> Arc<Self> {
        streams.held.begins();
        Arc::new(Self {
            respond: Mutex::new(respond),
            streams: Arc::clone(streams),
            interim_left: AtomicU32::new(INTERIM_MAX),
            successor: Mutex::new(None),
        })
    }

    /// The streams of its connection.
    pub(crate) fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Sends an interim response; one too many, or one that comes too late, is left out.
    pub(crate) fn send_interim(&self, status: StatusCode, mut headers: HeaderMap) {
        // 101 is no interim response of HTTP/2 (RFC 9113 section 8.6), and none has a body.
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return;
        }
        headers.remove(CONTENT_LENGTH);
        let one_less = |left: u32| left.checked_sub(1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        if self.interim_left.fetch_update(set, get, one_less).is_err() {
            return;
        }
        strip_connection_fields(&mut headers);
        let mut interim = Response::new(());
        *interim.status_mut() = status;
        self.streams.held.sends_head(&headers);
        *interim.headers_mut() = headers;
        let _ = self.respond.lock().send_informational(interim);
    }

    /// Hands the stream over, once its request is answered.
    pub(crate) fn set_successor(&self, successor: Box<dyn TunnelSuccessor>) {
        *self.successor.lock() = Some(successor);
    }

    /// Who has the stream from now on, if the request was accepted as a tunnel.
    pub(super) fn take_successor(&self) -> Option<Box<dyn TunnelSuccessor>> {
        self.successor.lock().take()
    }

    /// Whether its request was accepted as a tunnel.
    pub(crate) fn has_successor(&self) -> bool {
        self.successor.lock().is_some()
    }

    /// Gives a request's line to whoever has the stream from then on.
    pub(crate) fn log_to(&self, line: WebSocketLine) {
        if let Some(successor) = self.successor.lock().as_mut() {
            successor.log_to(line);
        }
    }

    /// Sends the answer's head; `None`: the stream is over.
    pub(super) fn send_head(&self, head: Response<()>, is_end: bool) -> Option<SendStream<Bytes>> {
        self.streams.held.sends_head(head.headers());
        let mut respond = self.respond.lock();
        let sent = respond.send_response(head, is_end);
        if sent.is_err() {
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
        sent.ok()
    }

    /// Ready when the client has given the request up, or the connection has ended.
    pub(crate) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.respond.lock().poll_reset(cx).map(|_| ())
    }
}

impl Drop for StreamContext {
    fn drop(&mut self) {
        self.streams.held.ends();
    }
}
