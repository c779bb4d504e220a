//! One request on its way through a worker, until the answer's head is known.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};
use indrik_core::dispatch::{Fate, Replay};
use indrik_core::refusal::Reason;
use indrik_core::route::NO_LIMIT;
use indrik_core::time::Micros;
use indrik_core::upload::{Step, Upload as Decision};
use indrik_ring::{Flags, ResponseHead};

use super::affinity::Affine;
use super::encode::{encode, interim_response};
use crate::front::body::Pieces;
use crate::front::body::pump::{self, Pump};
use crate::front::body::upload::{NO_DESCRIPTOR, Reader, Upload};
use crate::front::clock;
use crate::front::context::RequestContext;
use crate::front::exchange::{Event, Exchange, HandedOver, Outgoing, Permit};
use crate::front::metrics;
use crate::front::pool::Submitted;
use crate::front::refusal::{NO_WORKER, Refusal};
use crate::front::response::{self, Body, FilePart, RestOfUpload, Sent, Stream};

/// A request on its way through a worker.
pub(crate) struct Call {
    context: RequestContext,
    pub(super) exchange: Arc<Exchange>,
    /// The request's map, empty: the response's fields go there, so that one map serves a whole
    /// connection (hyper keeps it between the messages).
    spare_map: HeaderMap,
    /// What becomes of a body that comes in pieces.
    upload: Decision,
    /// Nothing of it was sent yet.
    stream: Option<Box<Reader>>,
    pump: Option<Pump>,
    /// The connection ends with the response.
    closes: bool,
    replay: Replay,
    takes_interim: bool,
    /// The body came in a coding that others on the way may have framed differently.
    odd_coding: bool,
    /// What it has in common with others.
    affine: Affine,
    /// An event that was taken out already.
    pub(crate) first: Option<Event>,
    /// Its worker is to go; only a WebSocket is told.
    leaving: bool,
    /// The client's side still waits for the end of it.
    open: bool,
}

