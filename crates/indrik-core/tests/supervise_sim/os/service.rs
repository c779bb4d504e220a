//! What effects do to the whole server: its connections, the server beside it, what the service manager
//! hears.

use std::time::Duration;

use indrik_core::supervise::{
    Effect, Event, ExitStatus, FrontEffect, Notice, PoolEffect, UpgradeEffect, UpgradeEvent,
};

use super::{Coming, Os, Predecessor};

const LIVES: Event = Event::Upgrade(UpgradeEvent::SuccessorLives);

impl Os {
    pub(super) fn perform_for_all(&mut self, effect: &Effect, now: Duration) {
        match effect {
            Effect::Pool(_, PoolEffect::ReloadEnded(outcome)) => {
                self.outcomes.push(outcome.clone())
            }
            Effect::Front(FrontEffect::OpenDoors) => self.open_doors(),
            Effect::Front(FrontEffect::ResumeAccepting) => {
                assert!(self.accepts && self.paused, "resumed without a pause");
                self.paused = false;
            }
            Effect::Front(FrontEffect::PauseAccepting) => {
                assert!(self.accepts && !self.paused, "paused twice, or before it took any");
                assert!(self.daemon || self.successor_serves, "nobody takes connections");
                self.paused = true;
                self.empty_the_front(now);
            }
            Effect::Front(FrontEffect::HoldRequests) => {
                let is_second = self.holding.replace(now).is_some();
                assert!(
                    !is_second && !self.refuses && !self.paused,
                    "held twice, or by one that ends"
                );
                assert_eq!(self.successor, None, "held beside a server that serves on");
            }
            Effect::Front(FrontEffect::ReleaseRequests) => {
                assert!(self.holding.take().is_some(), "released, and nothing was held");
            }
            Effect::Front(FrontEffect::BeginMaintenance) => self.maintenance = true,
            Effect::Front(FrontEffect::EndMaintenance) => self.maintenance = false,
            Effect::Upgrade(UpgradeEffect::RunPreExec) => self.run_pre_exec(now),
            Effect::Upgrade(UpgradeEffect::StartSuccessor) => self.start_successor(now),
            Effect::Notify(Notice::MoreTime { .. }) => {}
            Effect::Notify(notice) => {
                if let Notice::HandedOver { to } = notice {
                    self.handed_over = self.successor == Some(*to) && self.successor_serves;
                }
                self.told = Some(*notice);
            }
            Effect::Upgrade(UpgradeEffect::TellPredecessor) => self.tell_predecessor(now),
            Effect::Upgrade(UpgradeEffect::GiveWay) => {
                assert!(self.successor_serves, "gave way to a server that does not serve");
                self.gave_way_to = self.successor;
            }
            Effect::Upgrade(UpgradeEffect::Done { .. }) => self.upgraded += 1,
            Effect::Upgrade(UpgradeEffect::Failed { .. }) => self.upgrades_failed += 1,
            Effect::Front(FrontEffect::StopAccepting) => {
                self.refuses = true;
                self.empty_the_front(now);
            }
            Effect::Front(FrontEffect::CloseNow) => self.refuses = true,
            Effect::ReopenLogs
            | Effect::Upgrade(UpgradeEffect::Promote)
            | Effect::Pool(_, PoolEffect::Confirm { .. })
            | Effect::Pool(_, PoolEffect::Restore { .. })
            | Effect::Count(_)
            | Effect::Log(_)
            | Effect::Exit(_) => {}
            // What is done to one process or for one generation.
            _ => unreachable!("{effect:?} is performed elsewhere"),
        }
    }

    /// Others have the sockets too where they were handed over: what the front takes of them before a worker is
    /// ready waits for its boot, and is lost when that fails.
    fn open_doors(&mut self) {
        assert!(!std::mem::replace(&mut self.accepts, true), "the doors are opened twice");
        let is_alone = self.predecessor.is_none() && !self.handed;
        assert!(is_alone || self.serving() > 0, "connections are taken that nobody can answer");
    }

    fn tell_predecessor(&mut self, now: Duration) {
        assert!(
            self.accepts && !self.paused && self.serving() > 0,
            "the old server is to leave, and nobody serves"
        );
        if self.predecessor == Some(Predecessor::Waits) {
            self.predecessor = Some(Predecessor::Leaves);
            self.end_predecessor(now);
        }
    }

