//! The request path, top to bottom: check, take the body, dispatch, answer.

use std::borrow::Cow;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use indrik_core::dispatch::{Fate, Micros, Replay};
use indrik_ring::{Flags, Headers, RequestHead, ResponseHead};
use parking_lot::Mutex;

use super::access_log::Entry;
use super::answer::Refusal;
use super::check::Seen;
use super::client_io::IoState;
use super::exchange::{Event, Exchange, Outgoing};
use super::forwarding::{Via, shown_client};
use super::policy::Policy;
use super::pool::Submitted;
use super::response::{self, Body, FilePart, Stream};
use super::sweep::Watch;
use super::upload::{self, Upload};
use super::ws_bridge::{self, Upgrade};
use super::{Interface, Shared, check, clock};

/// A client's connection, as the request path sees it.
pub(super) struct Client {
    pub(super) shared: Arc<Shared>,
    /// Which listener it came in by.
    pub(super) listener: u16,
    /// Its address, a PROXY header's where there is one; `None` for a Unix socket.
    pub(super) ip: Option<IpAddr>,
    /// The same as text; empty for a Unix socket.
    pub(super) address: String,
    pub(super) port: u16,
    /// What a PROXY header said beside that; empty without one.
    pub(super) proxied: String,
    /// What the settings were when it began.
    pub(super) policy: Arc<Policy>,
    /// Whether the peer is a proxy that may say what its clients are.
    pub(super) trusted: bool,
    pub(super) io: Arc<IoState>,
    pub(super) watch: Arc<Watch>,
    /// What the connection becomes after a 101.
    pub(super) upgrade: Mutex<Option<Upgrade>>,
}

/// Serves one request: at once as far as nothing has to be waited for, the rest when polled.
pub(super) fn serve(client: &Arc<Client>, request: Request<Incoming>) -> Serving {
    client.watch.begin();
    let log = &client.shared.access_log;
    let is_logged = log.is_on();
    let arrived = if is_logged { clock::now() } else { clock::coarse() };
    let (mut parts, body) = request.into_parts();
    let checked = check::head(client, &mut parts);
    let entry = if is_logged { log.entry(client, &parts, arrived) } else { None };
    let begun = checked.and_then(|seen| match probed(client, &parts) {
        Some(answer) => Ok(Wait::Answered(answer)),
        None => begin(client, seen, parts, body, arrived),
    });
    let wait = match begun {
        Ok(wait) => wait,
        Err(refusal) => {
            refusal.log(client);
            Wait::Refused(refusal)
        }
    };
    Serving { client: Arc::clone(client), entry, wait }
}

/// The answer to a probe.
fn probed(client: &Client, parts: &Parts) -> Option<Box<Response<Body>>> {
    let probes = client.policy.probes.as_ref()?;
    probes.answer(parts, &client.shared.standing.load()).map(Box::new)
}

/// Gives a checked request to the pool, if its body is here.
fn begin(
    client: &Arc<Client>,
    seen: Seen,
    parts: Parts,
    body: Incoming,
    arrived: Micros,
) -> Result<Wait, Refusal> {
    if seen.upgrade || !body.is_end_stream() {
        check::body_size(&client.shared.config(), body.size_hint().exact())?;
        return Ok(Wait::Later(Box::pin(serve_later(Arc::clone(client), parts, body, arrived))));
    }
    let mut call = Call::new(client, parts, Upload::Inline(Bytes::new()), Flags::NONE);
    call.submit(arrived)?;
    Ok(Wait::Response(call))
}

/// A request that something has to be waited for: what the workers run, or the body.
async fn serve_later(
    client: Arc<Client>,
    parts: Parts,
    body: Incoming,
    arrived: Micros,
) -> Result<Response<Body>, Refusal> {
    let interface = client.shared.interface().await?;
    if ws_bridge::is_requested(&parts) && interface == Interface::Asgi {
        return ws_bridge::serve(&client, parts, arrived).await;
    }
    let expects = parts.headers.contains_key(EXPECT) && parts.version >= Version::HTTP_11;
    let upload = upload::receive(&client.shared, interface, expects, body).await?;
    let mut call = Call::new(&client, parts, upload, Flags::NONE);
    // Waiting for a slow client's body was no fault of ours; the queue's clock starts now.
    call.submit(clock::now())?;
    call.response().await
}

/// A request being served. Most are one call and one event; those need no future of their own.
pub(super) struct Serving {
    client: Arc<Client>,
    entry: Option<Box<Entry>>,
    wait: Wait,
}

type Answer = Result<Response<Body>, Refusal>;

