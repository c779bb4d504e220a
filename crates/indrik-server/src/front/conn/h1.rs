//! HTTP/1 on a connection: hyper parses and writes; this drives it and obeys the reaper's orders.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::Cache;
use bytes::Bytes;
use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};

use super::io::{ClientIo, Refused};
use super::reaper::{Order, Phase, Watch};
use crate::front::body::RequestBody;
use crate::front::context::{ConnectionContext, RequestContext};
use crate::front::events::Interface;
use crate::front::metrics;
use crate::front::pipeline::serve;
use crate::front::refusal::log_invalid;
use crate::front::response::Body;

/// Bytes of a head that hyper buffers before it answers 431 by itself.
const HEAD_BUFFER_BYTES_MAX: usize = 256 * 1024;
/// Fields that hyper has places for on its stack. For a number that it is told it allocates places anew with every
/// head, whatever the number is.
const FIELDS_ON_STACK: usize = 100;

/// How hyper's part ended.
pub(super) enum Left {
    /// The connection is idle; its buffers are given back.
    Parked(ClientIo),
    /// It is a WebSocket from here on.
    Upgraded(ClientIo, Bytes),
    /// Everything is answered and written but the head that was refused.
    Refused(ClientIo, Refused),
    /// Everything is answered and written, and the next head is not complete in time.
    Late(ClientIo),
    /// Everything is answered and written.
    Ended(ClientIo),
    /// The client is gone, or was cut off.
    Lost,
}

/// Serves requests until the connection is idle for long, is something else, or ends.
pub(super) async fn drive(connection: &Arc<ConnectionContext>, io: ClientIo) -> Left {
    let context = connection;
    let keep_alive = !context.services.settings().config.keepalive.is_zero();
    let mut builder = http1::Builder::new();
    builder.half_close(false).keep_alive(keep_alive).max_buf_size(HEAD_BUFFER_BYTES_MAX);
    // The screen has counted them: hyper only has to have room.
    let fields = context.settings.limits.fields;
    if fields > FIELDS_ON_STACK {
        builder.max_headers(fields.saturating_add(1));
    }
    // Looked up anew only when a reload has replaced them.
    let settings = RefCell::new(Cache::new(&context.services.settings));
    let handler = service_fn(move |request: Request<Incoming>| {
        let settings = Arc::clone(settings.borrow_mut().load());
        serve(RequestContext::new(context, settings), request.map(RequestBody::from))
    });
    let mut connection = Box::pin(builder.serve_connection(io, handler));
    let ended = poll_fn(|cx| poll_drive(context, connection.as_mut(), cx)).await;
    // hyper's type can be moved again: it is `Unpin`, and done.
    let parts = (*Pin::into_inner(connection)).into_parts();
    match ended {
        Ended::Parked => Left::Parked(unread(parts.io, parts.read_buf)),
        Ended::Expired(order) => {
            let io = unread(parts.io, parts.read_buf);
            if !is_needed(&context.watch, &io, order) {
                return Left::Lost;
            }
            Left::Parked(io)
        }
        Ended::Closed(Ok(())) if context.successor.lock().is_some() => {
            Left::Upgraded(parts.io, parts.read_buf)
        }
        Ended::Closed(Ok(())) => Left::Ended(parts.io),
        Ended::Refused(refused) => Left::Refused(parts.io, refused),
        Ended::Late => Left::Late(parts.io),
        // A message that cannot be parsed has been answered; the client may still be writing.
        Ended::Closed(Err(error)) if error.is_parse() => {
            let refused = context.io.refused();
            if refused.is_none() {
                // Answered by hyper, whose answers are none of the request path's.
                metrics::refused_unread(&Method::default(), StatusCode::BAD_REQUEST);
            }
            let why = refused.map_or_else(|| error.to_string(), |why| why.broken.to_string());
            log_invalid(&context.services.log, &context.peer.address, &why);
            Left::Ended(parts.io)
        }
        // The answer broke off; what was given of it is on its way.
        Ended::Closed(Err(error)) if error.is_user() => Left::Ended(parts.io),
        Ended::Closed(Err(_)) | Ended::CutOff => Left::Lost,
    }
}

enum Ended {
    Parked,
    /// Nothing has come, as far as tokio has heard.
    Expired(Order),
    /// The screen has refused a head, and there is nothing else left to do.
    Refused(Refused),
    /// A head is not complete in time, and there is nothing else left to do.
    Late,
    Closed(hyper::Result<()>),
    CutOff,
}

fn poll_drive<S>(
    context: &ConnectionContext,
    mut connection: Pin<&mut http1::Connection<ClientIo, S>>,
    cx: &mut Context<'_>,
) -> Poll<Ended>
where
    S: HttpService<Incoming, ResBody = Body, Error = Infallible> + Unpin,
    S::Future: Unpin,
{
    let watch = &context.watch;
    let order = watch.poll_order(cx);
    match order {
        Order::Close => return Poll::Ready(Ended::CutOff),
        Order::Park if watch.phase() == Phase::Idle => return Poll::Ready(Ended::Parked),
        // The next answer says that it is the last; closing without one could cross a request.
        Order::None
        | Order::Look
        | Order::Park
        | Order::Finish
        | Order::Expire
        | Order::Shed
        | Order::Late => {}
    }
    let mut poll = connection.as_mut().poll_without_shutdown(cx).map(Ended::Closed);
    if poll.is_pending() && hears_of_end(context) {
        context.io.pass_end();
        poll = connection.as_mut().poll_without_shutdown(cx).map(Ended::Closed);
    }
    if matches!(order, Order::Expire | Order::Shed) && poll.is_pending() {
        if watch.phase() == Phase::Idle {
            return Poll::Ready(Ended::Expired(order));
        }
        if order == Order::Shed {
            watch.stays();
        }
    }
    if order == Order::Late && poll.is_pending() && watch.phase() == Phase::Head {
        return Poll::Ready(if context.io.is_writing() { Ended::CutOff } else { Ended::Late });
    }
    if poll.is_pending()
        && context.io.is_refused()
        && !watch.is_in_flight()
        && let Some(refused) = context.io.refused()
    {
        return Poll::Ready(Ended::Refused(refused));
    }
    poll
}

