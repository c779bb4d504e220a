//! Whether one worker lives, from the signs it gives.

use std::time::Duration;

use crate::supervise::limits::QUIET_MAX;
use crate::time::Now;

/// How long a worker may show no life before it is ended; zero: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifeLimits {
    /// Its main thread.
    pub timeout: Duration,
    /// Every one of its threads.
    pub deadlock: Duration,
}

/// What a look into a worker's channel gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sign {
    /// How often its main thread has gone round.
    pub beats: u64,
    /// How often some thread has got the interpreter's lock; 0: that is not counted.
    pub pulses: u64,
    /// It runs the only request it can.
    pub is_busy: bool,
}

/// What is known of one worker's life.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub(crate) limits: LifeLimits,
    pub(crate) last: Sign,
    pub(crate) beat_at: Now,
    pub(crate) pulse_at: Now,
}

/// What a look says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Lives,
    Stale,
    Deadlocked,
}

impl Life {
    pub(crate) fn new(limits: LifeLimits) -> Self {
        Self { limits, last: Sign::default(), beat_at: Now::ZERO, pulse_at: Now::ZERO }
    }

    /// From now on it has something to live for.
    pub(crate) const fn begin(&mut self, now: Now) {
        (self.beat_at, self.pulse_at) = (now, now);
    }

    /// Takes a look in. `anew`: nobody could beat for a while, so it counts as having done so.
    pub(crate) fn look(&mut self, sign: Sign, anew: bool, now: Now) -> Verdict {
        let before = std::mem::replace(&mut self.last, sign);
        if sign.pulses != before.pulses || anew {
            self.pulse_at = now;
        }
        if sign.beats != before.beats || sign.is_busy || anew {
            self.beat_at = now;
        }
        let is_over = |limit: Duration, since: Now| !limit.is_zero() && now > since + limit;
        if sign.pulses > 0 && is_over(self.limits.deadlock, self.pulse_at) {
            Verdict::Deadlocked
        } else if is_over(self.limits.timeout, self.beat_at) {
            Verdict::Stale
        } else {
            Verdict::Lives
        }
    }

    /// When it beat last, if it has.
    pub(crate) fn beat_at(&self) -> Option<Now> {
        (self.last.beats > 0).then_some(self.beat_at)
    }

    /// It should have beaten long ago, as of the last look.
    pub(crate) fn is_quiet(&self, looked: Now) -> bool {
        looked >= self.beat_at + QUIET_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: LifeLimits =
        LifeLimits { timeout: Duration::from_secs(30), deadlock: Duration::from_secs(10) };

    fn at(seconds: u64) -> Now {
        Duration::from_secs(seconds)
    }

    fn begun(limits: LifeLimits) -> Life {
        let mut life = Life::new(limits);
        life.begin(at(100));
        life
    }

    fn sign(beats: u64, pulses: u64, is_busy: bool) -> Sign {
        Sign { beats, pulses, is_busy }
    }

    #[test]
    fn a_worker_that_stands_still_between_requests_is_stale() {
        let mut life = begun(LIMITS);
        assert_eq!(life.look(sign(7, 0, false), false, at(101)), Verdict::Lives);
        assert_eq!(life.look(sign(7, 0, false), false, at(131)), Verdict::Lives);
        assert_eq!(life.look(sign(7, 0, false), false, at(132)), Verdict::Stale);
    }

    #[test]
    fn while_the_only_lane_runs_a_request_nobody_expects_a_beat() {
        let mut life = begun(LIMITS);
        for second in 101..300 {
            assert_eq!(life.look(sign(7, 0, true), false, at(second)), Verdict::Lives);
        }
        assert_eq!(life.look(sign(7, 0, false), false, at(329)), Verdict::Lives);
        assert_eq!(life.look(sign(7, 0, false), false, at(330)), Verdict::Stale);
    }

    #[test]
    fn threads_that_get_no_lock_are_a_deadlock_also_while_a_request_runs() {
        let mut life = begun(LIMITS);
        assert_eq!(life.look(sign(7, 3, true), false, at(101)), Verdict::Lives);
        assert_eq!(life.look(sign(7, 3, true), false, at(112)), Verdict::Deadlocked);
    }

    #[test]
    fn a_worker_that_never_beat_is_as_stale_as_one_that_does_not_any_more() {
        let mut life = begun(LIMITS);
        assert_eq!(life.look(sign(0, 0, false), false, at(130)), Verdict::Lives);
        assert_eq!(life.look(sign(0, 0, false), false, at(131)), Verdict::Stale);
    }

    #[test]
    fn nobody_is_stale_who_has_no_limit_or_could_not_beat() {
        let mut life = begun(LifeLimits::default());
        assert_eq!(life.look(sign(1, 1, false), false, at(101)), Verdict::Lives);
        assert_eq!(life.look(sign(1, 1, false), false, at(5_000)), Verdict::Lives);
        let mut life = begun(LIMITS);
        assert_eq!(life.look(sign(1, 1, false), false, at(101)), Verdict::Lives);
        assert_eq!(life.look(sign(1, 1, false), true, at(5_000)), Verdict::Lives);
    }

    #[test]
    fn a_worker_is_quiet_before_it_is_ended_for_that() {
        let mut life = begun(LIMITS);
        let _ = life.look(sign(1, 0, false), false, at(101));
        assert!(!life.is_quiet(at(101)));
        assert!(life.is_quiet(at(101) + QUIET_MAX));
    }
}
