//! One connection that speaks HTTP/2: many requests at a time, each on the path that HTTP/1.1 has.
//!
//! The library (h2) does the framing and its flow control, and limits what a client can do with continuations
//! and broken streams. Here it is driven: requests become tasks ([`stream`]), which answer as far as the client
//! has room ([`answer`]); what a client may send beside messages is counted ([`io`]); and the connection ends
//! in a way by which no request is lost.

mod answer;
mod held;
mod io;
pub(crate) mod receiver;
mod stream;
pub(crate) mod streams;
pub(crate) mod tunnel;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use ::h2::server::{Builder, Connection, Handshake};
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use http::{Method, Request};
use indrik_core::http2::{Drain, Step};
use indrik_core::time::Micros;
use tokio::time::{Interval, MissedTickBehavior, Sleep, interval, sleep};

use self::io::{FrameIo, Notes};
use self::streams::Streams;
use super::io::ClientIo;
use super::reaper::{Order, Phase};
use crate::front::clock::{self, micros};
use crate::front::context::ConnectionContext;
use crate::front::events::Interface;
use crate::front::metrics;
use crate::front::refusal::{Refusal, log_invalid};

/// Bytes that all streams of a connection may send ahead together, at least.
const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;
/// Bytes of an answer that wait in the library for the socket.
const SEND_BYTES_MAX: usize = 128 * 1024;
/// What small DATA frames that nobody has taken yet may lack together, to 256 bytes each; with more the connection
/// ends, with all its streams. 16,000 frames of a byte: the library's own 2,000 are a second of small messages. Each is
/// charged to the connection as well ([`Held`](held::Held)).
const SMALL_DATA_MAX: usize = 4 * 1024 * 1024;
/// Requests that a client may have begun and reset before they were looked at; with more, the connection
/// ends with ENHANCE_YOUR_CALM (CVE-2023-44487). Room for a browser that leaves a large page.
const RESETS_MAX: usize = 256;
/// How often a connection looks whether its time to end has come, while the server drains.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);
/// How long a connection that ends may take for its last words; with the time for a client to close as well.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// The same for one that makes room for others: its last words are written if the socket takes them at once, and
/// the client is not waited for, as in HTTP/1.1.
const SHED_LIMIT: Duration = Duration::ZERO;
/// The same for one that is to be closed at once.
const CLOSE_NOW_LIMIT: Duration = Duration::from_millis(100);

/// Serves a connection to its end.
pub(crate) async fn drive(client: &Arc<ConnectionContext>, io: ClientIo) {
    let notes = Arc::new(Notes::default());
    // What a client says first has the time of a request's head.
    client.watch.set(Phase::Head);
    let streams = Streams::new(&client.watch);
    let fields_max = client.settings.http2.library_list_bytes_max as usize;
    let io = FrameIo::new(io, &client.watch, (&notes, &streams), fields_max);
    let Some(connection) = begun(client, builder(client).handshake(io)).await else { return };
    let mut driver = Driver {
        client: Arc::clone(client),
        connection,
        notes,
        streams,
        drain: None,
        last_request_at: 0,
        is_asked: false,
        closing: None,
    };
    poll_fn(|cx| driver.poll(cx)).await;
}

fn builder(client: &ConnectionContext) -> Builder {
    let policy = &client.settings.http2;
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(policy.streams_max)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .initial_window_size(policy.window_bytes)
        .initial_connection_window_size(connection_window(client))
        .max_frame_size(policy.frame_bytes_max)
        .data_frame_budget(SMALL_DATA_MAX)
        .max_header_list_size(policy.library_list_bytes_max);
    // A browser that reads this opens its WebSockets here, so it is only said where they are taken.
    if client.services.pool.known_interface() == Some(Interface::Asgi) {
        builder.enable_connect_protocol();
    }
    builder
}