impl Call {
    pub(crate) fn new(
        context: RequestContext,
        mut parts: Parts,
        upload: Upload,
        flags: Flags,
    ) -> Self {
        let (mut inline, mut file, mut stream) = (Pieces::default(), None, None);
        let mut file_bytes = 0;
        let flags = flags.with(match upload {
            Upload::Memory(body) => {
                inline = body;
                Flags::END
            }
            Upload::File(body, bytes) => {
                (file, file_bytes) = (Some(HandedOver::new(body)), bytes);
                Flags::BODY_FILE
            }
            Upload::Stream(first, rest) => {
                inline = first;
                stream = Some(rest);
                Flags::BODY_STREAM.with(Flags::BODY_WAITS)
            }
        });
        let payload = encode(&context, &parts);
        let affine = Affine::of(&context, &parts);
        // A WebSocket may stay for as long as it likes.
        let is_limited = !flags.has(Flags::WEBSOCKET);
        let limit = if is_limited { context.notes.time_limit } else { NO_LIMIT };
        let (odd_coding, is_to_be_asked) = of_body(&parts.headers);
        let upload = match &stream {
            Some(_) => Decision::new(is_to_be_asked, parts.version <= Version::HTTP_11),
            None => Decision::none(),
        };
        parts.headers.clear();
        let key = affine.key;
        let outgoing = Outgoing { flags, payload, body: inline, file, file_bytes, key };
        let exchange = Exchange::new(outgoing, limit, context.connection.watch.holder());
        Self {
            context,
            exchange,
            spare_map: parts.headers,
            upload,
            stream,
            pump: None,
            closes: false,
            replay: Replay::new(is_idempotent(&parts.method)),
            takes_interim: parts.version >= Version::HTTP_11,
            odd_coding,
            affine,
            first: None,
            leaving: false,
            open: false,
        }
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// The connection has taken the exchange over; dropping the call leaves it alone.
    pub(crate) fn hand_over(&mut self) {
        self.open = false;
    }

    /// Whether its worker was told to go before the WebSocket was open.
    pub(crate) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Gives the request to the pool.
    pub(crate) fn submit(&mut self, now: Micros) -> Result<(), Refusal> {
        match self.context.services().pool.submit(&self.exchange, now) {
            Submitted::Accepted => {
                self.open = true;
                Ok(())
            }
            Submitted::Refused => {
                let message = "all workers are busy and the queue is full";
                Err(Refusal::unserved(Reason::QueueFull, message))
            }
            Submitted::ShareFull => {
                let message = "too many requests wait for the worker that this one belongs to";
                Err(Refusal::unserved(Reason::AffinityFull, message))
            }
            Submitted::HeldFull => {
                let message = "the server is paused, and as many requests wait as may";
                Err(Refusal::unserved(Reason::Paused, message))
            }
            Submitted::TooLarge => Err(Refusal::HEAD_TOO_LARGE),
        }
    }

    /// What the worker answers.
    pub(crate) async fn response(&mut self) -> Result<Response<Body>, Refusal> {
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
                Event::File { file, offset, len } if held.is_some() => {
                    let (payload, head_len, flags) = held.ok_or_else(|| self.unexpected())?;
                    let file = Box::pin(self.open_file(Sent { file, offset, len })).await?;
                    return self.begin_response(&payload, head_len, flags, Some(file));
                }
                Event::BodyWanted => {
                    let step = self.upload.wanted();
                    self.perform(step);
                }
                // Nothing else may come before the head.
                _ => return Err(self.unexpected()),
            }
        }
    }

    /// The next event that the interface in use has to deal with; the others are dealt with here.
    pub(crate) async fn next(&mut self) -> Result<Event, Refusal> {
        loop {
            let event = match self.first.take() {
                Some(event) => event,
                None => self.exchange.next().await,
            };
            match event {
                Event::Informational { payload } => self.informational(&payload),
                Event::Leaving => self.leaving = true,
                Event::WorkerLost { started } => self.try_again(started)?,
                Event::QueueTimeout { had_worker: true } => {
                    let message = "no worker was free in time";
                    return Err(self.unserved(Reason::QueueTimeout, message));
                }
                Event::QueueTimeout { had_worker: false } => {
                    return Err(self.unserved(Reason::NoWorker, NO_WORKER));
                }
                Event::InterfaceChanged => {
                    let message = "a reload changed the application's interface meanwhile";
                    return Err(self.unserved(Reason::InterfaceChanged, message));
                }
                Event::TooLarge => return Err(Refusal::HEAD_TOO_LARGE),
                Event::TimedOut { after } => {
                    let shown = self.exchange.outgoing.shown();
                    self.context.services().log.error(&format!(
                        "Request timed out after {} s: {shown} (client {})",
                        seconds(after),
                        self.context.peer().address
                    ));
                    let message = "the application did not answer in time";
                    return Err(self.refusal(StatusCode::GATEWAY_TIMEOUT, message));
                }
                Event::UploadBroken(refusal) => return Err(refusal.of(self.exchange.served())),
                Event::Failed { message, short } => return Err(self.failed(&message, short)),
                Event::Done => {
                    let shown = self.exchange.outgoing.shown();
                    self.context
                        .services()
                        .log
                        .error(&format!("the application returned no response for {shown}"));
                    return Err(self.refusal(StatusCode::INTERNAL_SERVER_ERROR, ""));
                }
                event => return Ok(event),
            }
        }
    }

    /// The answer to a request whose application failed before its head was sent.
    fn failed(&self, message: &Bytes, short: bool) -> Refusal {
        if !message.is_empty() {
            self.context.services().log.error(&String::from_utf8_lossy(message));
        }
        // An application that miscounts has lost track of the connection: close it.
        Refusal { close: short, ..self.refusal(StatusCode::INTERNAL_SERVER_ERROR, "") }
    }

    /// The answer to a request that no worker takes.
    fn unserved(&self, reason: Reason, message: &'static str) -> Refusal {
        let waited = clock::now().saturating_sub(self.exchange.arrived());
        Refusal::unserved(reason, message).after_waiting(waited)
    }

    /// The answer to a request that a worker had.
    fn refusal(&self, status: StatusCode, message: &'static str) -> Refusal {
        Refusal::failed(status, message).of(self.exchange.served())
    }

    /// The file that is the response's body, once there is a place for it.
    async fn open_file(&self, sent: Sent) -> Result<FilePart, Refusal> {
        let services = self.context.services();
        FilePart::open(services, sent).await.map_err(|no_place| {
            let shown = self.exchange.outgoing.shown();
            services.log.error(&no_place.describe(services, &format!("the answer to {shown}")));
            let refusal = Refusal::unserved(Reason::NoDescriptor, NO_DESCRIPTOR);
            refusal.of(self.exchange.served())
        })
    }

    pub(crate) fn begin_response(
        &mut self,
        payload: &Bytes,
        head_len: usize,
        flags: Flags,
        file: Option<FilePart>,
    ) -> Result<Response<Body>, Refusal> {
        let first = payload.slice(head_len..);
        self.exchange.outgoing.let_go_of_file();
        if !flags.has(Flags::END)
            && let Some((message, short)) = self.exchange.take_failure(first.is_empty())
        {
            // Nothing of the answer went out yet.
            return Err(self.failed(&message, short));
        }
        self.open = false;
        if let Some(key) = self.affine.announced(&first) {
            self.context.services().pool.announced(key, &self.exchange, clock::now());
        }
        let body = if flags.has(Flags::END) {
            self.exchange.leave();
            let is_short = self.stream.as_deref().is_none_or(pump::is_short);
            let step = self.upload.answer_ends(is_short);
            self.perform(step);
            Body::full(first)
        } else {
            let upload = self.rest_of_upload();
            if response::may_be_spooled(payload, head_len) {
                let services = Arc::clone(self.context.services());
                self.exchange.permit_spool(Permit::new(services));
            }
            Body::stream(Stream::new(&self.context, &self.exchange, first, upload))
        };
        let body = body.answered_by(self.exchange.served());
        let closes = self.closes() || flags.has(Flags::CLOSE);
        let map = std::mem::take(&mut self.spare_map);
        let response = response::head(payload, head_len, body, closes, map);
        let response = response.map(|mut response| {
            self.affine.add_to(response.headers_mut());
            response
        });
        let response = match file {
            Some(file) => response.and_then(|response| response::with_file(response, file)),
            None => response,
        };
        response.map_err(|invalid| {
            let shown = self.exchange.outgoing.shown();
            self.context.services().log.error(&format!("{} ({shown})", invalid.0));
            self.refusal(StatusCode::INTERNAL_SERVER_ERROR, "")
        })
    }

    /// The rest of the request's body, which the application may read while it answers: on its way, but
    /// for a client that waits to be asked.
    fn rest_of_upload(&mut self) -> Option<RestOfUpload> {
        let step = self.upload.answer_begins();
        self.perform(step);
        if let Some(pump) = self.pump.take() {
            return Some(RestOfUpload::UnderWay { pump, upload: self.upload });
        }
        let body = self.stream.take()?;
        self.closes = true;
        Some(RestOfUpload::Unasked(Box::new((self.context.clone(), *body)), self.upload))
    }

    fn perform(&mut self, step: Step) {
        match step {
            Step::Nothing => {}
            Step::Send | Step::SendOnce => {
                if let Some(body) = self.stream.take() {
                    self.pump = Some(Pump::start(&self.context, &self.exchange, *body));
                } else if let Some(pump) = &mut self.pump {
                    pump.restart(&self.context, &self.exchange);
                }
                if step == Step::SendOnce {
                    self.pump.iter().for_each(Pump::forget);
                }
            }
            Step::LetGo => self.pump.iter().for_each(Pump::forget),
            Step::Stop => self.pump.iter_mut().for_each(Pump::stop),
            Step::Discard => {
                if let Some(body) = self.stream.take() {
                    pump::discard_all(&self.context, *body);
                } else if let Some(pump) = self.pump.take() {
                    pump.discard_rest();
                }
            }
            // What was not read stays: the connection ends with it.
            Step::Drop => self.pump = None,
        }
    }

    /// Whether the connection ends with the response: the rest of the body will not be read, or
    /// its end is not beyond doubt.
    const fn closes(&self) -> bool {
        self.closes || self.stream.is_some() || self.odd_coding
    }

    fn informational(&self, payload: &Bytes) {
        if !self.takes_interim {
            return;
        }
        let Ok(head) = ResponseHead::decode(payload) else { return };
        match &self.context.stream {
            Some(stream) => {
                let mut headers = HeaderMap::new();
                let valid = response::copy_headers(payload, head.headers, &mut headers).is_ok();
                if let (true, Ok(status)) = (valid, StatusCode::from_u16(head.status)) {
                    stream.send_interim(status, headers);
                }
            }
            None => {
                if let Some(bytes) = interim_response(&head) {
                    let _ = self.context.connection.io.send_interim(&bytes);
                }
            }
        }
    }

    /// The worker is gone or slow: may another one have the request?
    fn try_again(&mut self, started: bool) -> Result<(), Refusal> {
        self.leaving = false;
        let step = self.upload.worker_lost();
        self.perform(step);
        let body_is_here = self.pump.as_ref().is_none_or(Pump::holds_all);
        match self.replay.lost(started, body_is_here) {
            Fate::Again if started => metrics::replayed(),
            Fate::Again => {}
            Fate::Failed => {
                let message = "the worker ended while it had the request";
                return Err(self.refusal(StatusCode::BAD_GATEWAY, message));
            }
            Fate::Poison => {
                let shown = self.exchange.outgoing.shown();
                let route = self.context.services().route_names.name(self.exchange.route());
                let route = route.map_or_else(String::new, |route| format!(", route {route}"));
                self.context.services().log.error(&format!(
                    "Poison: {shown} (client {}{route}) was in two workers that ended; it is answered 503 and \
                     not run again",
                    self.context.peer().address
                ));
                return Err(Refusal::POISON.of(self.exchange.served()));
            }
        }
        let arrived = self.exchange.arrived();
        let pool = &self.context.services().pool;
        pool.submit_again(&self.exchange, arrived, clock::now());
        Ok(())
    }

    pub(crate) fn unexpected(&self) -> Refusal {
        self.context.services().log.error("a worker sent something that does not belong there");
        self.refusal(StatusCode::INTERNAL_SERVER_ERROR, "")
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if self.open {
            self.context.services().pool.abandon(&self.exchange);
        }
    }
}

/// Whether a body comes in a coding that others on the way may have framed differently, and whether the
/// client waits to be asked for it: it may send the next request instead. One look at all fields is cheaper
/// than two hashes.
fn of_body(headers: &HeaderMap) -> (bool, bool) {
    let (mut coding, mut expects) = (None, false);
    for (name, value) in headers {
        if name == TRANSFER_ENCODING {
            coding.get_or_insert(value);
        }
        expects |= name == EXPECT;
    }
    let is_chunked = |coding: &HeaderValue| coding.as_bytes().eq_ignore_ascii_case(b"chunked");
    (coding.is_some_and(|coding| !is_chunked(coding)), expects)
}

/// A time for the log.
fn seconds(time: Micros) -> f64 {
    (time / 1_000) as f64 / 1_000.0
}

/// RFC 9110 section 9.2.2.
fn is_idempotent(method: &Method) -> bool {
    [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE, Method::PUT, Method::DELETE]
        .contains(method)
}
