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
use http::header::{COOKIE, HOST};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use indrik_core::dispatch::Micros;
use indrik_core::http1::Limits;
use indrik_core::settings::{Config, Http2Cleartext};
use parking_lot::Mutex;
use slab::Slab;
use tokio::time::{MissedTickBehavior, interval};

use super::answer::Refusal;
use super::client_io::{ClientIo, Stream};
use super::preamble::read_some;
use super::request::{Client, serve};
use super::response::{Body, BrokenOff};
use super::sweep::{Order, Phase, Watch};
use super::{clock, micros};

/// What a client sends first (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes that all streams of a connection may send ahead together, at least.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// What 0 (no limit) means as `http2_max_header_list_size`.
const HEADER_LIST_BYTES_MAX: u32 = 1024 * 1024;
/// Requests that a client may have begun and reset before they were looked at; with more, the connection
/// ends with ENHANCE_YOUR_CALM (CVE-2023-44487). Room for a browser that leaves a large page.
const RESETS_MAX: usize = 256;
/// How often a connection with answers under way looks whether its client takes them.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// What the settings say about HTTP/2.
pub(super) struct Http2Policy {
    /// Whether clients without TLS may begin with HTTP/2.
    cleartext: Http2Cleartext,
    streams_max: u32,
    window_bytes: u32,
    frame_bytes_max: u32,
    header_list_bytes_max: u32,
}

impl Http2Policy {
    pub(super) fn new(config: &Config) -> Self {
        let cleartext =
            if config.speaks_http2() { config.http2_cleartext } else { Http2Cleartext::Off };
        let list = config.http2_max_header_list_size;
        Self {
            cleartext,
            streams_max: config.http2_max_concurrent_streams,
            window_bytes: config.http2_initial_window_size,
            frame_bytes_max: config.http2_max_frame_size,
            header_list_bytes_max: match list {
                0 => HEADER_LIST_BYTES_MAX,
                size => size.min(HEADER_LIST_BYTES_MAX),
            },
        }
    }
}

/// How a connection without TLS begins.
pub(super) enum Beginning {
    /// With HTTP/2.
    Http2(Stream),
    /// With something that is not HTTP/2.
    Other(Stream),
    /// With something that is not HTTP/2, which it should be.
    Refused(Stream),
    /// Not at all.
    Lost,
}

impl Http2Policy {
    /// Whether a connection without TLS may begin with HTTP/2. `trusted`: its peer is a proxy of ours.
    pub(super) const fn looks(&self, trusted: bool) -> bool {
        trusted && matches!(self.cleartext, Http2Cleartext::PriorKnowledge | Http2Cleartext::Both)
    }

    /// Reads the first bytes of such a connection.
    pub(super) async fn look(&self, mut stream: Stream, watch: &Watch) -> Beginning {
        let must = self.cleartext == Http2Cleartext::PriorKnowledge;
        let mut bytes = Vec::new();
        while bytes.len() < PREFACE.len() && PREFACE.starts_with(&bytes) {
            if !read_some(&mut stream, watch, &mut bytes).await {
                return Beginning::Lost;
            }
            // The rest has the time of a head.
            watch.set(Phase::Head);
        }
        let is_http2 = bytes.starts_with(PREFACE);
        watch.set(Phase::Idle);
        let stream = Stream::Ahead(Box::new((bytes.into(), stream)));
        match (is_http2, must) {
            (true, _) => Beginning::Http2(stream),
            (false, true) => Beginning::Refused(stream),
            (false, false) => Beginning::Other(stream),
        }
    }
}

