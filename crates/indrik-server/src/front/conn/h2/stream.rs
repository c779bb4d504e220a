//! One stream: one request and its answer, in a task of its own on the connection's thread.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use ::h2::server::SendResponse;
use ::h2::{Reason, RecvStream};
use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body::Body as _;

use super::answer::{self, Sent};
use super::receiver::Receiver;
use super::streams::{StreamContext, Streams};
use super::tunnel::Tunnel;
use crate::front::account::Charge;
use crate::front::body::RequestBody;
use crate::front::context::{ConnectionContext, RequestContext};
use crate::front::pipeline::{self, Serving};
use crate::front::response::{self, Body};

/// What a field takes beside its name and its value: its place in the table, and its value's handle.
const FIELD_BYTES: usize = 104;
/// Heads up to this size are covered by what every stream is charged.
const FIELDS_COVERED_BYTES: usize = 4096;

/// Serves a request that has come.
pub(super) fn begin(
    connection: &Arc<ConnectionContext>,
    streams: &Arc<Streams>,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let stream = StreamContext::new(respond, streams);
    let mut charge = Charge::of(connection.watch.holder());
    charge.set(head_bytes(&request));
    let is_head = request.method() == Method::HEAD;
    let (parts, body) = request.into_parts();
    let is_tunnel = parts.extensions.get::<::h2::ext::Protocol>().is_some();
    let (body, tunnel) = if is_tunnel {
        (RequestBody::Empty, Some(Receiver::new(body, streams.held())))
    } else {
        (RequestBody::http2(body, &parts.headers, &stream), None)
    };
    let context = RequestContext::of_stream(connection, &stream);
    let serving = pipeline::serve(context, Request::from_parts(parts, body));
    let connection = Arc::clone(connection);
    match tunnel {
        None => tokio::spawn(async move {
            serve(connection, stream, serving, is_head).await;
            drop(charge);
        }),
        Some(receive) => tokio::spawn(serve_tunnel(connection, stream, (serving, charge), receive)),
    };
}

/// What the fields of a request take, if they are many or long; few are covered by what every stream is charged.
fn head_bytes(request: &Request<RecvStream>) -> usize {
    let fields = request.headers().iter();
    let bytes = fields.map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
    (request.uri().path().len() + bytes.sum::<usize>()).saturating_sub(FIELDS_COVERED_BYTES)
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
    match answer::send(&mut send, body, limit, stream.streams().held()).await {
        Sent::Whole | Sent::NotWanted => {}
        Sent::NotTaken => send.send_reset(Reason::CANCEL),
        Sent::BrokenOff => stream.streams().reset_when_written(send, Reason::INTERNAL_ERROR),
    }
}

async fn serve_tunnel(
    connection: Arc<ConnectionContext>,
    stream: Arc<StreamContext>,
    (serving, head): (Serving, Charge),
    receive: Receiver,
) {
    let Some(response) = answered(&stream, serving).await else { return };
    drop(head);
    let Some(successor) = stream.take_successor() else {
        // Not accepted: an answer as any other.
        return send(&connection, &stream, response, false).await;
    };
    let (head, body) = response.into_parts();
    let Some(send) = stream.send_head(response::http2_head(head, None), false) else { return };
    let leaving = stream.streams().leaving();
    let tunnel = Tunnel::new(send, receive, Arc::clone(stream.streams().held()));
    successor.run(connection, tunnel, leaving).await;
    // With its body, which is empty, the request ends.
    drop(body);
}
