//! The slowest and the failed requests of the last minutes, for whoever looks at the server.
//!
//! A request that is neither costs a comparison. Only of the others are the texts copied, and the lock is taken for them
//! alone. What is measured is the time to the head of the answer: a long download is no slow request.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use indrik_core::redact;
use indrik_core::time::Micros;
use indrik_ring::RequestHead;
use parking_lot::Mutex;
use serde::Serialize;

use super::clock;
use super::exchange::Exchange;
use super::printable::{METHOD_BYTES_MAX, TARGET_BYTES_MAX, printable};
use super::route_names::SharedRouteNames;

/// Requests of either kind that are kept.
const KEPT_MAX: usize = 64;
/// Failures that are kept in a second; an application that answers nothing else is not slowed by it.
const FAILURES_PER_SECOND_MAX: u64 = KEPT_MAX as u64;
/// Bits of [`Recent::failures`] for their number.
const COUNT_BITS: u32 = 16;
/// For how long they are.
const WINDOW: Micros = 300_000_000;
/// A request that took less is not slow, however idle the server is.
const SLOW_MIN: Micros = 10_000;

/// A request that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Ended {
    /// Its method.
    pub method: String,
    /// Its target, shortened, with what is no printable character escaped.
    pub target: String,
    /// Its client; empty for a Unix socket.
    pub client: String,
    /// What it was answered with.
    pub status: u16,
    /// How long ago, in microseconds.
    pub ago_us: u64,
    /// From its arrival to the head of its answer, in microseconds.
    pub took_us: u64,
    /// For how long the application had had it by then.
    pub app_us: u32,
    /// How long it waited for the application.
    pub queue_us: u32,
    /// The worker's process; 0: none had it.
    pub pid: u32,
    /// The route that the application chose, if it is known.
    pub route: Option<String>,
}

impl Ended {
    /// For whoever may look, and not at what is private.
    pub(crate) fn hide_secrets(&mut self) {
        self.target = redact::target(&self.target);
    }
}

/// The slowest and the failed.
#[derive(Debug)]
pub(super) struct Recent {
    /// What took less is not among the slowest.
    bar: AtomicU64,
    /// The second, and above [`COUNT_BITS`] how many failures were kept in it.
    failures: AtomicU64,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    slowest: Vec<(Micros, Ended)>,
    failed: VecDeque<(Micros, Ended)>,
}

impl Default for Recent {
    fn default() -> Self {
        let (bar, failures) = (AtomicU64::new(SLOW_MIN), AtomicU64::new(0));
        Self { bar, failures, kept: Mutex::default() }
    }
}

impl Recent {
    /// The head of an answer is known.
    pub(super) fn answered(
        &self,
        exchange: &Exchange,
        status: StatusCode,
        names: &SharedRouteNames,
    ) {
        let now = clock::coarse();
        let took = now.saturating_sub(exchange.arrived());
        let failed = status.is_server_error() && self.has_room_for_failure(now);
        if took < self.bar.load(Ordering::Relaxed) && !failed {
            return;
        }
        let Some(ended) = ended(exchange, status, took, names) else { return };
        self.keep(ended, failed, now);
    }

    /// Whether one more failure is kept in this second: counted without a lock. Two threads that begin a second at the
    /// same moment may keep a few more.
    fn has_room_for_failure(&self, now: Micros) -> bool {
        let second = now / 1_000_000;
        let before = self.failures.load(Ordering::Relaxed);
        let kept = before & ((1 << COUNT_BITS) - 1);
        let is_new = before >> COUNT_BITS != second;
        let kept = if is_new { 0 } else { kept };
        if kept >= FAILURES_PER_SECOND_MAX {
            return false;
        }
        self.failures.store((second << COUNT_BITS) | (kept + 1), Ordering::Relaxed);
        true
    }

    fn keep(&self, ended: Ended, failed: bool, now: Micros) {
        let mut kept = self.kept.lock();
        kept.forget(now);
        if failed {
            if kept.failed.len() >= KEPT_MAX {
                kept.failed.pop_front();
            }
            kept.failed.push_back((now, ended.clone()));
        }
        if ended.took_us >= SLOW_MIN {
            let at = kept.slowest.partition_point(|(_, other)| other.took_us >= ended.took_us);
            kept.slowest.insert(at, (now, ended));
            kept.slowest.truncate(KEPT_MAX);
        }
        self.bar.store(kept.bar(), Ordering::Relaxed);
    }

