//! Requests that take long: each is told of once, while it still runs if it can be, with where its time went so far.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use indrik_core::ids::WorkerId;
use indrik_core::logs::burst::Burst;
use indrik_core::logs::escape;
use indrik_core::logs::level::Level;
use indrik_core::time::Micros;
use indrik_core::trace::span::Phases;
use parking_lot::Mutex;
use slab::Slab;

use crate::front::clock;
use crate::front::events::{EventSink, FrontEvent};
use crate::front::exchange::{Exchange, Location};
use crate::front::pool::{At, Pool};
use crate::log::Log;

/// Of a target, more is not told.
const TARGET_BYTES_MAX: usize = 1024;

/// The requests that may become slow.
pub(crate) struct SlowRequests {
    live: Mutex<Slab<Arc<Watched>>>,
    burst: Mutex<Burst>,
    log: Arc<Log>,
    sink: EventSink,
}

/// A request that is told of when it takes too long.
struct Watched {
    /// Method, target and client, as they may stand in a line.
    called: String,
    arrived: Micros,
    limit: Micros,
    told: AtomicBool,
    /// Where it is looked for, once that is known.
    submitted: OnceLock<Submitted>,
}

/// The exchange of a request, once it was submitted.
pub(crate) type Submitted = Arc<OnceLock<Arc<Exchange>>>;

/// A request's place among them, as long as it takes.
pub(crate) struct Watching {
    all: Arc<SlowRequests>,
    key: usize,
    watched: Arc<Watched>,
}

/// What a request is called in the log.
pub(crate) struct Called<'a> {
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    pub(crate) client: &'a str,
    pub(crate) id: Option<&'a [u8]>,
}

/// Where a request is that takes long.
struct Whereabouts {
    text: String,
    /// The worker that runs it.
    runs_in: Option<(WorkerId, u32)>,
}

impl SlowRequests {
    pub(crate) fn new(log: &Arc<Log>, sink: &EventSink) -> Arc<Self> {
        Arc::new(Self {
            live: Mutex::default(),
            burst: Mutex::default(),
            log: Arc::clone(log),
            sink: Arc::clone(sink),
        })
    }

    /// Watches a request that came at `arrived` and shall take no longer than `limit`.
    pub(crate) fn watch(
        self: &Arc<Self>,
        called: &Called<'_>,
        arrived: Micros,
        limit: Micros,
    ) -> Watching {
        let watched = Arc::new(Watched {
            called: called.text(),
            arrived,
            limit,
            told: AtomicBool::new(false),
            submitted: OnceLock::new(),
        });
        let key = self.live.lock().insert(Arc::clone(&watched));
        Watching { all: Arc::clone(self), key, watched }
    }

    /// Tells of those that have taken too long by now.
    pub(crate) fn look(&self, pool: &Pool, now: Micros) {
        let late: Vec<Arc<Watched>> = {
            let live = self.live.lock();
            let is_late = |watched: &&Arc<Watched>| {
                now.saturating_sub(watched.arrived) >= watched.limit
                    && !watched.told.swap(true, Ordering::Relaxed)
            };
            live.iter().map(|(_, watched)| watched).filter(is_late).cloned().collect()
        };
        for watched in late {
            if !self.burst.lock().happens(now) {
                continue;
            }
            let Whereabouts { text, runs_in } = watched.whereabouts(pool, now);
            let took = seconds(now.saturating_sub(watched.arrived));
            let text = format!("Slow request: {} takes {took} so far: {text}", watched.called);
            match runs_in {
                // With what that does just now.
                Some((worker, _)) => (self.sink)(FrontEvent::RequestSlow(worker, text)),
                None => self.log.write(Level::Warning, &text),
            }
        }
        self.tell_left_out(now);
    }

    fn tell_left_out(&self, now: Micros) {
        let left_out = self.burst.lock().take_left_out(now);
        if let Some(count) = left_out {
            self.log.write(Level::Warning, &format!("Slow requests: {count} more are not shown"));
        }
    }
}