/// Whether hyper is to hear now that the client has closed its direction. An ASGI application is told that nobody
/// can send any more; one of WSGI has no ear for it, and its client gets the answer. When everything is answered,
/// hyper may have read for the last time while the answer was on its way, and nothing would wake it any more.
fn hears_of_end(context: &ConnectionContext) -> bool {
    let is_answering = context.watch.is_in_flight() || context.io.is_writing();
    context.io.is_half_closed()
        && (!is_answering || context.services.pool.known_interface() == Some(Interface::Asgi))
}

/// Whether an idle connection that is told to close has a request after all: closing would reset it. Whoever
/// reads the socket comes to it.
fn is_needed(watch: &Watch, io: &ClientIo, order: Order) -> bool {
    let has_unread = io.has_unread();
    if has_unread && order == Order::Shed {
        watch.stays();
    }
    has_unread
}

fn unread(mut io: ClientIo, bytes: Bytes) -> ClientIo {
    if !bytes.is_empty() {
        io.unread(bytes);
    }
    io
}

/// Waits, without any buffer, for the next request. False: close.
pub(super) async fn wait_for_bytes(watch: &Watch, io: &ClientIo) -> bool {
    if !io.is_between_requests() {
        watch.waits_for_head(Phase::Idle);
        return true;
    }
    watch.set_parked();
    poll_fn(|cx| {
        let order = watch.poll_order(cx);
        if order == Order::Close {
            return Poll::Ready(false);
        }
        match io.stream().poll_read_ready(cx) {
            Poll::Ready(_) => {
                watch.waits_for_head(Phase::Idle);
                if order == Order::Shed {
                    watch.stays();
                }
                Poll::Ready(true)
            }
            Poll::Pending if matches!(order, Order::Expire | Order::Shed) => {
                let is_needed = is_needed(watch, io, order);
                if is_needed {
                    watch.set(Phase::Idle);
                }
                Poll::Ready(is_needed)
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::net::UnixStream;

    use indrik_core::memory::account::Limits;
    use indrik_core::settings::{ConfigFileValues, Launch, resolve};

    use super::*;
    use crate::front::account::Account;
    use crate::front::conn::io::IoState;
    use crate::front::conn::preamble::{Read, read_some};
    use crate::front::conn::reaper::Connections;
    use crate::front::conn::stream::Stream;
    use crate::front::settings::Settings;

    const IDLE: [Order; 2] = [Order::Expire, Order::Shed];

    fn settings() -> Settings {
        let launch = Launch::bare("/app".into());
        let values = [("wsgi_app".to_owned(), "main:app".into())].into_iter().collect();
        let file = ConfigFileValues { values, ..ConfigFileValues::default() };
        Settings::new(Arc::new(resolve(&launch, Some(&file)).unwrap()), None)
    }

    fn io(stream: Stream, watch: &Arc<Watch>) -> ClientIo {
        ClientIo::new(stream, &settings(), Arc::clone(watch), Arc::new(IoState::default()))
    }

    fn client() -> (UnixStream, Stream, Arc<Watch>) {
        let (client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let account = Account::new(Limits { total: u64::MAX, connection: u64::MAX });
        let watch = Connections::default().add(&account).1;
        (client, Stream::Unix(tokio::net::UnixStream::from_std(ours).unwrap()), watch)
    }

    /// Polls once without letting tokio hear of the socket meanwhile.
    async fn poll_once<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        let mut future = Some(future);
        poll_fn(|cx| Poll::Ready(future.take().map(|future| future.poll(cx)))).await.unwrap()
    }

    #[tokio::test]
    async fn a_request_that_tokio_has_not_heard_of_keeps_its_connection_open() {
        for order in IDLE {
            let (mut client, stream, watch) = client();
            let io = io(stream, &watch);
            let mut waiting = std::pin::pin!(wait_for_bytes(&watch, &io));
            assert!(poll_once(waiting.as_mut()).await.is_pending());
            client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
            watch.give(order);
            assert_eq!(poll_once(waiting.as_mut()).await, Poll::Ready(true), "{order:?}");
        }
    }

    #[tokio::test]
    async fn the_first_bytes_that_tokio_has_not_heard_of_are_read() {
        for order in IDLE {
            let (mut client, mut stream, watch) = client();
            let mut bytes = Vec::new();
            let mut reading = Box::pin(read_some(&mut stream, &watch, &mut bytes));
            assert!(poll_once(reading.as_mut()).await.is_pending());
            client.write_all(b"PRI").unwrap();
            watch.give(order);
            assert!(poll_once(reading.as_mut()).await.is_pending(), "{order:?}");
            assert!(matches!(reading.await, Read::Some));
            assert_eq!(bytes, b"PRI");
        }
    }

    #[tokio::test]
    async fn an_idle_connection_without_a_request_is_closed() {
        for order in IDLE {
            let (client, stream, watch) = client();
            let io = io(stream, &watch);
            let mut waiting = std::pin::pin!(wait_for_bytes(&watch, &io));
            assert!(poll_once(waiting.as_mut()).await.is_pending());
            watch.give(order);
            assert_eq!(poll_once(waiting.as_mut()).await, Poll::Ready(false), "{order:?}");
            drop(client);
        }
    }
}
