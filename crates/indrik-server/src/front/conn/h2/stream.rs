//! One stream: one request and its answer, in a task of its own on the connection's thread.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body::Body as _;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::answer::{self, Sent};
use super::held::Held;
use super::tunnel::Tunnel;
use crate::front::access_log::Entry;
use crate::front::body::RequestBody;
use crate::front::context::{ConnectionContext, RequestContext};
use crate::front::pipeline::{self, Serving};
use crate::front::response::{self, Body};

/// Interim responses that a request may have.
const INTERIM_MAX: u32 = 64;

/// What the streams of a connection and its driver share.
pub(super) struct Streams {
    /// Streams to be reset when all that was handed over for them is written.
    resets: Mutex<Vec<(SendStream<Bytes>, Reason)>>,
    /// Tunnels are to end: the server is.
    leaving: watch::Sender<bool>,
    /// The driver's task; the same for its whole life.
    driver: OnceLock<Waker>,
    held: Held,
}

impl Streams {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            resets: Mutex::default(),
            leaving: watch::Sender::new(false),
            driver: OnceLock::new(),
            held: Held::default(),
        })
    }

    pub(super) const fn held(&self) -> &Held {
        &self.held
    }

    /// Tells tunnels to end, which could go on for ever.
    pub(super) fn leave(&self) {
        self.leaving.send_replace(true);
    }

    /// Notes the driver's task.
    pub(super) fn note_driver(&self, cx: &Context<'_>) {
        self.driver.get_or_init(|| cx.waker().clone());
    }

    /// Has a stream reset once the client has what was handed over for it: a reset drops what waits.
    fn reset_when_written(&self, send: SendStream<Bytes>, reason: Reason) {
        self.resets.lock().push((send, reason));
        if let Some(driver) = self.driver.get() {
            driver.wake_by_ref();
        }
    }

    /// Resets the streams whose turn it is. Returns whether there were some.
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
pub(in crate::front) struct StreamContext {
    respond: Mutex<SendResponse<Bytes>>,
    streams: Arc<Streams>,
    interim_left: AtomicU32,
    /// Who has the stream when its request is accepted as a tunnel.
    successor: Mutex<Option<Box<dyn TunnelSuccessor>>>,
}

/// What a stream becomes when a request for a tunnel (RFC 8441) is accepted.
pub(in crate::front) trait TunnelSuccessor: Send {
    /// Takes the request's line of the access log, to be written when the tunnel is over.
    fn log_to(&mut self, entry: Option<Box<Entry>>);