fn connection_window(client: &ConnectionContext) -> u32 {
    client.settings.http2.window_bytes.max(CONNECTION_WINDOW_BYTES)
}

/// The connection, once the client has begun as it must; `None`: it did not.
async fn begun(
    client: &ConnectionContext,
    mut handshake: Handshake<FrameIo, Bytes>,
) -> Option<Connection<FrameIo, Bytes>> {
    poll_fn(|cx| {
        match client.watch.poll_order(cx) {
            Order::Close => return Poll::Ready(None),
            Order::Late => {
                let why = "the beginning of HTTP/2 did not arrive in time";
                log_invalid(&client.services.log, &client.peer.address, why);
                client.services.note_refusal(Refusal::LATE_HEAD.reason);
                return Poll::Ready(None);
            }
            // It was idle a moment ago; since then it has the time of a head.
            Order::Shed => client.watch.stays(),
            Order::None | Order::Look | Order::Park | Order::Finish | Order::Expire => {}
        }
        Pin::new(&mut handshake).poll(cx).map(Result::ok)
    })
    .await
}

/// One connection.
struct Driver {
    client: Arc<ConnectionContext>,
    connection: Connection<FrameIo, Bytes>,
    notes: Arc<Notes>,
    streams: Arc<Streams>,
    /// The server ends.
    drain: Option<Draining>,
    /// When the last request came.
    last_request_at: Micros,
    /// The client was asked to bring no more requests.
    is_asked: bool,
    /// The last word is on its way; until when.
    closing: Option<Pin<Box<Sleep>>>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.streams.held().is_over();
    }
}

/// The end of the server, as a connection goes through it.
struct Draining {
    drain: Drain,
    look: Interval,
    /// Since when no request is under way.
    idle_since: Option<Micros>,
}