/// What a request waits for.
enum Wait {
    /// Nothing: it is refused.
    Refused(Refusal),
    /// Nothing: the front answers it.
    Answered(Box<Response<Body>>),
    /// The worker's first event.
    Response(Call),
    /// Anything else.
    Later(Pin<Box<dyn Future<Output = Answer> + Send>>),
    /// It is over.
    Over,
}

impl Future for Serving {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let answer = loop {
            match &mut this.wait {
                Wait::Refused(refusal) => break Err(*refusal),
                Wait::Response(call) => match ready!(call.exchange.poll_next(cx)) {
                    Event::Response { payload, head_len, flags } if !flags.has(Flags::FILE) => {
                        break call.begin_response(&payload, head_len, flags, None);
                    }
                    event => this.wait.go_on(event),
                },
                Wait::Answered(_) => match std::mem::replace(&mut this.wait, Wait::Over) {
                    Wait::Answered(answer) => break Ok(*answer),
                    _ => return Poll::Pending,
                },
                Wait::Later(future) => break ready!(future.as_mut().poll(cx)),
                Wait::Over => return Poll::Pending,
            }
        };
        this.wait = Wait::Over;
        Poll::Ready(Ok(this.finish(answer)))
    }
}

impl Wait {
    /// The first event is not the whole story.
    fn go_on(&mut self, event: Event) {
        if let Self::Response(mut call) = std::mem::replace(self, Self::Over) {
            call.first = Some(event);
            *self = Self::Later(Box::pin(async move { call.response().await }));
        }
    }
}

/// In HTTP/2 a request may be given up while the connection goes on.
impl Drop for Serving {
    fn drop(&mut self) {
        if !matches!(self.wait, Wait::Over) {
            self.client.watch.end();
        }
    }
}

impl Serving {
    /// The last things that every answer gets.
    fn finish(&mut self, answer: Answer) -> Response<Body> {
        let mut response = answer.unwrap_or_else(Refusal::into_response);
        if self.client.shared.is_draining() {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(http::header::CONNECTION, close);
        }
        let entry = self.entry.take().map(|entry| entry.with_response(&response));
        response.body_mut().ends(Arc::clone(&self.client.watch), entry);
        response
    }
}

/// A request on its way through a worker.
pub(super) struct Call {
    client: Arc<Client>,
    exchange: Arc<Exchange>,
    /// The request's map, empty: the response's fields go there, so that one map serves a whole
    /// connection (hyper keeps it between the messages).
    spare_map: HeaderMap,
    stream: Option<Box<Incoming>>,
    pump: Option<upload::Pump>,
    replay: Replay,
    takes_interim: bool,
    /// The body came in a coding that others on the way may have framed differently.
    odd_coding: bool,
    /// An event that was taken out already.
    first: Option<Event>,
    /// Its worker is to go; only a WebSocket is told.
    leaving: bool,
    /// The client's side still waits for the end of it.
    open: bool,
}