    /// What is too old is forgotten; to be called from time to time, as the slowest keep others out.
    pub(super) fn forget(&self, now: Micros) {
        let mut kept = self.kept.lock();
        kept.forget(now);
        self.bar.store(kept.bar(), Ordering::Relaxed);
    }

    /// The slowest, the longest first, and the failed, the newest first.
    pub(super) fn shown(&self, now: Micros) -> (Vec<Ended>, Vec<Ended>) {
        let kept = self.kept.lock();
        let show = |(at, ended): &(Micros, Ended)| Ended {
            ago_us: now.saturating_sub(*at),
            ..ended.clone()
        };
        (kept.slowest.iter().map(show).collect(), kept.failed.iter().rev().map(show).collect())
    }
}

impl Kept {
    fn forget(&mut self, now: Micros) {
        let is_old = |at: Micros| now.saturating_sub(at) > WINDOW;
        self.slowest.retain(|(at, _)| !is_old(*at));
        self.failed.retain(|(at, _)| !is_old(*at));
    }

    fn bar(&self) -> Micros {
        match self.slowest.last() {
            Some((_, ended)) if self.slowest.len() >= KEPT_MAX => ended.took_us,
            _ => SLOW_MIN,
        }
    }
}

fn ended(
    exchange: &Exchange,
    status: StatusCode,
    took: Micros,
    names: &SharedRouteNames,
) -> Option<Ended> {
    let head = RequestHead::decode(&exchange.outgoing.payload).ok()?;
    let served = exchange.served();
    Some(Ended {
        method: printable(head.method, METHOD_BYTES_MAX),
        target: printable(head.target, TARGET_BYTES_MAX),
        client: String::from_utf8_lossy(head.client).into_owned(),
        status: status.as_u16(),
        ago_us: 0,
        took_us: took,
        app_us: served.app_us,
        queue_us: served.queue_us,
        pid: served.pid,
        route: names.name(exchange.route()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn took(took_us: u64) -> Ended {
        Ended {
            method: "GET".into(),
            target: "/".into(),
            client: String::new(),
            status: 200,
            ago_us: 0,
            took_us,
            app_us: 0,
            queue_us: 0,
            pid: 1,
            route: None,
        }
    }

    #[test]
    fn the_slowest_are_kept_in_order_and_raise_the_bar_until_they_are_old() {
        let recent = Recent::default();
        for number in 0..200 {
            recent.keep(took(SLOW_MIN + number * 7 % 200), false, 1);
        }
        let (slowest, failed) = recent.shown(2);
        assert_eq!((slowest.len(), failed.len()), (KEPT_MAX, 0));
        assert!(slowest.is_sorted_by(|one, two| one.took_us >= two.took_us));
        assert_eq!(slowest[0].took_us, SLOW_MIN + 199);
        assert_eq!(recent.bar.load(Ordering::Relaxed), slowest[KEPT_MAX - 1].took_us);
        recent.forget(WINDOW + 2);
        assert_eq!(recent.shown(WINDOW + 2).0, []);
        assert_eq!(recent.bar.load(Ordering::Relaxed), SLOW_MIN);
    }

    #[test]
    fn a_flood_of_failures_is_kept_in_part_and_each_second_has_its_own() {
        let recent = Recent::default();
        let kept = |second: u64| {
            (0..50_000).filter(|at| recent.has_room_for_failure(second * 1_000_000 + at)).count()
        };
        assert_eq!((kept(7), kept(7), kept(8)), (KEPT_MAX, 0, KEPT_MAX));
    }

    #[test]
    fn of_the_failed_the_newest_are_kept_also_the_quick_ones() {
        let recent = Recent::default();
        for number in 0..100 {
            recent.keep(took(number), true, number);
        }
        let (slowest, failed) = recent.shown(100);
        assert_eq!((slowest.len(), failed.len()), (0, KEPT_MAX));
        assert_eq!((failed[0].took_us, failed[0].ago_us), (99, 1));
    }
}
