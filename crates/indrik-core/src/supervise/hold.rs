//! What operators make of the requests that come: they are held back for a while (`indrik pause`), or answered by the
//! front (`indrik maintenance`).
//!
//! A hold has an end from its beginning on, and one place that ends it: whoever asks why is told what that place says.

use std::time::Duration;

use super::effect::{Effect, FrontEffect};
use super::limits::HOLD_MAX;
use super::machine::Supervisor;
use super::report::{Held, Steered};
use super::state::hold::{Hold, HoldEnd};
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::upgrade::Upgrade;
use crate::logs::level::Level;

impl Supervisor {
    /// Whether requests can be held back now.
    ///
    /// # Errors
    /// Why not, and what to do.
    pub fn may_hold(&self) -> Result<(), &'static str> {
        match (self.server.phase, self.server.upgrade) {
            (Phase::Starting, _) => Err("the server starts up; wait until it is ready"),
            (Phase::Serving, _) if self.server.pause != Pause::No => Err(
                "the server takes no connections already (WINCH); TTIN or a reload brings it back",
            ),
            (Phase::Serving, Upgrade::None) => Ok(()),
            (Phase::Serving, _) => Err(
                "an upgrade is under way, and the other server would serve on; wait until it is over",
            ),
            (
                Phase::Leaving { .. }
                | Phase::Draining { .. }
                | Phase::Stopping { .. }
                | Phase::Done,
                _,
            ) => Err("the server is shutting down"),
        }
    }

    /// Requests that come are held back from now on, for so long at most. Said again, the time counts anew.
    pub(super) fn hold_requests(&mut self, most: Duration) {
        if self.may_hold().is_err() {
            return;
        }
        let most = most.min(HOLD_MAX);
        let until = self.now + most;
        let was = std::mem::replace(
            &mut self.server.steering.hold,
            Hold::Held { since: self.now, until },
        );
        let seconds = most.as_secs_f64();
        match was {
            Hold::No => {
                self.push(Effect::Front(FrontEffect::HoldRequests));
                let text = format!("Paused, as asked: new requests wait, for {seconds} s at most");
                self.log(Level::Info, text);
            }
            Hold::Held { since, .. } => {
                self.server.steering.hold = Hold::Held { since, until };
                self.log(Level::Info, format!("The pause goes on, for {seconds} s at most"));
            }
        }
    }

    /// An operator wants requests served again.
    pub(super) fn resume_requests(&mut self) {
        self.end_hold(HoldEnd::Asked);
    }

    /// Nothing may keep requests back for ever, or from a server that ends.
    pub(super) fn expire_hold(&mut self) {
        let Hold::Held { until, .. } = self.server.steering.hold else { return };
        if self.server.phase != Phase::Serving {
            self.end_hold(HoldEnd::ServerEnds);
        } else if self.server.pause != Pause::No {
            self.end_hold(HoldEnd::WorkersLeave);
        } else if until <= self.now {
            self.end_hold(HoldEnd::TimeOver);
        }
    }

    /// The one way out.
    fn end_hold(&mut self, why: HoldEnd) {
        let Hold::Held { since, .. } = self.server.steering.hold else { return };
        let held = self.now.saturating_sub(since);
        self.server.steering.hold = Hold::No;
        self.server.steering.last = Some((why, held));
        self.push(Effect::Front(FrontEffect::ReleaseRequests));
        let (seconds, told) = (held.as_secs_f64(), why.told());
        let level = if why == HoldEnd::TimeOver { Level::Warning } else { Level::Info };
        self.log(level, format!("Resumed after {seconds:.1} s: {told}"));
    }

    /// Whether the front can be told to answer requests itself.
    ///
    /// # Errors
    /// Why not.
    pub fn may_maintain(&self) -> Result<(), &'static str> {
        match self.server.phase {
            Phase::Starting | Phase::Serving => Ok(()),
            Phase::Leaving { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Done => Err("the server is shutting down"),
        }
    }

    /// The front answers requests itself from now on, or no longer.
    pub(super) fn maintain(&mut self, on: bool) {
        if self.may_maintain().is_err() {
            return;
        }
        let was = std::mem::replace(&mut self.server.steering.maintenance, on);
        let (effect, text) = match on {
            true => (
                FrontEffect::BeginMaintenance,
                "Maintenance begins, as asked: requests are answered 503",
            ),
            false => (FrontEffect::EndMaintenance, "Maintenance is over, as asked"),
        };
        // Said again, it may be with another page.
        if on || was {
            self.push(Effect::Front(effect));
        }
        if on != was {
            self.log(Level::Warning, text);
        }
    }

    /// What operators have made of the requests that come.
    #[must_use]
    pub fn steered(&self) -> Steered {
        let steering = self.server.steering;
        let held = match steering.hold {
            Hold::No => None,
            Hold::Held { since, until } => Some(Held {
                so_far: self.now.saturating_sub(since),
                left: until.saturating_sub(self.now),
            }),
        };
        Steered { held, last: steering.last, maintenance: steering.maintenance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{Generation, WorkerId};
    use crate::supervise::{
        Event, HealthState, OperatorEvent, Policy, Signal, UpgradeEvent, WorkerEvent, ZygoteEvent,
    };
    use crate::time::Now;

    const SECOND: Duration = Duration::from_secs(1);

    /// A server with one worker that serves, and what was done to its front.
    struct Bench {
        machine: Supervisor,
        now: Now,
        front: Vec<FrontEffect>,
        log: Vec<String>,
    }

    impl Bench {
        fn serving() -> Self {
            let mut bench = Self {
                machine: Supervisor::new(),
                now: SECOND,
                front: Vec::new(),
                log: Vec::new(),
            };
            bench.does(Event::Start { successor: false });
            let policy = Policy { workers: 1, daemon: true, ..Policy::default() };
            bench.does(Event::Zygote(Generation::FIRST, ZygoteEvent::Ready { policy }));
            bench.does(Event::Worker(WorkerId(1), WorkerEvent::Forked { pid: 7 }));
            bench.does(Event::Worker(WorkerId(1), WorkerEvent::Ready));
            bench.front.clear();
            bench
        }

        fn does(&mut self, event: Event) {
            self.machine.handle(event, self.now);
            while let Some(effect) = self.machine.poll_effect() {
                match effect {
                    Effect::Front(effect) => self.front.push(effect),
                    Effect::Log(line) => self.log.push(line.text),
                    _ => {}
                }
            }
        }

        fn operator(&mut self, event: OperatorEvent) {
            self.does(Event::Operator(event));
        }

        fn hold(&mut self, seconds: u64) {
            self.operator(OperatorEvent::HoldRequests {
                most: SECOND * u32::try_from(seconds).unwrap(),
            });
        }
    }

    #[test]
    fn a_pause_ends_by_itself_and_says_so() {
        let mut bench = Bench::serving();
        bench.hold(30);
        assert_eq!(bench.machine.poll_timeout(), Some(bench.now + SECOND * 30));
        assert_eq!(bench.machine.health().state, HealthState::Degraded);
        assert!(bench.machine.health().ready);
        bench.now += SECOND * 30;
        bench.does(Event::Tick);
        assert_eq!(bench.front, [FrontEffect::HoldRequests, FrontEffect::ReleaseRequests]);
        let last = bench.machine.steered().last;
        assert_eq!(last, Some((HoldEnd::TimeOver, SECOND * 30)));
        assert!(bench.log.last().unwrap().contains("time is over"), "{:?}", bench.log);
        assert_eq!(bench.machine.health().state, HealthState::Ready);
    }

    #[test]
    fn whoever_ends_a_pause_first_is_named() {
        for (event, why) in [
            (OperatorEvent::ResumeRequests, HoldEnd::Asked),
            (OperatorEvent::Signal(Signal::Winch), HoldEnd::WorkersLeave),
            (OperatorEvent::Signal(Signal::Term), HoldEnd::ServerEnds),
            (OperatorEvent::Signal(Signal::Int), HoldEnd::ServerEnds),
        ] {
            let mut bench = Bench::serving();
            bench.hold(30);
            bench.now += SECOND;
            bench.operator(event);
            bench.now += SECOND;
            bench.operator(OperatorEvent::ResumeRequests);
            assert_eq!(bench.machine.steered().last, Some((why, SECOND)));
            let releases = bench.front.iter().filter(|it| **it == FrontEffect::ReleaseRequests);
            assert_eq!(releases.count(), 1);
        }
    }

    #[test]
    fn a_pause_that_is_asked_for_again_counts_anew_and_no_pause_is_longer_than_one_may_be() {
        let mut bench = Bench::serving();
        bench.hold(30);
        bench.now += SECOND * 20;
        bench.hold(10_000);
        let held = bench.machine.steered().held.unwrap();
        assert_eq!((held.so_far, held.left), (SECOND * 20, HOLD_MAX));
        assert_eq!(bench.front, [FrontEffect::HoldRequests]);
    }

    #[test]
    fn a_server_that_does_not_serve_alone_refuses_a_pause_and_a_paused_one_an_upgrade() {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, SECOND);
        assert!(machine.may_hold().unwrap_err().contains("starts up"));
        let mut bench = Bench::serving();
        bench.hold(30);
        assert!(bench.machine.may_upgrade().unwrap_err().contains("resume"));
        bench.operator(OperatorEvent::ResumeRequests);
        bench.does(Event::Upgrade(UpgradeEvent::Wanted));
        assert!(bench.machine.may_hold().unwrap_err().contains("upgrade"));
        bench.hold(30);
        assert_eq!(bench.machine.steered().held, None);
        let mut bench = Bench::serving();
        bench.operator(OperatorEvent::Signal(Signal::Term));
        assert!(bench.machine.may_hold().unwrap_err().contains("shutting down"));
    }

    #[test]
    fn maintenance_stays_until_it_is_ended_also_beyond_a_reload() {
        let mut bench = Bench::serving();
        bench.operator(OperatorEvent::Maintain(true));
        bench.operator(OperatorEvent::Signal(Signal::Hup));
        bench.operator(OperatorEvent::Maintain(true));
        let health = bench.machine.health();
        assert!(health.ready && health.why.contains("maintenance"), "{health:?}");
        bench.operator(OperatorEvent::Maintain(false));
        bench.operator(OperatorEvent::Maintain(false));
        let begin = FrontEffect::BeginMaintenance;
        assert_eq!(bench.front, [begin, begin, FrontEffect::EndMaintenance]);
    }
}
