//! HTTP/1 on a connection: hyper parses and writes; this drives it and obeys the reaper's orders.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::Cache;
use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{HttpService, service_fn};

use super::io::{ClientIo, Refused};
use super::reaper::{Order, Phase, Watch};
use crate::front::body::RequestBody;
use crate::front::context::{ConnectionContext, RequestContext};
use crate::front::events::Interface;
use crate::front::pipeline::serve;
use crate::front::refusal::log_invalid;
use crate::front::response::Body;

/// Bytes of a head that hyper buffers before it answers 431 by itself.
const HEAD_BUFFER_BYTES_MAX: usize = 256 * 1024;

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
    builder
        .half_close(false)
        .keep_alive(keep_alive)
        .max_headers(context.settings.limits.fields.saturating_add(1))
        .max_buf_size(HEAD_BUFFER_BYTES_MAX);
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
        Ended::Closed(Ok(())) if context.successor.lock().is_some() => {
            Left::Upgraded(parts.io, parts.read_buf)
        }
        Ended::Closed(Ok(())) => Left::Ended(parts.io),
        Ended::Refused(refused) => Left::Refused(parts.io, refused),
        Ended::Late => Left::Late(parts.io),
        // A message that cannot be parsed has been answered; the client may still be writing.
        Ended::Closed(Err(error)) if error.is_parse() => {
            let refused = context.io.refused();
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
    // An ASGI application is told that nobody can send any more; one of WSGI has no ear for it, and its
    // client gets the answer.
    if poll.is_pending()
        && context.io.is_half_closed()
        && context.services.pool.known_interface() == Some(Interface::Asgi)
    {
        context.io.pass_end();
        poll = connection.as_mut().poll_without_shutdown(cx).map(Ended::Closed);
    }
    if matches!(order, Order::Expire | Order::Shed) && poll.is_pending() {
        if watch.phase() == Phase::Idle {
            return Poll::Ready(Ended::CutOff);
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
            Poll::Pending if matches!(order, Order::Expire | Order::Shed) => Poll::Ready(false),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