impl Call {
    pub(super) fn new(
        client: &Arc<Client>,
        mut parts: Parts,
        upload: Upload,
        flags: Flags,
    ) -> Self {
        let (mut inline, mut file, mut stream) = (Bytes::new(), None, None);
        let flags = flags.with(match upload {
            Upload::Inline(body) => {
                inline = body;
                Flags::END
            }
            Upload::File(body) => {
                file = Some(body);
                Flags::BODY_FILE
            }
            Upload::Stream(body) => {
                stream = Some(body);
                Flags::BODY_STREAM.with(Flags::BODY_WAITS)
            }
        });
        let (head_len, payload) = encode(client, &parts, &inline);
        let limits = &client.policy.time_limits;
        // A WebSocket may stay for as long as it likes.
        let is_limited = !limits.are_off() && !flags.has(Flags::WEBSOCKET);
        let limit = if is_limited { limits.of(parts.uri.path()) } else { 0 };
        let coding = parts.headers.get(TRANSFER_ENCODING);
        let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
        let odd_coding = coding.is_some_and(|coding| !is_chunked(coding));
        parts.headers.clear();
        Self {
            client: Arc::clone(client),
            exchange: Exchange::new(Outgoing { flags, head_len, payload, file }, limit),
            spare_map: parts.headers,
            stream,
            pump: None,
            replay: Replay::new(is_idempotent(&parts.method)),
            // hyper has no way to send one in HTTP/2.
            takes_interim: parts.version == Version::HTTP_11,
            odd_coding,
            first: None,
            leaving: false,
            open: false,
        }
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// The connection has taken the exchange over; dropping the call leaves it alone.
    pub(super) fn hand_over(&mut self) {
        self.open = false;
    }

    /// Whether its worker was told to go before the WebSocket was open.
    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Gives the request to the pool.
    pub(super) fn submit(&mut self, now: Micros) -> Result<(), Refusal> {
        match self.client.shared.pool.submit(&self.exchange, now) {
            Submitted::Accepted => {
                self.open = true;
                Ok(())
            }
            Submitted::Refused => {
                let message = "all workers are busy and the queue is full";
                Err(Refusal::failed(StatusCode::SERVICE_UNAVAILABLE, message))
            }
        }
    }

    /// What the worker answers.
    async fn response(&mut self) -> Result<Response<Body>, Refusal> {
        // The head of a response whose body is a file: held until the file is open.
        let mut held = None;
        loop {
            match self.next().await? {
                Event::Response { payload, head_len, flags } if flags.has(Flags::FILE) => {
                    held = Some((payload, head_len, flags));
                }
                Event::Response { payload, head_len, flags } => {
                    return self.begin_response(&payload, head_len, flags, None);
                }
                event @ (Event::File { .. } | Event::Path { .. }) if held.is_some() => {
                    let (payload, head_len, flags) = held.ok_or_else(|| self.unexpected())?;
                    let file = Box::pin(self.open_file(event)).await?;
                    return self.begin_response(&payload, head_len, flags, Some(file));
                }
                Event::BodyWanted => {
                    if let Some(body) = self.stream.take() {
                        let shared = &self.client.shared;
                        self.pump = Some(upload::pump(shared, &self.exchange, *body));
                    }
                }
                // Nothing else may come before the head.
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// The next event that the interface in use has to deal with; the others are dealt with here.
    pub(super) async fn next(&mut self) -> Result<Event, Refusal> {
        loop {
            let event = match self.first.take() {
                Some(event) => event,
                None => self.exchange.next().await,
            };
            match event {
                Event::Informational { payload } => self.informational(&payload),
                Event::Leaving => self.leaving = true,
                Event::WorkerLost { started } => self.try_again(started)?,
                Event::QueueTimeout => {
                    let message = "no worker was free in time";
                    return Err(Refusal::failed(StatusCode::SERVICE_UNAVAILABLE, message));
                }
                Event::TimedOut { after } => {
                    let shown = self.exchange.outgoing.shown();
                    self.client.shared.log.error(&format!(
                        "Request timed out after {} s: {shown} (client {})",
                        seconds(after),
                        self.client.address
                    ));
                    let message = "the application did not answer in time";
                    return Err(Refusal::failed(StatusCode::GATEWAY_TIMEOUT, message));
                }
                Event::UploadBroken(refusal) => return Err(refusal),
                Event::Failed { message, short } => {
                    if !message.is_empty() {
                        self.client.shared.log.error(&String::from_utf8_lossy(&message));
                    }
                    // An application that miscounts has lost track of the connection: close it.
                    let close = short;
                    let status = StatusCode::INTERNAL_SERVER_ERROR;
                    let worker_pid = self.exchange.worker_pid();
                    return Err(Refusal { close, worker_pid, ..Refusal::failed(status, "") });
                }
                Event::Done => {
                    let shown = self.exchange.outgoing.shown();
                    self.client
                        .shared
                        .log
                        .error(&format!("the application returned no response for {shown}"));
                    return Err(Refusal::failed(StatusCode::INTERNAL_SERVER_ERROR, ""));
                }
                event => return Ok(event),
            }
        }
    }

    /// Opens the file that is the response's body.
    async fn open_file(&self, event: Event) -> Result<FilePart, Refusal> {
        let path = match event {
            Event::File { fd, offset, len } => return Ok(FilePart::new(fd.into(), offset, len)),
            Event::Path { path } => path,
            _ => return Err(self.unexpected()),
        };
        FilePart::open_now(&path).await.map_err(|error| {
            let (file, shown) = (String::from_utf8_lossy(&path), self.exchange.outgoing.shown());
            let text =
                format!("the file {file:?} cannot be sent as the answer to {shown}: {error}");
            self.client.shared.log.error(&text);
            Refusal::failed(StatusCode::INTERNAL_SERVER_ERROR, "")
        })
    }

    pub(super) fn begin_response(
        &mut self,
        payload: &Bytes,
        head_len: usize,
        flags: Flags,
        file: Option<FilePart>,
    ) -> Result<Response<Body>, Refusal> {
        let first = payload.slice(head_len..);
        self.open = false;
        let body = if flags.has(Flags::END) {
            self.exchange.leave();
            Body::full(first)
        } else {
            let pump = self.pump.take();
            Body::stream(Stream::new(&self.client.shared, &self.exchange, first, pump))
        };
        let body = body.answered_by(self.exchange.worker_pid());
        let closes = self.closes() || flags.has(Flags::CLOSE);
        let map = std::mem::take(&mut self.spare_map);
        let response = response::head(payload, head_len, body, closes, map);
        let response = match file {
            Some(file) => response.and_then(|response| response::with_file(response, file)),
            None => response,
        };
        response.map_err(|invalid| {
            let shown = self.exchange.outgoing.shown();
            self.client.shared.log.error(&format!("{} ({shown})", invalid.0));
            Refusal::failed(StatusCode::INTERNAL_SERVER_ERROR, "")
        })
    }

    /// Whether the connection ends with the response: the rest of the body will not be read, or
    /// its end is not beyond doubt.
    const fn closes(&self) -> bool {
        self.stream.is_some() || self.odd_coding
    }

    fn informational(&self, payload: &Bytes) {
        if !self.takes_interim {
            return;
        }
        if let Ok(head) = ResponseHead::decode(payload)
            && let Some(bytes) = interim_response(&head)
        {
            let _ = self.client.io.send_interim(&bytes);
        }
    }

    /// The worker is gone or slow: may another one have the request?
    fn try_again(&mut self, started: bool) -> Result<(), Refusal> {
        self.leaving = false;
        let body_is_here = self.pump.is_none();
        if self.replay.lost(started, body_is_here) == Fate::Failed {
            let message = "the worker ended while it had the request";
            return Err(Refusal::failed(StatusCode::BAD_GATEWAY, message));
        }
        let arrived = self.exchange.arrived();
        let pool = &self.client.shared.pool;
        pool.submit_again(&self.exchange, arrived, clock::now());
        Ok(())
    }

    pub(super) fn unexpected(&self) -> Refusal {
        self.client.shared.log.error("a worker sent something that does not belong there");
        Refusal::failed(StatusCode::INTERNAL_SERVER_ERROR, "")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.open {
            self.client.shared.pool.abandon(&self.exchange);
        }
    }
}

/// What the worker is sent: the head, and the body if it is here. Its own copy, so that hyper has
/// its buffer back while the application works.
fn encode(client: &Client, parts: &Parts, body: &[u8]) -> (usize, Vec<u8>) {
    let (target, via) = (target(parts), Via::of(parts));
    let (address, port) = shown_client(client, via);
    let head = RequestHead {
        version: match parts.version {
            Version::HTTP_10 => 10,
            Version::HTTP_2 => 20,
            _ => 11,
        },
        secure: via.and_then(|via| via.secure).unwrap_or_else(|| client.shared.tls.is_some()),
        listener: client.listener,
        client_port: port,
        method: parts.method.as_str().as_bytes(),
        target: target.as_bytes(),
        client: address.as_bytes(),
        prefix: via.map_or(&[], |via| &via.prefix),
        proxied: client.proxied.as_bytes(),
        headers: Headers::default(),
    };
    let len = indrik_ring::request_len(&head, indrik_ring::headers_len(fields(parts)));
    let mut payload = vec![0; len + body.len()];
    let count = u16::try_from(parts.headers.len()).unwrap_or(u16::MAX);
    indrik_ring::encode_request(&mut payload[..len], &head, count, fields(parts));
    payload[len..].copy_from_slice(body);
    (len, payload)
}

fn fields(parts: &Parts) -> impl Iterator<Item = (&[u8], &[u8])> {
    parts.headers.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()))
}

/// A time for the log.
fn seconds(time: Micros) -> f64 {
    (time / 1_000) as f64 / 1_000.0
}

/// The request target as sent.
pub(super) fn target(parts: &Parts) -> Cow<'_, str> {
    let uri = &parts.uri;
    match (uri.scheme(), uri.authority(), uri.path_and_query()) {
        (None, None, Some(path)) => Cow::Borrowed(path.as_str()),
        (None, Some(authority), None) => Cow::Borrowed(authority.as_str()),
        _ => Cow::Owned(uri.to_string()),
    }
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE]
        .contains(method)
}

/// A 1xx response as bytes; `None` if a field is invalid.
fn interim_response(head: &ResponseHead<'_>) -> Option<Vec<u8>> {
    let mut bytes = format!("HTTP/1.1 {} Early Hints\r\n", head.status).into_bytes();
    for (name, value) in head.headers {
        http::HeaderName::from_bytes(name).ok()?;
        HeaderValue::from_bytes(value).ok()?;
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    Some(bytes)
}

impl Shared {
    /// What the workers run.
    async fn interface(&self) -> Result<Interface, Refusal> {
        let limit = self.config().queue_timeout;
        let interface = self.pool.interface(limit).await;
        let message = "no worker was ready in time";
        interface.ok_or_else(|| Refusal::failed(StatusCode::SERVICE_UNAVAILABLE, message))
    }
}
