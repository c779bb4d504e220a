//! One connection that speaks HTTP/2: many requests at a time, each on the path that HTTP/1.1 has.
//!
//! hyper (h2) does the framing and its flow control, and limits what a client can do with resets and
//! continuations. Here a request's head is brought into the form that the request path expects, and
//! a client that takes none of its answers is cut off.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use indrik_core::dispatch::Micros;
use parking_lot::Mutex;
use slab::Slab;
use tokio::time::{MissedTickBehavior, interval};

use super::io::ClientIo;
use super::reaper::{Order, Phase};
use crate::front::body::RequestBody;
use crate::front::clock::{self, micros};
use crate::front::context::ConnectionContext;
use crate::front::pipeline::serve;
use crate::front::response::{Body, BrokenOff};

/// Bytes that all streams of a connection may send ahead together, at least.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Requests that a client may have begun and reset before they were looked at; with more, the connection
/// ends with ENHANCE_YOUR_CALM (CVE-2023-44487). Room for a browser that leaves a large page.
const RESETS_MAX: usize = 256;
/// How often a connection with answers under way looks whether its client takes them.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Serves a connection to its end.
pub(in crate::front) async fn drive(client: &Arc<ConnectionContext>, io: ClientIo) {
    let answers = Arc::new(Answers::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, is_head) = (Arc::clone(&answers), request.method() == Method::HEAD);
        let serving = serve(client, request.map(RequestBody::from));
        async move { serving.await.map(|response| answers.watch(response, is_head)) }
    });
    let policy = &client.settings.http2;
    let mut builder = Builder::new(Spawn);
    builder
        .max_concurrent_streams(policy.streams_max)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .initial_stream_window_size(policy.window_bytes)
        .initial_connection_window_size(policy.window_bytes.max(CONNECTION_WINDOW_BYTES))
        .max_frame_size(policy.frame_bytes_max)
        .max_header_list_size(policy.header_list_bytes_max);
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut look = interval(LOOK_INTERVAL);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_closing = false;
    poll_fn(|cx| {
        match client.watch.poll_order(cx) {
            Order::None | Order::Look | Order::Park => {}
            Order::Close if is_closing || client.watch.is_in_flight() => return Poll::Ready(()),
            Order::Expire if is_closing && !client.watch.is_in_flight() => return Poll::Ready(()),
            // The client learns which of its requests were taken (GOAWAY), and has as long as an
            // idle connection to end the others.
            Order::Close | Order::Expire | Order::Finish => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
                if !client.watch.is_in_flight() {
                    client.watch.set(Phase::Idle);
                }
            }
        }
        if connection.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        // Only then there is something to look at: idle connections wake nobody.
        while answers.are_under_way() && look.poll_tick(cx).is_ready() {
            if answers.stall(client.services.settings().config.write_timeout) {
                return Poll::Ready(());
            }
        }
        Poll::Pending
    })
    .await;
}

/// Every request is a task of its own, on the connection's thread.
#[derive(Clone, Copy)]
struct Spawn;

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Spawn {
    fn execute(&self, task: F) {
        tokio::spawn(task);
    }
}

/// The answers of a connection that are on their way: since when it is the client's turn to take
/// bytes, or 0 while it is the application's to send some.
#[derive(Default)]
struct Answers(Mutex<Slab<Micros>>);

impl Answers {
    fn watch(self: Arc<Self>, response: Response<Body>, is_head: bool) -> Response<Watched> {
        let (parts, body) = response.into_parts();
        let has_none = is_head
            || matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
            || body.is_end_stream();
        // A body that must not be sent is over now.
        let body = (!has_none).then_some(body);
        let key = self.0.lock().insert(0);
        Response::from_parts(parts, Watched { body, key, answers: self })
    }

    fn are_under_way(&self) -> bool {
        !self.0.lock().is_empty()
    }

    /// Whether the client has taken nothing of an answer for longer than `limit`; zero: for ever.
    fn stall(&self, limit: Duration) -> bool {
        let (now, limit) = (clock::coarse(), micros(limit));
        let stands = |since: Micros| since != 0 && now.saturating_sub(since) > limit;
        limit != 0 && self.0.lock().iter().any(|(_, since)| stands(*since))
    }
}

/// A response's body that notes whose turn it is.
struct Watched {
    body: Option<Body>,
    key: usize,
    answers: Arc<Answers>,
}

impl http_body::Body for Watched {
    type Data = Bytes;
    type Error = BrokenOff;

    /// Only asked for more when the client has room for it.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(cx);
        let is_clients_turn = matches!(frame, Poll::Ready(Some(Ok(_))));
        let since = if is_clients_turn { clock::coarse().max(1) } else { 0 };
        if let Some(turn) = self.answers.0.lock().get_mut(self.key) {
            *turn = since;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.answers.0.lock().try_remove(self.key);
    }
}