impl Watched {
    fn whereabouts(&self, pool: &Pool, now: Micros) -> Whereabouts {
        let exchange = self.submitted.get().and_then(|submitted| submitted.get());
        let Some(exchange) = exchange else {
            let text = "the client is still sending it".to_owned();
            return Whereabouts { text, runs_in: None };
        };
        let submitted = exchange.arrived();
        let mut text = format!("body {}", seconds(submitted.saturating_sub(self.arrived)));
        let mut runs_in = None;
        let waited = now.saturating_sub(submitted);
        match exchange.location() {
            Location::Queue(_) => {
                say(&mut text, format_args!(", in the queue for {}", seconds(waited)))
            }
            Location::Lost => say(&mut text, format_args!(", its worker ended")),
            Location::Nowhere => {
                let served = exchange.served();
                let (queue, app) = (served.queue_us.into(), served.app_us.into());
                say(
                    &mut text,
                    format_args!(", queue {}, application {}", seconds(queue), seconds(app)),
                );
                say(&mut text, format_args!(", the client has not taken the answer"));
            }
            Location::Worker { id, slot, generation } => {
                let at = pool.at(id, slot, generation);
                let pid = exchange.worker_pid();
                match at {
                    Some(At { since, runs: true, answered }) => {
                        let queue = seconds(since.saturating_sub(submitted));
                        let app = seconds(now.saturating_sub(since));
                        say(&mut text, format_args!(", queue {queue}, application {app}"));
                        if answered {
                            say(&mut text, format_args!(", its answer has begun"));
                        }
                        runs_in = Some((id, pid));
                    }
                    Some(At { runs: false, .. }) | None => {
                        let waited = seconds(waited);
                        say(
                            &mut text,
                            format_args!(", waits behind others of its worker for {waited}"),
                        );
                    }
                }
                say(&mut text, format_args!("; worker (pid:{pid})"));
            }
        }
        Whereabouts { text, runs_in }
    }
}

impl Watching {
    /// The request is looked for here, once it is there.
    pub(crate) fn comes_to(&self, submitted: Submitted) {
        let _ = self.watched.submitted.set(submitted);
    }

    /// The request is over. One that was late and not told of is told of now.
    pub(crate) fn over(&self, status: u16, pid: u32, phases: &Phases) {
        let Watched { called, limit, told, .. } = &*self.watched;
        if phases.total < *limit || told.swap(true, Ordering::Relaxed) {
            return;
        }
        if !self.all.burst.lock().happens(clock::now()) {
            return;
        }
        let Phases { body, queue, app, total } = *phases;
        let mut text = format!("Slow request: {called} took {}", seconds(total));
        let client = total.saturating_sub(body + queue + app.unwrap_or_default());
        let (body, queue, client) = (seconds(body), seconds(queue), seconds(client));
        say(&mut text, format_args!(": body {body}, queue {queue}"));
        if let Some(app) = app {
            say(&mut text, format_args!(", application {}", seconds(app)));
        }
        say(&mut text, format_args!(", client {client}; status {status}, worker (pid:{pid})"));
        self.all.log.write(Level::Warning, &text);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.all.live.lock().try_remove(self.key);
    }
}

impl Called<'_> {
    /// As it may stand in a line: what a client sends cannot end it.
    fn text(&self) -> String {
        let mut line = Vec::new();
        let target = &self.target.as_bytes()[..self.target.len().min(TARGET_BYTES_MAX)];
        escape::text(self.method.as_bytes(), &mut line);
        line.push(b' ');
        escape::text(target, &mut line);
        line.extend_from_slice(b" from ");
        let client = if self.client.is_empty() { "a local client" } else { self.client };
        escape::text(client.as_bytes(), &mut line);
        if let Some(id) = self.id {
            line.extend_from_slice(b" (id ");
            escape::text(id, &mut line);
            line.push(b')');
        }
        String::from_utf8_lossy(&line).into_owned()
    }
}

/// Writing to a text cannot fail.
fn say(text: &mut String, what: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(what);
}

fn seconds(time: Micros) -> String {
    format!("{:.3} s", time as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_stays_in_its_place_in_the_line() {
        let called = Called {
            method: "GET",
            target: "/a\u{202e}b\n[INFO] forged\u{1b}[2J",
            client: "",
            id: Some(b"x\"y"),
        };
        assert_eq!(
            called.text(),
            "GET /a\\u202eb\\x0a[INFO] forged\\x1b[2J from a local client (id x\\\"y)"
        );
        let long = "/".repeat(2 * TARGET_BYTES_MAX);
        assert!(Called { target: &long, ..called }.text().len() < TARGET_BYTES_MAX + 64);
    }
}
