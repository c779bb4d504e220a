//! The steps that end a request that runs longer than it may.
//!
//! The steps: its client is answered and the application is told to stop; if it has not stopped after
//! [`CANCEL_GRACE_US`], its worker goes. Where other requests of the worker go on, its successor is
//! ready first; where nothing goes on there, it goes at once.

use crate::time::Micros;

/// What an application has to stop in, after it was told to: for `finally` and roll-backs.
pub const CANCEL_GRACE_US: Micros = 1_000_000;
/// What a worker may leave lying in its ring before its requests go to others. A loop that turns
/// looks into it thousands of times in this time.
pub const INTAKE_PAUSE_MAX_US: Micros = 100_000;
/// What is to be done about a running request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing.
    Wait,
    /// Its time is over: its client is answered, and the application told to stop.
    Cancel,
    /// It has not stopped.
    GiveUp,
}

/// How far one request is on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overtime {
    /// When the application was first seen to have it.
    began: Option<Micros>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Its time is not over, or its answer has begun.
    #[default]
    InTime,
    /// It was told to stop.
    Cancelled { at: Micros },
    /// It did not stop.
    GivenUp,
}

impl Overtime {
    /// A look at a request that the application has. `limit`: its own, 0 is none. `spared`: it may
    /// run longer, as nobody waits for its worker.
    pub fn look(&mut self, limit: Micros, spared: bool, now: Micros) -> Step {
        let began = *self.began.get_or_insert(now);
        match self.stage {
            Stage::InTime if limit != 0 && !spared && now.saturating_sub(began) >= limit => {
                self.stage = Stage::Cancelled { at: now };
                Step::Cancel
            }
            Stage::Cancelled { at } if now.saturating_sub(at) >= CANCEL_GRACE_US => {
                self.stage = Stage::GivenUp;
                Step::GiveUp
            }
            Stage::InTime | Stage::Cancelled { .. } | Stage::GivenUp => Step::Wait,
        }
    }

    /// Since when the application has had it, if it was seen there.
    #[must_use]
    pub const fn began(&self) -> Option<Micros> {
        self.began
    }

    /// Whether its client was answered without it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage != Stage::InTime
    }

    /// Whether it is not expected to end.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.stage == Stage::GivenUp
    }
}

/// What a request that did not stop says of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Other requests go on there: its successor is to be ready before it goes.
    Hangs,
    /// Nothing goes on there: it goes at once.
    Stuck,
}

/// `capacity`: requests that the worker runs at once. `turns`: it has taken what was sent to it since
/// the request was told to stop.
#[must_use]
pub const fn verdict(capacity: usize, turns: bool) -> Verdict {
    if capacity > 1 && turns { Verdict::Hangs } else { Verdict::Stuck }
}

/// Whether a worker takes what is sent to it, seen from how far it has come in its ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// How far it was, and since when something lies there.
    waits: Option<(u64, Micros)>,
}

impl Intake {
    /// A look at the ring: descriptors ever taken, and whether that is all. True: it has left
    /// something lying there for too long.
    pub fn look(&mut self, taken: u64, is_empty: bool, now: Micros) -> bool {
        if is_empty {
            self.waits = None;
            return false;
        }
        match self.waits {
            Some((before, since)) if before == taken => {
                now.saturating_sub(since) >= INTAKE_PAUSE_MAX_US
            }
            _ => {
                self.waits = Some((taken, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_cancelled_at_its_limit_and_given_up_after_the_grace() {
        let mut overtime = Overtime::default();
        assert_eq!(overtime.look(1_000, false, 50), Step::Wait);
        assert_eq!(overtime.look(1_000, false, 1_049), Step::Wait);
        assert!(!overtime.is_over());
        assert_eq!(overtime.look(1_000, false, 1_050), Step::Cancel);
        assert!(overtime.is_over() && !overtime.is_given_up());
        assert_eq!(overtime.look(1_000, true, 1_050 + CANCEL_GRACE_US - 1), Step::Wait);
        assert_eq!(overtime.look(1_000, true, 1_050 + CANCEL_GRACE_US), Step::GiveUp);
        assert_eq!(overtime.look(1_000, false, Micros::MAX), Step::Wait, "once");
        assert_eq!(overtime.began(), Some(50));
    }

    #[test]
    fn without_a_limit_or_while_it_is_spared_a_request_runs_on() {
        let mut free = Overtime::default();
        assert_eq!(free.look(0, false, 0), Step::Wait);
        assert_eq!(free.look(0, false, Micros::MAX), Step::Wait);
        let mut spared = Overtime::default();
        assert_eq!(spared.look(10, true, 0), Step::Wait);
        assert_eq!(spared.look(10, true, 1_000), Step::Wait);
        assert_eq!(spared.look(10, false, 1_001), Step::Cancel);
    }

    #[test]
    fn a_worker_goes_at_once_only_when_nothing_goes_on_there() {
        assert_eq!(verdict(1, true), Verdict::Stuck);
        assert_eq!(verdict(8, false), Verdict::Stuck);
        assert_eq!(verdict(8, true), Verdict::Hangs);
    }

    #[test]
    fn a_worker_that_takes_something_now_and_then_is_not_held_for_one_that_takes_nothing() {
        let mut intake = Intake::default();
        let step = INTAKE_PAUSE_MAX_US - 1;
        for turn in 0..5 {
            assert!(!intake.look(turn, false, turn * step));
        }
        assert!(!intake.look(4, false, 4 * step + step));
        assert!(intake.look(4, false, 4 * step + INTAKE_PAUSE_MAX_US));
        assert!(!intake.look(5, true, 4 * step + INTAKE_PAUSE_MAX_US));
        assert!(!intake.look(5, false, 6 * step + INTAKE_PAUSE_MAX_US), "it counts anew");
    }
}
