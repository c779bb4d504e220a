//! `/events`: the chronicle, as JSON, or as it is written (server-sent events).

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Sleep, sleep};

use crate::admin::answer::{Answer, bad};
use crate::admin::body::{Body, Events};
use crate::admin::context::{Asked, Context};
use crate::look::Board;

/// How often a stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// Those that have happened, and in a stream those that happen.
pub(crate) fn answer(context: &Context, asked: &Asked) -> Answer {
    let last_seen = asked.header("last-event-id").and_then(|text| text.trim().parse().ok());
    let after = match asked.query.number("after") {
        Ok(after) => after.or(last_seen).unwrap_or(0),
        Err(why) => return bad(why),
    };
    let accept = asked.header("accept").unwrap_or_default();
    match asked.query.get("format") {
        Some("json") => list(context, asked, after),
        Some("sse") => stream(context, asked, after),
        None if accept.contains("application/json") => list(context, asked, after),
        None => stream(context, asked, after),
        Some(_) => bad("format is json or sse"),
    }
}

fn list(context: &Context, asked: &Asked, after: u64) -> Answer {
    let events = context.board.after(after);
    let shown = events.iter().map(|entry| entry.shown_to(asked.looks_inside));
    let events: Vec<_> = shown.filter_map(|it| serde_json::to_value(&*it).ok()).collect();
    Answer::json(&json!({"events": events}))
}

fn stream(context: &Context, asked: &Asked, after: u64) -> Answer {
    let Some(place) = context.stream_place(asked) else {
        let text = "too many streams of events are open";
        return Answer::later(StatusCode::SERVICE_UNAVAILABLE, text, 5);
    };
    let news = context.board.news();
    let board = Arc::clone(&context.board);
    let told = Told {
        board,
        news: waits(news),
        after,
        looks_inside: asked.looks_inside,
        begun: false,
        beat: Box::pin(sleep(HEARTBEAT)),
        _place: place,
    };
    let answer = Answer::of("text/event-stream", Bytes::new());
    Answer { body: Body::Events(Box::pin(told)), ..answer }
}

/// Ends when there is news.
type News = Pin<Box<dyn Future<Output = Option<watch::Receiver<u64>>> + Send>>;

fn waits(mut news: watch::Receiver<u64>) -> News {
    Box::pin(async move { news.changed().await.ok().map(|()| news) })
}

/// The chronicle as one client is told it. What it has not taken is not kept for it: it is in the chronicle.
struct Told {
    board: Arc<Board>,
    news: News,
    /// The last entry it was told.
    after: u64,
    looks_inside: bool,
    begun: bool,
    beat: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Events for Told {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        // Registered before the chronicle is read, so that nothing comes between.
        while let Poll::Ready(news) = this.news.as_mut().poll(cx) {
            match news {
                Some(news) => this.news = waits(news),
                None => return Poll::Ready(None),
            }
        }
        let mut text = String::new();
        if !this.begun {
            this.begun = true;
            text.push_str("retry: 2000\n\n");
        }
        for entry in this.board.after(this.after) {
            this.after = entry.number;
            let data =
                serde_json::to_string(&*entry.shown_to(this.looks_inside)).unwrap_or_default();
            let _ = write!(
                text,
                "id: {}\nevent: {}\ndata: {data}\n\n",
                entry.number,
                entry.kind.word()
            );
        }
        if text.is_empty() && this.beat.as_mut().poll(cx).is_ready() {
            text.push_str(": \n\n");
        }
        if text.is_empty() {
            return Poll::Pending;
        }
        this.beat = Box::pin(sleep(HEARTBEAT));
        Poll::Ready(Some(Bytes::from(text)))
    }
}
