//! "Watch my requests": somebody at the admin listener is told what happens to the requests that carry their cookie.
//!
//! While nobody watches, a request pays one look at a flag. What a watcher does not take in time is lost and counted,
//! and holds nobody up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::SystemTime;

use http::HeaderValue;
use http::header::COOKIE;
use http::request::Parts;
use indrik_core::dispatch::cookie_value;
use indrik_core::record::Record;
use indrik_core::time::Micros;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::printable::{METHOD_BYTES_MAX, TARGET_BYTES_MAX, printable};
use super::trail::{Mark, chance};

/// The cookie's name.
pub const WATCH_COOKIE: &str = "indrik_watch";
/// Those who watch at once.
const WATCHERS_MAX: usize = 8;
/// What is kept for one that does not read.
const NEWS_MAX: usize = 256;
/// Hexadecimal digits of a cookie's value.
const VALUE_DIGITS: usize = 32;

/// All who watch.
#[derive(Default)]
pub(super) struct Watchers {
    is_on: AtomicBool,
    all: Mutex<Vec<Arc<Watcher>>>,
}

struct Watcher {
    cookie: String,
    news: Sender<Json>,
    requests: AtomicU64,
    lost: AtomicU64,
}

/// Somebody who watches; what their requests do comes here. Nobody does when it is dropped.
pub struct Watch {
    /// The value of the cookie that the requests carry.
    pub cookie: String,
    /// What happens.
    pub news: Receiver<Json>,
    watchers: Arc<Watchers>,
    watcher: Arc<Watcher>,
}

/// A request that is watched.
pub(super) struct Watched {
    watcher: Arc<Watcher>,
    number: u64,
}

impl Watchers {
    /// Whether anybody watches.
    #[inline]
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Begins to watch requests with the cookie that somebody has already, or with a new one; none, if too many watch.
    pub(super) fn begin(self: &Arc<Self>, known: Option<&str>) -> Option<Watch> {
        let mut all = self.all.lock();
        if all.len() >= WATCHERS_MAX {
            return None;
        }
        let (news, receiver) = channel(NEWS_MAX);
        let cookie = known.filter(|value| is_cookie(value)).map_or_else(made, str::to_owned);
        let watcher = Arc::new(Watcher {
            cookie: cookie.clone(),
            news,
            requests: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        all.push(Arc::clone(&watcher));
        self.is_on.store(true, Ordering::Relaxed);
        Some(Watch { cookie, news: receiver, watchers: Arc::clone(self), watcher })
    }

    /// A request has come; what is needed to tell its end, if somebody watches it.
    pub(super) fn take(&self, parts: &Parts) -> Option<Box<Watched>> {
        if !self.is_on() {
            return None;
        }
        let mut fields = parts.headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes);
        let cookie = fields.find_map(|field| cookie_value(field, WATCH_COOKIE))?;
        let all = self.all.lock();
        let watcher = all.iter().find(|watcher| watcher.cookie.as_bytes() == cookie).cloned()?;
        drop(all);
        let number = watcher.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let target = parts.uri.path_and_query().map_or("*", http::uri::PathAndQuery::as_str);
        let id = Mark::of(parts).and_then(Mark::id).map(String::from_utf8_lossy);
        let at = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        watcher.tell(json!({"begun": {
            "number": number,
            "at_ms": u64::try_from(at.as_millis()).unwrap_or(u64::MAX),
            "method": printable(parts.method.as_str().as_bytes(), METHOD_BYTES_MAX),
            "target": printable(target.as_bytes(), TARGET_BYTES_MAX),
            "id": id,
        }}));
        Some(Box::new(Watched { watcher, number }))
    }
}

impl Watched {
    /// The request is over; `body`: how long its own body was waited for.
    pub(super) fn over(&self, record: &Record, body: Micros) {
        self.watcher.tell(json!({"over": {
            "number": self.number,
            "status": record.status,
            "route": record.route,
            "pid": record.worker,
            "body_us": body,
            "queue_us": record.queue_us,
            "app_us": record.app_us,
            "client_us": record.client_us.saturating_sub(body),
            "total_us": record.total_us,
            "bytes_out": record.bytes_out,
            "lost": self.watcher.lost.load(Ordering::Relaxed),
        }}));
    }
}

impl Watcher {
    fn tell(&self, news: Json) {
        if self.news.try_send(news).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut all = self.watchers.all.lock();
        all.retain(|watcher| !Arc::ptr_eq(watcher, &self.watcher));
        self.watchers.is_on.store(!all.is_empty(), Ordering::Relaxed);
    }
}

fn is_cookie(value: &str) -> bool {
    value.len() == VALUE_DIGITS && value.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn made() -> String {
    let [high, low] = chance::bits();
    format!("{high:016x}{low:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(cookie: &str) -> Parts {
        let request = http::Request::builder().uri("/a?b='c").header("cookie", cookie).body(());
        request.unwrap().into_parts().0
    }

    #[test]
    fn only_who_has_the_cookie_is_told_of_and_only_while_somebody_watches() {
        let watchers = Arc::new(Watchers::default());
        assert!(!watchers.is_on() && watchers.take(&request("indrik_watch=x")).is_none());
        let mut watch = watchers.begin(Some("no such cookie")).unwrap();
        assert!(is_cookie(&watch.cookie) && watchers.is_on());
        assert!(watchers.take(&request("indrik_watch=0")).is_none());
        let mine = request(&format!("a=b; indrik_watch={}", watch.cookie));
        let watched = watchers.take(&mine).unwrap();
        watched.over(&Record { status: 418, total_us: 7, ..Record::default() }, 3);
        let begun = watch.news.try_recv().unwrap();
        assert_eq!(
            (&begun["begun"]["number"], &begun["begun"]["method"]),
            (&json!(1), &json!("GET"))
        );
        let over = watch.news.try_recv().unwrap();
        assert_eq!((&over["over"]["status"], &over["over"]["body_us"]), (&json!(418), &json!(3)));
        let again = watchers.begin(Some(&watch.cookie)).unwrap();
        assert_eq!(again.cookie, watch.cookie);
        drop((watch, again));
        assert!(!watchers.is_on());
    }

    #[test]
    fn who_does_not_read_loses_news_and_more_than_a_few_do_not_watch() {
        let watchers = Arc::new(Watchers::default());
        let mut all: Vec<Watch> = std::iter::from_fn(|| watchers.begin(None)).collect();
        assert_eq!(all.len(), WATCHERS_MAX);
        let mine = request(&format!("indrik_watch={}", all[0].cookie));
        for _ in 0..NEWS_MAX + 5 {
            watchers.take(&mine).unwrap();
        }
        assert_eq!(all[0].watcher.lost.load(Ordering::Relaxed), 5);
        let count = std::iter::from_fn(|| all[0].news.try_recv().ok()).count();
        assert_eq!(count, NEWS_MAX);
        all.pop();
        assert!(watchers.begin(None).is_some());
    }
}
