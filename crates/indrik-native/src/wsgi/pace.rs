//! When to wake the front for a finished response.
//!
//! Waking it after each response costs a system call and, where both share a core, two context
//! switches a request; not waking it while a slow request runs would hold finished responses back.
//! So: at once, except while all requests of late were very short; then once per batch.

use std::time::{Duration, Instant};

/// A finished response waits at most about this long for the end of its batch.
const HOLD_MAX: Duration = Duration::from_micros(50);
/// After a request that took longer than [`HOLD_MAX`], this many are not held back at all.
const EAGER_REQUESTS: u32 = 1000;

/// Watches how long requests take.
pub(crate) struct Pace {
    /// When the oldest response that the front was not woken for was begun.
    since: Instant,
    /// When the last request ended.
    last: Instant,
    /// Requests that are not to be held back.
    eager: u32,
}

impl Pace {
    /// Nothing is known: nothing is held back.
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { since: now, last: now, eager: EAGER_REQUESTS }
    }

    /// The worker was idle until now, and the front has been woken for everything.
    pub(crate) fn woke(&mut self) {
        self.last = Instant::now();
        self.since = self.last;
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
        if took > HOLD_MAX {
            self.eager = EAGER_REQUESTS;
        } else {
            self.eager = self.eager.saturating_sub(1);
        }
        let must = self.eager > 0 || held > HOLD_MAX;
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
        let mut pace = Pace::new();
        pace.eager = 0;
        pace
    }

    #[test]
    fn at_first_every_response_is_passed_on_at_once() {
        let mut pace = Pace::new();
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
