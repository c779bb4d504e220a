//! When to wake the front for a finished response.
//!
//! Waking it after each response costs a system call and, where both share a core, two context
//! switches a request; not waking it while a slow request runs would hold finished responses back.
//! So: at once, except while all requests of late were very short; then once per batch.

use std::time::{Duration, Instant};

/// A finished response waits at most about this long for the end of its batch, where the front has a
/// core of its own to go on with.
const HOLD_MAX: Duration = Duration::from_micros(50);
/// The same where front and worker share one core: the front could only run instead of the worker,
/// and each change between them costs both their caches. (The front looks by itself every
/// millisecond while it knows of requests behind the running one, so a slow request holds nothing
/// back for longer.)
const HOLD_MAX_SHARED: Duration = Duration::from_micros(500);
/// After a request that took longer than the hold time, this many are not held back at all.
const EAGER_REQUESTS: u32 = 1000;

/// Watches how long requests take.
pub(crate) struct Pace {
    /// When the oldest response that the front was not woken for was begun.
    since: Instant,
    /// When the last request ended.
    last: Instant,
    /// Requests that are not to be held back.
    eager: u32,
    hold_max: Duration,
}

impl Pace {
    /// Nothing is known: nothing is held back.
    pub(crate) fn new(shares_core: bool) -> Self {
        let now = Instant::now();
        let hold_max = if shares_core { HOLD_MAX_SHARED } else { HOLD_MAX };
        Self { since: now, last: now, eager: EAGER_REQUESTS, hold_max }
    }

    /// The worker was idle until now, and the front has been woken for everything.
    pub(crate) fn woke(&mut self) {
        self.last = Instant::now();
        self.since = self.last;
    }

    /// When the last request ended, or when the worker woke: the next one begins here.
    pub(crate) const fn last(&self) -> Instant {
        self.last
    }

    /// To be asked after each request: whether to wake the front now.
    #[inline]
    pub(crate) fn must_flush(&mut self) -> bool {
        self.ended(Instant::now())
    }

    fn ended(&mut self, now: Instant) -> bool {
        let took = now - self.last;
        let held = now - self.since;
        self.last = now;
        if took > self.hold_max {
            self.eager = EAGER_REQUESTS;
        } else {
            self.eager = self.eager.saturating_sub(1);
        }
        let must = self.eager > 0 || held > self.hold_max;
        if must {
            self.since = now;
        }
        must
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pace: &mut Pace, micros: u64) -> bool {
        let now = pace.last + Duration::from_micros(micros);
        pace.ended(now)
    }

    fn calm() -> Pace {
        let mut pace = Pace::new(false);
        pace.eager = 0;
        pace
    }

    #[test]
    fn at_first_every_response_is_passed_on_at_once() {
        let mut pace = Pace::new(false);
        for _ in 1..EAGER_REQUESTS {
            assert!(after(&mut pace, 1));
        }
        assert!(!after(&mut pace, 1));
    }

    #[test]
    fn short_requests_are_passed_on_once_per_hold_time() {
        let mut pace = calm();
        let flushes = (0..1000).filter(|_| after(&mut pace, 10)).count();
        assert_eq!(flushes, 1000 / 6);
    }

    #[test]
    fn after_a_slow_request_every_response_is_passed_on_at_once_for_a_while() {
        let mut pace = calm();
        assert!(!after(&mut pace, 1));
        assert!(after(&mut pace, 1_000));
        for _ in 1..EAGER_REQUESTS {
            assert!(after(&mut pace, 1));
        }
        assert!(!after(&mut pace, 1));
    }
}