/// Serves a connection to its end.
pub(super) async fn drive(client: &Arc<Client>, io: ClientIo) {
    let answers = Arc::new(Answers::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (answers, is_head) = (Arc::clone(&answers), request.method() == Method::HEAD);
        let serving = serve(client, request);
        async move { serving.await.map(|response| answers.watch(response, is_head)) }
    });
    let policy = &client.policy.http2;
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
            Order::None | Order::Park => {}
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
            if answers.stall(client.shared.config().write_timeout) {
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

/// Brings a request's head into the form of HTTP/1.1, in which everything else reads it, and checks
/// what the framing screen checks there. What h2 refuses by itself (fields of HTTP/1.1 connections,
/// pseudo-fields in the wrong place) never comes here.
pub(super) fn take_head(limits: &Limits, parts: &mut Parts) -> Result<(), Refusal> {
    sizes(limits, parts)?;
    if let Some(authority) = parts.uri.authority() {
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| bad("the :authority is malformed"))?;
        match parts.headers.get(HOST) {
            None => {
                parts.headers.insert(HOST, host);
            }
            Some(given) if given.as_bytes().eq_ignore_ascii_case(host.as_bytes()) => {}
            Some(_) => return Err(bad("the Host header is not the :authority")),
        }
    }
    if parts.method != Method::CONNECT {
        let target = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(target.unwrap_or(PathAndQuery::from_static("/")));
    }
    join_cookies(&mut parts.headers);
    Ok(())
}

const fn bad(message: &'static str) -> Refusal {
    Refusal::bad(StatusCode::BAD_REQUEST, message)
}

/// The limits of HTTP/1.1, and RFC 9113 section 8.2.1: no value begins or ends with a space.
fn sizes(limits: &Limits, parts: &Parts) -> Result<(), Refusal> {
    const TOO_LARGE: StatusCode = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target > limits.line {
        return Err(Refusal::bad(StatusCode::URI_TOO_LONG, "the request target is too long"));
    }
    if parts.headers.len() > limits.fields {
        return Err(Refusal::bad(TOO_LARGE, "too many header fields"));
    }
    for (name, value) in &parts.headers {
        let value = value.as_bytes();
        if name.as_str().len() + value.len() > limits.field {
            return Err(Refusal::bad(TOO_LARGE, "a header field is too large"));
        }
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if is_space(value.first()) || is_space(value.last()) {
            return Err(bad("a header's value begins or ends with a space"));
        }
    }
    Ok(())
}

/// RFC 9113 section 8.2.3: cookies may come in several fields, and applications expect one.
fn join_cookies(headers: &mut HeaderMap) {
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if cookies.len() < 2 {
        return;
    }
    // Valid values, joined by valid bytes, are one.
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
        headers.insert(COOKIE, joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { line: 100, fields: 3, field: 30 };

    fn parts(uri: &str, fields: &[(&'static str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn taken(uri: &str, fields: &[(&'static str, &str)]) -> Result<Parts, &'static str> {
        let mut parts = parts(uri, fields);
        take_head(&LIMITS, &mut parts).map_err(|refusal| refusal.message)?;
        Ok(parts)
    }

    #[test]
    fn the_authority_becomes_the_host_and_the_target_is_the_path() {
        let parts = taken("https://example.org:1/a?b", &[]).unwrap();
        assert_eq!(parts.headers[HOST], "example.org:1");
        assert_eq!(parts.uri, "/a?b");
        let parts = taken("https://example.org/", &[("host", "EXAMPLE.org")]).unwrap();
        assert_eq!(parts.headers.get_all(HOST).iter().count(), 1);
        assert!(taken("https://a.org/", &[("host", "b.org")]).is_err());
    }

    #[test]
    fn cookies_in_several_fields_are_one() {
        let parts = taken("https://a/", &[("cookie", "a=1"), ("cookie", "b=2")]).unwrap();
        assert_eq!(parts.headers[COOKIE], "a=1; b=2");
        assert_eq!(parts.headers.get_all(COOKIE).iter().count(), 1);
    }

    #[test]
    fn the_limits_are_those_of_http_1() {
        let long = format!("https://a/{}", "x".repeat(100));
        assert_eq!(taken(&long, &[]).unwrap_err(), "the request target is too long");
        let four = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")];
        assert_eq!(taken("https://a/", &four).unwrap_err(), "too many header fields");
        let large = [("a", "1234567890123456789012345678901")];
        assert_eq!(taken("https://a/", &large).unwrap_err(), "a header field is too large");
        assert!(taken("https://a/", &[("a", " 1")]).unwrap_err().contains("space"));
    }
}
