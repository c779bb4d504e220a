//! `/api/watch`: what happens to the requests of one browser, which has a cookie for it, as server-sent events.

use std::pin::Pin;
use std::task::{Context as Cx, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::{HeaderValue, StatusCode};
use indrik_core::admin::host::is_cross_site;
use indrik_core::dispatch::cookie_value;
use serde_json::json;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use crate::admin::answer::Answer;
use crate::admin::body::{Body, Events};
use crate::admin::context::{Asked, Context};
use crate::front::{WATCH_COOKIE, Watch};

/// How often a stream shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// How long somebody may watch, and how long the cookie stays.
const WATCH_MAX: Duration = Duration::from_secs(3600);

/// Watches, as long as the client stays.
pub(crate) fn answer(context: &Context, asked: &Asked) -> Answer {
    let (site, host) = (asked.header("sec-fetch-site"), asked.header(HOST.as_str()));
    if is_cross_site(site, asked.header("origin"), host.unwrap_or_default()) {
        let what = "a page of another site cannot have its visitors watched";
        return Answer::error(StatusCode::FORBIDDEN, what, "");
    }
    let busy = |text| Answer::later(StatusCode::SERVICE_UNAVAILABLE, text, 5);
    let Some(front) = context.board.front() else {
        return busy("nothing is served yet");
    };
    let Some(place) = context.stream_place(asked) else {
        return busy("too many streams are open");
    };
    let mut fields = asked.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
    let known = fields.find_map(|field| cookie_value(field, WATCH_COOKIE));
    let Some(watch) = front.watch(known.and_then(|value| std::str::from_utf8(value).ok())) else {
        return busy("too many watch their requests");
    };
    let cookie = format!(
        "{WATCH_COOKIE}={}; Path=/; Max-Age={}; SameSite=Lax; HttpOnly",
        watch.cookie,
        WATCH_MAX.as_secs()
    );
    let told = Told {
        first: Some(json!({"watching": format!("{WATCH_COOKIE}={}", watch.cookie)})),
        watch,
        beat: Box::pin(sleep(HEARTBEAT)),
        end: Box::pin(sleep(WATCH_MAX)),
        _place: place,
    };
    let answer = Answer::of("text/event-stream", Bytes::new());
    let answer = Answer { body: Body::Events(Box::pin(told)), ..answer };
    let cookie = HeaderValue::from_str(&cookie).into_iter();
    cookie.fold(answer, |answer, cookie| answer.with(SET_COOKIE, cookie))
}

struct Told {
    first: Option<serde_json::Value>,
    watch: Watch,
    beat: Pin<Box<Sleep>>,
    end: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Events for Told {
    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Cx<'_>) -> Poll<Option<Bytes>> {
        let this = &mut *self;
        if this.end.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        let news = match this.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => this.watch.news.poll_recv(cx),
        };
        let text = match news {
            Poll::Ready(Some(news)) => format!("data: {news}\n\n"),
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Pending if this.beat.as_mut().poll(cx).is_ready() => ": \n\n".to_owned(),
            Poll::Pending => return Poll::Pending,
        };
        this.beat = Box::pin(sleep(HEARTBEAT));
        Poll::Ready(Some(Bytes::from(text)))
    }
}
