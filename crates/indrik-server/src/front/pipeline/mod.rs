//! The request path, top to bottom: check, stages, take the body, dispatch, answer.
//!
//! [`serve`] is to be read first. Between the checked head and the workers stands the list of stages that
//! the settings ask for ([`stages`]); what none of them answers becomes a [`Call`] to a worker.

mod affinity;
pub(super) mod call;
mod check;
mod encode;
mod follow;
pub(super) mod forwarding;
mod h2_head;
mod maintenance;
pub(super) mod probe;
mod route;
pub(super) mod scrape;
mod stages;
pub(super) mod target;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version};
use http_body::Body as _;
use indrik_core::memory::account::Measure;
use indrik_core::refusal::Reason;
use indrik_core::time::Micros;
use indrik_ring::Flags;

use super::access_log::{Entry, WebSocketLine};
use super::body::upload::{self, Upload};
use super::body::{Pieces, RequestBody};
use super::clock::{self, micros};
use super::conn::h2::streams::StreamContext;
use super::context::{ConnectionContext, RequestContext};
use super::events::Interface;
use super::exchange::{Event, Exchange};
use super::metrics::{Begun, OpenWebSocket};
use super::refusal::{NO_WORKER, Refusal};
use super::response::{self, Body};
use super::served::Served;
use super::trail::{ReturnedId, Submitted};
use super::ws::{bridge, own};
use call::Call;
use check::Seen;
use stages::Verdict;

/// Serves one request: at once as far as nothing has to be waited for, the rest when polled.
pub(crate) fn serve(mut context: RequestContext, request: Request<RequestBody>) -> Serving {
    let (connection, stream) = (Arc::clone(&context.connection), context.stream.clone());
    let log = &connection.services.access_log;
    let is_logged = log.is_on();
    let is_followed = context.settings.follows;
    let arrived = if is_logged || is_followed { clock::now() } else { clock::coarse() };
    let (mut parts, mut body) = request.into_parts();
    let mut begun = Begun::new(&parts.method, arrived, connection.watch.head_time(arrived));
    connection.watch.begin();
    let asked = Asked { version: parts.version, is_head: parts.method == Method::HEAD };
    let checked = check::head(&context, &mut parts);
    context.notes = route::notes(&context, &parts);
    let marking = context.settings.marking.as_ref();
    let id = marking.and_then(|marking| marking.mark(&connection.peer, &mut parts));
    begun.is_for(context.notes.probe);
    let (peer, is_unlogged) = (&connection.peer, context.notes.is_unlogged);
    let trail = if is_followed { follow::begin(&context, &parts, arrived) } else { None };
    let entry = match is_logged || is_followed {
        true => log.entry(peer, &parts, arrived, (is_unlogged, !body.is_end_stream()), trail),
        false => None,
    };
    if let Some(tap) = entry.as_ref().and_then(|entry| entry.tap()) {
        body = body.tapped(tap);
    }
    let wait = checked.and_then(|seen| match stages::run(&context, &parts) {
        Verdict::Answer(answer) => Ok(Wait::Answered(answer)),
        Verdict::Scrape => {
            Ok(Wait::Later(Box::pin(scrape::answer(context, parts)), Submitted::default()))
        }
        Verdict::GoOn => match maintenance::answer(&context, &parts) {
            Some(answer) => Ok(Wait::Answered(Box::new(answer))),
            None => begin(context, seen, parts, body, arrived),
        },
    });
    let wait = match wait {
        Ok(wait) => wait,
        Err(refusal) => {
            refusal.log(&connection.services.log, &connection.peer);
            Wait::Refused(refusal)
        }
    };
    if let Some(entry) = &entry {
        wait.tell_whereabouts(entry);
    }
    Serving { connection, stream, asked, entry, begun, id, wait }
}

/// Gives a checked request to the pool, if its body is here.
fn begin(
    context: RequestContext,
    seen: Seen,
    parts: Parts,
    body: RequestBody,
    arrived: Micros,
) -> Result<Wait, Refusal> {
    if seen.upgrade || !body.is_end_stream() {
        check::body_size(&context.settings.config, body.size_hint().exact())?;
        let submitted = Submitted::default();
        let later = serve_later(context, parts, body, arrived, Arc::clone(&submitted));
        return Ok(Wait::Later(Box::pin(later), submitted));
    }
    let mut call = Call::new(context, parts, Upload::Memory(Pieces::default()), Flags::NONE);
    call.submit(arrived)?;
    Ok(Wait::Response(call))
}