impl Driver {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.streams.note_driver(cx);
        let order = self.client.watch.poll_order(cx);
        let is_writing = self.client.watch.phase() == Phase::Writing;
        let is_over = match order {
            Order::Close | Order::Late => is_writing || self.closing.is_some(),
            Order::Shed => self.closing.is_some(),
            Order::None | Order::Look | Order::Park | Order::Finish | Order::Expire => false,
        };
        if is_over {
            // The last word is said, or would not reach the client.
            return Poll::Ready(());
        }
        if matches!(order, Order::Expire | Order::Shed) {
            self.notes.ask_for_unread();
        }
        let mut order = Some(order);
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => self.begin(request, respond),
                Poll::Ready(Some(Err(error))) => {
                    self.tell_of(&error);
                    return Poll::Ready(());
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {
                    if let Some(closing) = &mut self.closing {
                        return closing.as_mut().poll(cx);
                    }
                    self.account();
                    self.tell_of_refused();
                    let goes_on = self.calm_down()
                        || self.reset_broken()
                        || order.take().is_some_and(|order| self.obey(order))
                        || self.drain(cx);
                    if !goes_on {
                        return Poll::Pending;
                    }
                }
            }
        }
    }

    fn begin(&mut self, request: Request<RecvStream>, respond: ::h2::server::SendResponse<Bytes>) {
        self.last_request_at = clock::coarse();
        self.streams.begun().begins(respond.stream_id().as_u32());
        stream::begin(&self.client, &self.streams, request, respond);
    }

    /// Says why a connection ended whose client does not keep to the rules, as the library found.
    fn tell_of(&self, error: &::h2::Error) {
        if error.is_library() && error.is_go_away() {
            let why = format!("the connection broke the rules of HTTP/2: {error}");
            log_invalid(&self.client.services.log, &self.client.peer.address, &why);
        }
    }

    /// Says which requests the library has answered by itself. What they were is known to it only.
    fn tell_of_refused(&self) {
        let (services, peer) = (&self.client.services, &self.client.peer);
        for _ in 0..self.notes.take_refused() {
            let why = "the header fields are too large together, by far";
            log_invalid(&services.log, &peer.address, why);
            metrics::refused_unread(&Method::default(), Refusal::HEAD_TOO_LARGE.status);
            services.note_refusal(indrik_core::refusal::Reason::HeadTooLarge);
        }
    }

    /// Says that nothing waits any more but for the client's windows, and for the requests. While the socket takes
    /// nothing, the library may not look at what has come either.
    fn account(&self) {
        if self.client.watch.phase() != Phase::Writing {
            self.streams.held().is_idle();
        }
    }

    /// Ends a connection whose client sends too much of what carries nothing. This and what follows say
    /// whether the connection has something new to do.
    fn calm_down(&mut self) -> bool {
        let Some(flood) = self.notes.flood() else { return false };
        log_invalid(&self.client.services.log, &self.client.peer.address, flood.message());
        self.close(Reason::ENHANCE_YOUR_CALM, CLOSE_LIMIT);
        true
    }

    /// Resets what broke off, once the client has all that was handed over before.
    fn reset_broken(&self) -> bool {
        // All that has room is written, but for what the socket does not take.
        self.client.watch.phase() != Phase::Writing && self.streams.reset_broken()
    }

    fn obey(&mut self, order: Order) -> bool {
        match order {
            Order::Close => self.close(Reason::NO_ERROR, CLOSE_NOW_LIMIT),
            Order::Late => {
                let (services, peer) = (&self.client.services, &self.client.peer);
                log_invalid(&services.log, &peer.address, Refusal::LATE_HEAD.message);
                services.note_refusal(Refusal::LATE_HEAD.reason);
                self.close(Reason::NO_ERROR, CLOSE_LIMIT);
            }
            // What lies unread may be a request.
            Order::Expire | Order::Shed if self.notes.has_unread() => {
                if order == Order::Shed {
                    self.client.watch.stays();
                }
                return false;
            }
            Order::Expire if self.is_idle() => self.close(Reason::NO_ERROR, CLOSE_LIMIT),
            Order::Shed if self.is_idle() => self.close(Reason::NO_ERROR, SHED_LIMIT),
            Order::Shed => {
                self.client.watch.stays();
                return false;
            }
            // The end of the server is looked at in `drain`.
            Order::Expire | Order::Finish | Order::None | Order::Look | Order::Park => {
                return false;
            }
        }
        true
    }

    /// While the server drains: the connection ends when it has no requests.
    fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        if !self.client.services.is_draining() {
            // An old server that was to be replaced may stay after all.
            self.drain = None;
            return false;
        }
        let (is_idle, now) = (self.is_idle(), clock::now());
        let draining = self.drain.get_or_insert_with(|| {
            self.streams.leave();
            let limit = self.client.services.settings().config.graceful_timeout;
            let mut look = interval(LOOK_INTERVAL);
            look.set_missed_tick_behavior(MissedTickBehavior::Delay);
            Draining { drain: Drain::new(now, micros(limit)), look, idle_since: None }
        });
        while draining.look.poll_tick(cx).is_ready() {}
        let last_at = if is_idle {
            *draining.idle_since.get_or_insert(now)
        } else {
            draining.idle_since = None;
            self.last_request_at
        };
        match draining.drain.step(now, !is_idle, last_at) {
            Step::Stay => false,
            Step::Close => {
                self.close(Reason::NO_ERROR, CLOSE_LIMIT);
                true
            }
            Step::Ask => {
                self.connection.graceful_shutdown();
                !std::mem::replace(&mut self.is_asked, true)
            }
        }
    }

    /// Whether no request is under way.
    fn is_idle(&self) -> bool {
        !self.client.watch.is_in_flight() && !self.connection.has_streams()
    }

    /// Says which request was the last one taken, and ends the connection.
    fn close(&mut self, reason: Reason, limit: Duration) {
        self.connection.abrupt_shutdown(reason);
        self.closing = Some(Box::pin(sleep(limit)));
    }
}
