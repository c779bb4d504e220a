//! `/logs`: the last entries of the error log, as text, as JSON, or as they are written (server-sent events).

use std::fmt::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use crate::admin::answer::{Answer, bad};
use crate::admin::body::{Body, Events};
use crate::admin::context::{Asked, Context};
use crate::log::{Entry, Log};

/// How often a stream looks for what is new.
const LOOK_PAUSE: Duration = Duration::from_millis(250);
/// After so many looks without news it shows that it lives.
const SILENT_LOOKS_MAX: u32 = 40;
/// Entries that are shown where nothing is said.
const LINES_SHOWN: usize = 100;

/// The last ones, and in a stream those that come.
pub(crate) fn answer(context: &Context, asked: &Asked) -> Answer {
    let last_seen = asked.header("last-event-id").and_then(|text| text.trim().parse().ok());
    let numbers = asked
        .query
        .number("after")
        .and_then(|after| Ok((after.or(last_seen), asked.query.number("lines")?)));
    let (after, lines) = match numbers {
        Ok(numbers) => numbers,
        Err(why) => return bad(why),
    };
    let lines = lines.map_or(LINES_SHOWN, |lines| usize::try_from(lines).unwrap_or(usize::MAX));
    let mut entries = context.log.after(after.unwrap_or(0));
    // Whoever says where they were wants all since.
    let left_out = if after.is_none() { entries.len().saturating_sub(lines) } else { 0 };
    entries.drain(..left_out);
    let accept = asked.header("accept").unwrap_or_default();
    match asked.query.get("format") {
        Some("json") => as_json(&entries),
        Some("sse") => stream(context, asked, entries),
        Some("text") => as_text(&entries),
        None if accept.contains("text/event-stream") => stream(context, asked, entries),
        None if accept.contains("application/json") => as_json(&entries),
        None => as_text(&entries),
        Some(_) => bad("format is text, json or sse"),
    }
}

fn as_text(entries: &[(u64, Entry)]) -> Answer {
    let text: Vec<u8> = entries.iter().flat_map(|(_, entry)| entry.format(false)).collect();
    Answer::of("text/plain; charset=utf-8", text)
}

fn as_json(entries: &[(u64, Entry)]) -> Answer {
    let shown = entries.iter().map(|(number, entry)| {
        let mut shown = entry.shown();
        shown["number"] = (*number).into();
        shown
    });
    Answer::json(&json!({"entries": shown.collect::<Vec<_>>()}))
}

fn stream(context: &Context, asked: &Asked, first: Vec<(u64, Entry)>) -> Answer {
    let Some(place) = context.stream_place(asked) else {
        let text = "too many streams are open";
        return Answer::later(StatusCode::SERVICE_UNAVAILABLE, text, 5);
    };
    let told = Told {
        log: Arc::clone(&context.log),
        seen: first.last().map_or_else(|| context.log.newest(), |(number, _)| *number),
        first: Some(first),
        pause: Box::pin(sleep(LOOK_PAUSE)),
        silent: 0,
        _place: place,
    };
    let answer = Answer::of("text/event-stream", Bytes::new());
    Answer { body: Body::Events(Box::pin(told)), ..answer }
}

/// The log as one client is told it. What it has not taken is not kept for it: the log remembers what it can.
struct Told {
    log: Arc<Log>,
    /// The last entry it was told.
    seen: u64,
    first: Option<Vec<(u64, Entry)>>,
    pause: Pin<Box<Sleep>>,
    silent: u32,
    _place: OwnedSemaphorePermit,
}

impl Events for Told {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Bytes::from(format!("retry: 2000\n\n{}", events(&first)))));
        }
        while this.pause.as_mut().poll(cx).is_ready() {
            this.pause = Box::pin(sleep(LOOK_PAUSE));
            let news = this.log.after(this.seen);
            this.silent += 1;
            if let Some((newest, _)) = news.last() {
                (this.seen, this.silent) = (*newest, 0);
                return Poll::Ready(Some(Bytes::from(events(&news))));
            }
            if this.silent >= SILENT_LOOKS_MAX {
                this.silent = 0;
                return Poll::Ready(Some(Bytes::from_static(b": \n\n")));
            }
        }
        Poll::Pending
    }
}

fn events(entries: &[(u64, Entry)]) -> String {
    let mut text = String::new();
    for (number, entry) in entries {
        let _ = write!(text, "id: {number}\ndata: {}\n\n", entry.shown());
    }
    text
}