/// A request that something has to be waited for: what the workers run, or the body.
async fn serve_later(
    context: RequestContext,
    parts: Parts,
    body: RequestBody,
    arrived: Micros,
    submitted: Submitted,
) -> Result<Response<Body>, Refusal> {
    let interface = interface(&context).await?;
    if bridge::is_requested(&parts) && interface == Interface::Asgi {
        return bridge::serve(context, parts, arrived).await;
    }
    if bridge::is_tunnel(&parts) {
        let message = "this application takes WebSockets over HTTP/1.1 only";
        return Err(Refusal::failed(StatusCode::NOT_IMPLEMENTED, message));
    }
    if interface == Interface::Wsgi && own::is_requested(&parts) {
        return own::serve(context, parts, arrived).await;
    }
    let upload = upload::receive(&context, interface, &parts, body).await?;
    let mut call = Call::new(context, parts, upload, Flags::NONE);
    // Waiting for a slow client's body was no fault of ours; the queue's clock starts now.
    call.submit(clock::now())?;
    let _ = submitted.set(Arc::clone(call.exchange()));
    call.response().await
}

/// What the workers run.
async fn interface(context: &RequestContext) -> Result<Interface, Refusal> {
    let limit = context.settings.config.queue_timeout;
    let interface = context.services().pool.interface(limit).await;
    let refusal = || Refusal::unserved(Reason::NoWorker, NO_WORKER).after_waiting(micros(limit));
    interface.ok_or_else(refusal)
}

/// A request being served. Most are one call and one event; those need no future of their own.
pub(crate) struct Serving {
    connection: Arc<ConnectionContext>,
    /// Its stream, in HTTP/2.
    stream: Option<Arc<StreamContext>>,
    asked: Asked,
    entry: Option<Box<Entry>>,
    /// To be returned with the answer.
    id: Option<Box<ReturnedId>>,
    begun: Begun,
    wait: Wait,
}

/// What of the request decides how its answer is framed.
#[derive(Clone, Copy)]
struct Asked {
    version: Version,
    is_head: bool,
}

/// The status of the access log, nginx's, for a request whose client left before it had an answer.
fn client_left() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST)
}

type Answer = Result<Response<Body>, Refusal>;

/// What a request waits for.
#[expect(clippy::large_enum_variant, reason = "nearly every request is the large one: no box")]
enum Wait {
    /// Nothing: it is refused.
    Refused(Refusal),
    /// Nothing: the front answers it.
    Answered(Box<Response<Body>>),
    /// The worker's first event.
    Response(Call),
    /// Anything else.
    Later(Pin<Box<dyn Future<Output = Answer> + Send>>, Submitted),
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
                Wait::Later(future, _) => break ready!(future.as_mut().poll(cx)),
                Wait::Over => return Poll::Pending,
            }
        };
        this.note_if_slow_or_failed(&answer);
        this.wait = Wait::Over;
        let has_left = answer.as_ref().is_err_and(|refusal| this.has_left(refusal.reason, cx));
        Poll::Ready(Ok(this.finish(answer, has_left)))
    }
}

impl Wait {
    /// The first event is not the whole story.
    fn go_on(&mut self, event: Event) {
        if let Self::Response(mut call) = std::mem::replace(self, Self::Over) {
            call.first = Some(event);
            let submitted = Arc::new(OnceLock::from(Arc::clone(call.exchange())));
            *self = Self::Later(Box::pin(async move { call.response().await }), submitted);
        }
    }

    /// Lets a request that is followed be found.
    fn tell_whereabouts(&self, entry: &Entry) {
        entry.comes_to(|| match self {
            Self::Response(call) => Arc::new(OnceLock::from(Arc::clone(call.exchange()))),
            Self::Later(_, submitted) => Arc::clone(submitted),
            Self::Refused(_) | Self::Answered(_) | Self::Over => Submitted::default(),
        });
    }

