//! What the breaker remembers: failures in a row, and the trials while it is open.

use std::time::Duration;

use crate::ids::WorkerId;
use crate::supervise::limits::{BREAKER_FAILURES, BREAKER_PAUSE, BREAKER_PAUSE_MAX};
use crate::time::Now;

/// One for the generation that serves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Breaker {
    /// Failures in a row, over all places.
    pub(crate) streak: u32,
    /// When the first of them happened.
    pub(crate) since: Now,
    pub(crate) open: Option<Open>,
}

/// The breaker while it is open.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    /// The next trial, while there are workers that serve.
    pub(crate) retry: Now,
    pub(crate) pause: Duration,
    /// Being ready proves nothing: the last one died after it.
    pub(crate) must_live: bool,
    pub(crate) trial: Option<WorkerId>,
}

impl Breaker {
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes in a failure; returns whether it opened the breaker.
    pub(crate) fn failed(&mut self, failure: Failing, now: Now) -> bool {
        if self.streak == 0 {
            self.since = now;
        }
        self.streak = self.streak.saturating_add(1);
        if let Some(open) = &mut self.open {
            open.must_live |= failure.was_ready;
            if open.trial == Some(failure.worker) {
                open.trial = None;
                open.pause = open.pause.saturating_mul(2).min(BREAKER_PAUSE_MAX);
                open.retry = now + open.pause;
            }
            return false;
        }
        // All workers failing once is one event, and so is one worker failing.
        let repeated = self.streak >= failure.wanted.saturating_mul(2)
            || failure.in_its_place >= BREAKER_FAILURES;
        if self.streak < BREAKER_FAILURES || !repeated {
            return false;
        }
        self.open = Some(Open {
            retry: now + BREAKER_PAUSE,
            pause: BREAKER_PAUSE,
            must_live: failure.was_ready,
            trial: None,
        });
        true
    }
}

/// A worker's failure, as far as the breaker cares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    pub(crate) worker: WorkerId,
    /// It died after it had become ready.
    pub(crate) was_ready: bool,
    /// Failures in a row of its place.
    pub(crate) in_its_place: u32,
    /// Workers wanted.
    pub(crate) wanted: u32,
}
