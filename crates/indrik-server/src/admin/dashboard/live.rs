//! `/dashboard/history`: the past. `/dashboard/live`: a frame every second, for as long as the client stays.

use std::pin::Pin;
use std::task::{Context as Cx, Poll};
use std::time::SystemTime;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::StatusCode;
use indrik_core::history::Span;
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::admin::answer::{Answer, bad};
use crate::admin::body::{Body, Events};
use crate::admin::context::{Asked, Context};

/// The last hour or day.
pub(crate) fn history(context: &Context, asked: &Asked) -> Answer {
    let span = match asked.query.get("span") {
        None | Some("hour") => Span::Hour,
        Some("day") => Span::Day,
        Some(_) => return bad("span is hour or day"),
    };
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let page = context.remembered.page(span, now_ms);
    match serde_json::to_value(&page) {
        Ok(page) => Answer::json(&page),
        Err(error) => bad(format!("the history cannot be written: {error}")),
    }
}

/// Frames as they are made.
pub(crate) fn live(context: &Context, asked: &Asked) -> Answer {
    let Some(place) = context.stream_place(asked) else {
        let text = "too many streams are open";
        return Answer::later(StatusCode::SERVICE_UNAVAILABLE, text, 5);
    };
    let frames = Frames { next: next(context.remembered.frames()), _place: place };
    let answer = Answer::of("text/event-stream", Bytes::new());
    Answer { body: Body::Events(Box::pin(frames)), ..answer }
}

/// Ends with the next frame.
type Next = Pin<Box<dyn Future<Output = Option<(Bytes, watch::Receiver<Bytes>)>> + Send>>;

fn next(mut frames: watch::Receiver<Bytes>) -> Next {
    Box::pin(async move {
        frames.changed().await.ok()?;
        let frame = frames.borrow_and_update().clone();
        Some((frame, frames))
    })
}

/// The frames of one client. One that is slow gets fewer of them, and none is kept for it.
struct Frames {
    next: Next,
    _place: OwnedSemaphorePermit,
}

impl Events for Frames {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Bytes>> {
        match self.next.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some((frame, frames))) => {
                self.next = next(frames);
                let mut event = BytesMut::with_capacity(frame.len() + 8);
                event.put_slice(b"data: ");
                event.put_slice(&frame);
                event.put_slice(b"\n\n");
                Poll::Ready(Some(event.freeze()))
            }
        }
    }
}