    /// Has the stream to its end.
    fn run(
        self: Box<Self>,
        connection: Arc<ConnectionContext>,
        tunnel: Tunnel,
        leaving: Leaving,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Ready when a tunnel is to end.
pub(in crate::front) type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

impl StreamContext {
    /// Sends an interim response; one too many, or one that comes too late, is left out.
    pub(in crate::front) fn send_interim(&self, status: StatusCode, mut headers: HeaderMap) {
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
        response::strip_connection_fields(&mut headers);
        let mut interim = Response::new(());
        *interim.status_mut() = status;
        *interim.headers_mut() = headers;
        let _ = self.respond.lock().send_informational(interim);
    }

    /// What the library holds for the connection.
    pub(in crate::front) fn held(&self) -> &Held {
        &self.streams.held
    }

    /// Hands the stream over, once its request is answered.
    pub(in crate::front) fn set_successor(&self, successor: Box<dyn TunnelSuccessor>) {
        *self.successor.lock() = Some(successor);
    }

    /// Gives a request's line of the access log to whoever has the stream from then on; returns it if nobody has.
    pub(in crate::front) fn log_to(&self, entry: Option<Box<Entry>>) -> Option<Box<Entry>> {
        match self.successor.lock().as_mut() {
            Some(successor) => {
                successor.log_to(entry);
                None
            }
            None => entry,
        }
    }

    /// Sends the answer's head; `None`: the stream is over.
    fn send_head(&self, head: Response<()>, is_end: bool) -> Option<SendStream<Bytes>> {
        let mut respond = self.respond.lock();
        let sent = respond.send_response(head, is_end);
        if sent.is_err() {
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
        sent.ok()
    }

    fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.respond.lock().poll_reset(cx).map(|_| ())
    }
}

/// Serves a request that has come.
pub(super) fn begin(
    connection: &Arc<ConnectionContext>,
    streams: &Arc<Streams>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let stream = Arc::new(StreamContext {
        respond: Mutex::new(respond),
        streams: Arc::clone(streams),
        interim_left: AtomicU32::new(INTERIM_MAX),
        successor: Mutex::new(None),
    });
    let is_head = request.method() == Method::HEAD;
    let (parts, body) = request.into_parts();
    let is_tunnel = parts.extensions.get::<::h2::ext::Protocol>().is_some();
    let (body, tunnel) = if is_tunnel {
        (RequestBody::Empty, Some(body))
    } else {
        (RequestBody::http2(body, &parts.headers, &stream), None)
    };
    let context = RequestContext::of_stream(connection, &stream);
    let serving = pipeline::serve(context, Request::from_parts(parts, body));
    let connection = Arc::clone(connection);
    match tunnel {
        None => tokio::spawn(serve(connection, stream, serving, is_head)),
        Some(receive) => tokio::spawn(serve_tunnel(connection, stream, serving, receive)),
    };
}

async fn serve(
    connection: Arc<ConnectionContext>,
    stream: Arc<StreamContext>,
    serving: Serving,
    is_head: bool,
) {
    if let Some(response) = answered(&stream, serving).await {
        send(&connection, &stream, response, is_head).await;
    }
}

/// The answer's head; `None`: the client has given the request up, and the connection may have ended.
async fn answered(stream: &StreamContext, mut serving: Serving) -> Option<Response<Body>> {
    poll_fn(|cx| match Pin::new(&mut serving).poll(cx) {
        Poll::Ready(Ok(response)) => Poll::Ready(Some(response)),
        Poll::Pending => stream.poll_reset(cx).map(|()| None),
    })
    .await
}

/// Sends an answer.
async fn send(
    connection: &ConnectionContext,
    stream: &StreamContext,
    response: Response<Body>,
    is_head: bool,
) {
    let (head, body) = response.into_parts();
    let has_none = is_head
        || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || body.is_end_stream();
    let len = if has_none { None } else { body.size_hint().exact() };
    let Some(mut send) = stream.send_head(response::http2_head(head, len), has_none) else {
        return;
    };
    // A body that must not be sent is over now.
    let Some(body) = (!has_none).then_some(body) else { return };
    let limit = connection.services.settings().config.write_timeout;
    match answer::send(&mut send, body, limit, &stream.streams.held).await {
        Sent::Whole | Sent::NotWanted => {}
        Sent::NotTaken => send.send_reset(Reason::CANCEL),
        Sent::BrokenOff => stream.streams.reset_when_written(send, Reason::INTERNAL_ERROR),
    }
}

async fn serve_tunnel(
    connection: Arc<ConnectionContext>,
    stream: Arc<StreamContext>,
    serving: Serving,
    receive: RecvStream,
) {
    let Some(response) = answered(&stream, serving).await else { return };
    let Some(successor) = stream.successor.lock().take() else {
        // Not accepted: an answer as any other.
        return send(&connection, &stream, response, false).await;
    };
    let (head, body) = response.into_parts();
    let Some(send) = stream.send_head(response::http2_head(head, None), false) else { return };
    let mut leaving = stream.streams.leaving.subscribe();
    let leaving = Box::pin(async move {
        // An end of the connection is an end too.
        let _ = leaving.wait_for(|leaving| *leaving).await;
    });
    successor.run(connection, Tunnel::new(send, receive), leaving).await;
    // With its body, which is empty, the request ends.
    drop(body);
}
