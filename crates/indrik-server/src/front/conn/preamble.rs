//! What may come before the first request of a connection: a PROXY header.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http::StatusCode;
use indrik_core::proxy::{Accepts, Found, Header, read_header};
use tokio::io::{AsyncRead, ReadBuf};

use super::reaper::{Order, Phase, Watch};
use super::stream::Stream;
use crate::front::refusal::Refusal;

/// Bytes read at once.
const READ_BYTES: usize = 1024;

/// How a connection begins.
pub(crate) enum Preamble {
    /// With the PROXY header, if there is one; the bytes behind it were read too.
    Http(Option<Header>, Bytes),
    /// With something that is refused.
    Refused(Refusal),
    /// Not at all.
    Lost,
}

/// Reads a PROXY header, if there is one. The reaper ends it when that takes longer than a
/// request's head may.
pub(crate) async fn read(
    stream: &mut Stream,
    watch: &Watch,
    accepts: Accepts,
    may_send: bool,
) -> Preamble {
    let mut bytes = Vec::new();
    loop {
        match read_some(stream, watch, &mut bytes).await {
            Read::Some => {}
            Read::Late => {
                let message = "the PROXY header did not arrive in time";
                return Preamble::Refused(Refusal { message, ..Refusal::LATE_HEAD });
            }
            Read::Gone => return Preamble::Lost,
        }
        match read_header(&bytes, accepts) {
            // What the bytes are will be known in a moment.
            Ok(Found::Incomplete) => {
                if watch.phase() != Phase::Head {
                    watch.set(Phase::Head);
                }
            }
            Ok(Found::Absent) => return Preamble::Http(None, bytes.into()),
            Ok(Found::Header { .. }) | Err(_) if !may_send => {
                let message = "this peer may not send a PROXY header";
                return Preamble::Refused(Refusal::bad(StatusCode::FORBIDDEN, message));
            }
            Ok(Found::Header { len, header }) => {
                return Preamble::Http(Some(header), Bytes::from(bytes).slice(len..));
            }
            Err(malformed) => {
                let message = malformed.message();
                return Preamble::Refused(Refusal::bad(StatusCode::BAD_REQUEST, message));
            }
        }
    }
}

/// What came of reading.
pub(super) enum Read {
    Some,
    /// It has begun, and did not come to its end in time.
    Late,
    /// The client or the reaper has closed.
    Gone,
}

/// Reads what has come.
pub(super) async fn read_some(stream: &mut Stream, watch: &Watch, bytes: &mut Vec<u8>) -> Read {
    let mut scratch = [0; READ_BYTES];
    let mut is_late = false;
    let len = poll_fn(|cx| {
        let order = watch.poll_order(cx);
        if matches!(order, Order::Close | Order::Late) {
            is_late = order == Order::Late;
            return Poll::Ready(0);
        }
        let mut buffer = ReadBuf::new(&mut scratch);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) => {
                if order == Order::Shed {
                    watch.stays();
                }
                Poll::Ready(buffer.filled().len())
            }
            Poll::Ready(Err(_)) => Poll::Ready(0),
            Poll::Pending if matches!(order, Order::Expire | Order::Shed) => {
                if !stream.has_unread() {
                    return Poll::Ready(0);
                }
                // tokio will hear of it.
                if order == Order::Shed {
                    watch.stays();
                }
                Poll::Pending
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    bytes.extend_from_slice(&scratch[..len]);
    match len {
        0 if is_late => Read::Late,
        0 => Read::Gone,
        _ => Read::Some,
    }
}