    pub(super) fn run_pre_stop(&mut self, now: Duration) {
        if !self.random.percent(self.faults.front_never_idle) {
            self.after(now, 0, 20_000, Coming::Front(Event::PreStopDone));
        }
    }

    /// It returns in the end, but that may be long after its limit.
    fn run_pre_exec(&mut self, now: Duration) {
        let most = if self.random.percent(self.faults.pre_exec_slow) { 120_000 } else { 0 };
        let lost = self.random.percent(self.faults.pre_exec_lost);
        self.pre_exec_lost = lost;
        let event = if lost { UpgradeEvent::PreExecLost } else { UpgradeEvent::PreExecDone };
        self.after(now, 0, most, Coming::Front(Event::Upgrade(event)));
    }

    fn empty_the_front(&mut self, now: Duration) {
        if !self.random.percent(self.faults.front_never_idle) {
            self.after(now, 0, 20_000, Coming::Front(Event::FrontIdle));
        }
    }

    fn start_successor(&mut self, now: Duration) {
        assert_eq!(self.successor, None, "a second successor");
        let ends = self.refuses || self.told == Some(Notice::Stopping);
        assert!(!ends, "a server that was told to stop starts another one");
        assert!(!self.pre_exec_lost, "on a hook that was cut in its middle");
        self.counter += 1;
        let pid = u32::try_from(self.counter).unwrap();
        self.successor = Some(pid);
        if self.random.percent(self.faults.successor_fails) {
            let event =
                Event::Upgrade(UpgradeEvent::SuccessorFailed { message: "no such file".into() });
            self.successor = None;
            return self.after(now, 0, 0, Coming::Predecessor(event));
        }
        self.after(
            now,
            0,
            0,
            Coming::Successor(pid, Event::Upgrade(UpgradeEvent::SuccessorStarted { pid })),
        );
        let hangs = self.random.percent(self.faults.successor_hangs);
        self.successor_hangs = hangs;
        self.after(now, 0, 110_000, Coming::Successor(pid, LIVES));
        if !hangs && !self.random.percent(self.faults.successor_never_serves) {
            self.after(
                now,
                1,
                30_000,
                Coming::Successor(pid, Event::Upgrade(UpgradeEvent::SuccessorReady)),
            );
        }
        if self.random.percent(self.faults.successor_dies) {
            self.end_successor(now, 30_000);
        }
    }

    pub(super) fn successor_does(
        &mut self,
        pid: u32,
        event: Event,
        now: Duration,
    ) -> Option<Event> {
        if self.successor != Some(pid) {
            return None;
        }
        if let Event::Upgrade(UpgradeEvent::SuccessorExited { status }) = event {
            self.service_stopped |= self.successor_serves && status == ExitStatus::Code(0);
            self.successor = None;
            self.successor_serves = false;
            self.gave_way_to = None;
        }
        if event == LIVES {
            if self.successor_hangs || self.successor_serves {
                return None;
            }
            // Seldom, so that two days do not take long; and the clock may go back.
            self.after(now, 60_000, 110_000, Coming::Successor(pid, LIVES));
        }
        self.successor_serves |= event == Event::Upgrade(UpgradeEvent::SuccessorReady);
        Some(event)
    }

    pub(super) fn predecessor_does(&mut self, event: Event) -> Option<Event> {
        if event == Event::Upgrade(UpgradeEvent::PredecessorExited) {
            self.predecessor.take()?;
        }
        Some(event)
    }

    /// The new server goes away within so many milliseconds.
    pub(crate) fn end_successor(&mut self, now: Duration, most: u64) {
        if let Some(pid) = self.successor {
            let status = [ExitStatus::Code(0), ExitStatus::Code(3), ExitStatus::Signal(9)];
            let status = status[self.random.below(3)];
            self.after(
                now,
                1,
                most,
                Coming::Successor(pid, Event::Upgrade(UpgradeEvent::SuccessorExited { status })),
            );
        }
    }

    /// The old server goes away within half a minute.
    pub(crate) fn end_predecessor(&mut self, now: Duration) {
        self.after(
            now,
            1,
            30_000,
            Coming::Predecessor(Event::Upgrade(UpgradeEvent::PredecessorExited)),
        );
    }
}