    /// The exchange with a worker, once there is one.
    fn exchange(&self) -> Option<&Arc<Exchange>> {
        match self {
            Self::Response(call) => Some(call.exchange()),
            Self::Later(_, submitted) => submitted.get(),
            Self::Refused(_) | Self::Answered(_) | Self::Over => None,
        }
    }

    /// Who has the request so far, or for how long it has waited.
    fn served(&self) -> Served {
        self.exchange().map_or(Served::NOBODY, |exchange| match exchange.served() {
            served if served.is_nobody() => {
                Served::nobody_after(clock::now().saturating_sub(exchange.arrived()))
            }
            served => served,
        })
    }
}

/// The request is given up: its client has left, or the connection is closed on our side.
impl Drop for Serving {
    fn drop(&mut self) {
        if matches!(self.wait, Wait::Over) {
            return;
        }
        self.connection.watch.end();
        let served = self.wait.served();
        let entry = self.entry.take();
        let trace = |status, total| entry.as_ref()?.traceable(status, total);
        if self.connection.watch.is_cut() {
            self.begun.over(None, &served, false, trace);
            return;
        }
        self.begun.over(Some(client_left()), &served, false, trace);
        self.connection.services.note_refusal(Reason::ClientLeft);
        if let Some(entry) = entry {
            entry.with_response(client_left(), &HeaderMap::new(), served).write();
        }
    }
}

impl Serving {
    /// The slowest and the failed are kept for a while, for whoever looks.
    fn note_if_slow_or_failed(&self, answer: &Answer) {
        let Some(exchange) = self.wait.exchange() else { return };
        let status = answer.as_ref().map_or_else(|refusal| refusal.status, Response::status);
        let services = &self.connection.services;
        services.recent.answered(exchange, status, &services.route_names);
    }

    /// Whether the client of a refused request has left meanwhile. What it has closed may be its direction only,
    /// so it is sent the refusal all the same.
    fn has_left(&self, reason: Reason, cx: &mut Context<'_>) -> bool {
        let has_waited = reason.is_after_waiting();
        // Its body may have broken off.
        if !has_waited && reason != Reason::Malformed {
            return false;
        }
        match &self.stream {
            Some(stream) => stream.poll_reset(cx).is_ready(),
            None => {
                let ConnectionContext { watch, io, .. } = &*self.connection;
                watch.has_left() || (has_waited && io.is_half_closed())
            }
        }
    }

    /// The last things that every answer gets.
    fn finish(&mut self, answer: Answer, has_left: bool) -> Response<Body> {
        let services = &self.connection.services;
        let mut response = answer.unwrap_or_else(|refusal| {
            services.note_refusal(if has_left { Reason::ClientLeft } else { refusal.reason });
            refusal.into_response()
        });
        let status = if has_left { client_left() } else { response.status() };
        // After a 101 the connection is somebody else's, who says when it closes.
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        // While memory is short, connections that nobody needs are the first thing to go.
        let is_last = services.is_draining() || services.account.measure() >= Measure::Spare;
        if is_last && !is_upgraded {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.asked.version == Version::HTTP_10 {
            response::close_for_http_1_0(&mut response, self.asked.is_head);
        }
        if let Some(id) = self.id.take() {
            id.add_to(response.headers_mut());
        }
        let entry = self.entry.take().map(|entry| {
            let served = response.body().served();
            entry.with_response(status, response.headers(), served)
        });
        let watch = Arc::clone(&self.connection.watch);
        // A WebSocket's line is written when it is over.
        if let Some(stream) = &self.stream
            && stream.has_successor()
        {
            stream.log_to(self.opened(entry));
            response.body_mut().ends(watch, None, None);
        } else if is_upgraded && let Some(successor) = self.connection.successor.lock().as_mut() {
            successor.log_to(self.opened(entry));
            response.body_mut().ends(watch, None, None);
        } else {
            response.body_mut().ends(watch, entry, Some((self.begun, status)));
        }
        response
    }

    /// The request has become a WebSocket, which has the line from now on.
    fn opened(&self, entry: Option<Box<Entry>>) -> WebSocketLine {
        self.begun.is_upgraded();
        WebSocketLine::new(entry, OpenWebSocket::new())
    }
}
