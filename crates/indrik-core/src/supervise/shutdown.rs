//! The end of the server: gracefully, quickly, and what comes when neither works.

use super::effect::{Effect, FrontEffect, KillSignal, Notice, WorkerEffect, ZygoteEffect};
use super::event::{Failure, FailureKind};
use super::ladder::Rung;
use super::limits::{PRE_STOP_MAX, QUICK_GRACE, TERM_ECHO};
use super::machine::Supervisor;
use super::reason::EndReason;
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::upgrade::{Plan, Upgrade};
use super::state::worker::WorkerState;
use crate::ids::{Generation, WorkerId};
use crate::logs::level::Level;

impl Supervisor {
    /// TERM: say so, finish what was accepted, then leave. The second one does not wait.
    pub(super) fn shut_down_gracefully(&mut self) {
        let is_echo = self.server.first_term.is_some_and(|first| self.now < first + TERM_ECHO);
        self.server.first_term.get_or_insert(self.now);
        match self.server.phase {
            // The workers have gone: there is nobody to finish anything.
            Phase::Serving if self.server.pause == Pause::Empty => self.shut_down_quickly(),
            // It has taken no connection: those that wait are for whoever shares the sockets.
            Phase::Serving if !self.server.doors.are_open() => {
                self.cancel_reload(EndReason::ShutDown);
                self.hand_over();
            }
            Phase::Serving => {
                self.cancel_reload(EndReason::ShutDown);
                self.say_goodbye();
                self.begin_leaving();
            }
            _ if is_echo => {}
            // Nothing was served yet, so nothing has to be finished.
            Phase::Starting
            | Phase::Leaving { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. } => {
                self.shut_down_quickly();
            }
            Phase::Done => {}
        }
    }

    /// Nobody has to turn to others where another server has the sockets, or nothing comes in.
    fn begin_leaving(&mut self) {
        if self.server.upgrade != Upgrade::None || self.server.pause != Pause::No {
            return self.begin_draining();
        }
        if self.pool.serving.policy.pre_stop {
            self.server.phase = Phase::Leaving { hook: true, until: self.now + PRE_STOP_MAX };
            self.push(Effect::Zygote(self.current(), ZygoteEffect::RunPreStop));
        } else {
            self.begin_delay();
        }
    }

    pub(super) fn pre_stop_done(&mut self) {
        if matches!(self.server.phase, Phase::Leaving { hook: true, .. }) {
            self.begin_delay();
        }
    }

    fn begin_delay(&mut self) {
        let delay = self.pool.serving.policy.drain_delay;
        if delay.is_zero() {
            return self.begin_draining();
        }
        let text = format!("Not ready any more; serving on for {} s", delay.as_secs_f64());
        self.log(Level::Info, text);
        self.server.phase = Phase::Leaving { hook: false, until: self.now + delay };
    }

    fn begin_draining(&mut self) {
        self.server.phase =
            Phase::Draining { until: self.now + self.pool.serving.policy.graceful_timeout };
        self.push(Effect::Front(FrontEffect::StopAccepting));
    }

    /// INT, QUIT: leave now. Once more: kill.
    pub(super) fn shut_down_quickly(&mut self) {
        match self.server.phase {
            Phase::Starting | Phase::Serving | Phase::Leaving { .. } | Phase::Draining { .. } => {
                self.cancel_reload(EndReason::ShutDown);
                if self.server.phase == Phase::Serving {
                    self.say_goodbye();
                }
                self.push(Effect::Front(FrontEffect::CloseNow));
                self.quit_workers();
            }
            // Only hooks are left to wait for.
            Phase::Stopping { quick: false } if self.pool.workers.is_empty() => self.kill_zygotes(),
            Phase::Stopping { quick: false } => self.quit_workers(),
            Phase::Stopping { quick: true } => self.kill_all(),
            Phase::Done => {}
        }
    }

    pub(super) fn say_goodbye(&mut self) {
        self.notify(match self.server.upgrade {
            Upgrade::Predecessor { successor, .. } => Notice::HandedOver { to: successor },
            Upgrade::None
            | Upgrade::Preparing { .. }
            | Upgrade::Starting { .. }
            | Upgrade::Successor => Notice::Stopping,
        });
        self.upgrade_is_overtaken();
    }

    /// The server could not start: everything ends, with Gunicorn's exit code.
    pub(super) fn give_up(&mut self, kind: FailureKind) {
        if self.server.phase == Phase::Starting {
            self.server.exit_code = kind.exit_code();
            self.push(Effect::Front(FrontEffect::CloseNow));
            self.quit_workers();
        }
    }

    /// No worker was ever of use, and none is expected to be.
    pub(super) fn end_as_failed(&mut self) {
        self.server.exit_code = FailureKind::Boot.exit_code();
        self.shut_down_quickly();
    }

    /// Workers without a front would wait for ever.
    pub(super) fn front_failed(&mut self, failure: &Failure) {
        self.log_failure("Cannot start", failure);
        self.give_up(failure.kind);
    }

    pub(super) fn expire_phase(&mut self) {
        if self.server.phase.deadline().is_none_or(|at| at > self.now) {
            return;
        }
        match self.server.phase {
            Phase::Leaving { hook: true, .. } => {
                let limit = PRE_STOP_MAX.as_secs();
                let text = format!("The hook pre_stop still runs after {limit} s; going on");
                self.log(Level::Warning, text);
                self.begin_delay();
            }
            Phase::Leaving { hook: false, .. } => self.begin_draining(),
            Phase::Starting
            | Phase::Serving
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Done => self.drop_the_rest(),
        }
    }

    /// The graceful timeout is over.
    pub(super) fn drop_the_rest(&mut self) {
        self.log(
            Level::Warning,
            format!(
                "Requests are unfinished after the graceful timeout of {} s; they are dropped",
                self.pool.serving.policy.graceful_timeout.as_secs()
            ),
        );
        self.push(Effect::Front(FrontEffect::CloseNow));
        self.stop_workers();
    }

    pub(super) fn stop_workers(&mut self) {
        let until = self.stop_deadline();
        self.server.phase = Phase::Stopping { quick: false };
        for id in self.all_workers() {
            let Some(worker) = self.pool.workers.get_mut(&id) else { continue };
            match worker.state {
                WorkerState::Ready { .. }
                | WorkerState::StandingBy
                | WorkerState::Draining { .. } => {
                    worker.state = WorkerState::told(until);
                    self.decide(id, EndReason::ShutDown);
                    self.push(Effect::Worker(id, WorkerEffect::ShutDown));
                }
                WorkerState::Ending(Rung::Told { until: earlier }) => {
                    worker.state = WorkerState::told(earlier.min(until));
                }
                // One that boots may have started up already, and what started up is shut down.
                WorkerState::Forking { .. }
                | WorkerState::Cancelled { .. }
                | WorkerState::Booting { .. }
                | WorkerState::Warming { .. }
                | WorkerState::Waiting
                | WorkerState::Ending(_) => self.discard(id, EndReason::ShutDown),
            }
        }
        self.retire_zygotes();
    }

    fn quit_workers(&mut self) {
        self.server.phase = Phase::Stopping { quick: true };
        let until = self.now + QUICK_GRACE;
        for id in self.all_workers() {
            let Some(worker) = self.pool.workers.get_mut(&id) else { continue };
            match worker.state {
                WorkerState::Ready { .. }
                | WorkerState::StandingBy
                | WorkerState::Draining { .. }
                | WorkerState::Booting { .. }
                | WorkerState::Warming { .. }
                | WorkerState::Waiting
                | WorkerState::Ending(Rung::Told { .. } | Rung::Dumping { .. }) => {
                    worker.state = WorkerState::Ending(Rung::Aborting { until });
                    self.decide(id, EndReason::ShutDown);
                    self.push(Effect::Worker(id, WorkerEffect::Kill { signal: KillSignal::Quit }));
                }
                WorkerState::Forking { .. }
                | WorkerState::Cancelled { .. }
                | WorkerState::Ending(_) => self.discard(id, EndReason::ShutDown),
            }
        }
        self.retire_zygotes();
    }

    fn kill_all(&mut self) {
        for id in self.all_workers() {
            let Some(worker) = self.pool.workers.get(&id) else { continue };
            match worker.state {
                WorkerState::Forking { .. } | WorkerState::Cancelled { .. } => {
                    self.discard(id, EndReason::ShutDown)
                }
                WorkerState::Ending(Rung::Killed { .. }) => {}
                WorkerState::Booting { .. }
                | WorkerState::Warming { .. }
                | WorkerState::Waiting
                | WorkerState::Ready { .. }
                | WorkerState::StandingBy
                | WorkerState::Draining { .. }
                | WorkerState::Ending(_) => {
                    self.decide(id, EndReason::ShutDown);
                    self.kill(id);
                }
            }
        }
        self.kill_zygotes();
    }

    /// Ends the server when nothing of it is left.
    pub(super) fn finish_if_empty(&mut self) {
        let stopping = matches!(self.server.phase, Phase::Stopping { .. });
        if stopping && self.pool.workers.is_empty() && self.pool.zygotes.is_empty() {
            self.server.phase = Phase::Done;
            self.push(Effect::Exit(self.server.exit_code));
        }
    }

    /// Said when the last worker has gone, before the zygote that stands for the server is told to leave.
    pub(super) fn say_farewell(&mut self) {
        let over =
            matches!(self.server.phase, Phase::Stopping { .. }) && self.pool.workers.is_empty();
        if over && !std::mem::replace(&mut self.server.said_farewell, true) {
            let name = self.master_name();
            // What went wrong stands last.
            let level = if self.server.exit_code == 0 { Level::Info } else { Level::Routine };
            self.log(level, format!("Shutting down: {name}"));
        }
    }

    fn retire_zygotes(&mut self) {
        let generations: Vec<Generation> = self.pool.zygotes.keys().copied().collect();
        for generation in generations {
            self.retire_zygote(generation);
        }
    }

    fn all_workers(&self) -> Vec<WorkerId> {
        self.pool.workers.keys().copied().collect()
    }

    /// Nothing is left to do here.
    pub(super) fn hand_over(&mut self) {
        self.say_goodbye();
        self.push(Effect::Front(FrontEffect::CloseNow));
        self.stop_workers();
    }

    /// This server leaves for another reason than that the new one serves.
    fn upgrade_is_overtaken(&mut self) {
        match self.server.upgrade {
            Upgrade::Preparing { replaces, .. } => {
                let text = "The master was told to stop while the hook pre_exec ran; no new master is started";
                self.no_successor(replaces, text.to_owned());
            }
            Upgrade::Predecessor { successor, plan: Plan::Leave { .. } } => {
                self.server.upgrade = Upgrade::Predecessor { successor, plan: Plan::Stay };
                self.upgrade_failed(format!(
                    "The old master was told to stop before new master (pid:{successor}) served; \
                     that one goes on"
                ));
            }
            // One that is being started is heard of before anything else.
            Upgrade::None
            | Upgrade::Starting { .. }
            | Upgrade::Predecessor { plan: Plan::Stay | Plan::Leaving, .. }
            | Upgrade::Successor => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::supervise::{
        Event, ExitStatus, OperatorEvent, Policy, Signal, WorkerEvent, ZygoteEvent,
    };

    const START: Duration = Duration::from_secs(1);

    /// A server with two workers that are ready.
    fn serving() -> Supervisor {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, START);
        let policy = Policy { workers: 2, ..Policy::default() };
        machine.handle(Event::Zygote(Generation::FIRST, ZygoteEvent::Ready { policy }), START);
        while let Some(effect) = machine.poll_effect() {
            if let Effect::Worker(worker, WorkerEffect::Fork { .. }) = effect {
                machine.handle(Event::Worker(worker, WorkerEvent::Forked { pid: 100 }), START);
                machine.handle(Event::Worker(worker, WorkerEvent::Ready), START);
            }
        }
        assert_eq!(machine.census().ready, 2);
        machine
    }

    fn effects(machine: &mut Supervisor) -> Vec<Effect> {
        std::iter::from_fn(|| machine.poll_effect()).collect()
    }

    fn forks(effects: &[Effect]) -> usize {
        effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Worker(_, WorkerEffect::Fork { .. })))
            .count()
    }

    #[test]
    fn workers_that_are_sent_term_with_the_master_serve_until_the_front_has_finished() {
        let mut machine = serving();
        let ids = machine.all_workers();
        machine.handle(Event::Operator(OperatorEvent::Signal(Signal::Term)), START);
        for worker in ids {
            machine.handle(Event::Worker(worker, WorkerEvent::SentTerm), START);
        }
        let (ready, meanwhile) = (machine.census().ready, effects(&mut machine));
        assert_eq!((ready, forks(&meanwhile)), (2, 0));
        machine.handle(Event::FrontIdle, START);
        let told = |effect: &&Effect| matches!(effect, Effect::Worker(_, WorkerEffect::ShutDown));
        assert_eq!(effects(&mut machine).iter().filter(told).count(), 2);
    }

    #[test]
    fn a_worker_that_is_sent_term_alone_serves_until_its_successor_is_ready() {
        let mut machine = serving();
        let worker = machine.all_workers()[0];
        machine.handle(Event::Worker(worker, WorkerEvent::SentTerm), START);
        let meanwhile = effects(&mut machine);
        assert_eq!((machine.census().ready, forks(&meanwhile)), (2, 1));
        let Some(Effect::Worker(successor, WorkerEffect::Fork { .. })) = meanwhile
            .into_iter()
            .find(|effect| matches!(effect, Effect::Worker(_, WorkerEffect::Fork { .. })))
        else {
            panic!("no successor");
        };
        machine.handle(Event::Worker(successor, WorkerEvent::Forked { pid: 101 }), START);
        machine.handle(Event::Worker(successor, WorkerEvent::Ready), START);
        assert!(
            effects(&mut machine).contains(&Effect::Worker(worker, WorkerEffect::DrainInFront))
        );
    }

    #[test]
    fn a_second_term_is_quick_unless_it_is_an_echo_of_the_first() {
        let mut machine = serving();
        let is_quick = |machine: &mut Supervisor, at| {
            machine.handle(Event::Operator(OperatorEvent::Signal(Signal::Term)), at);
            effects(machine).contains(&Effect::Front(FrontEffect::CloseNow))
        };
        assert!(!is_quick(&mut machine, START));
        assert!(!is_quick(&mut machine, START + TERM_ECHO - Duration::from_millis(1)));
        assert!(is_quick(&mut machine, START + TERM_ECHO));
    }

    #[test]
    fn a_second_word_does_not_wait_for_the_hook_on_exit() {
        for again in [Signal::Term, Signal::Int] {
            let mut machine = serving();
            machine.handle(Event::Operator(OperatorEvent::Signal(Signal::Term)), START);
            machine.handle(Event::FrontIdle, START);
            for worker in machine.all_workers() {
                let exit = ExitStatus::Code(0).into();
                machine.handle(Event::Worker(worker, WorkerEvent::Exited { exit }), START);
            }
            let zygote = |effect| Effect::Zygote(Generation::FIRST, effect);
            let told = effects(&mut machine);
            assert!(told.contains(&zygote(ZygoteEffect::Retire { last: true })), "{told:?}");
            let later = START + TERM_ECHO;
            machine.handle(Event::Operator(OperatorEvent::Signal(again)), later);
            assert!(effects(&mut machine).contains(&zygote(ZygoteEffect::Kill)));
        }
    }

    #[test]
    fn the_first_term_is_no_echo_of_an_end_that_began_otherwise() {
        let mut machine = serving();
        machine.handle(Event::Operator(OperatorEvent::Signal(Signal::Int)), START);
        let _ = effects(&mut machine);
        machine.handle(Event::Operator(OperatorEvent::Signal(Signal::Term)), START);
        let kill = |effect: &&Effect| {
            matches!(effect, Effect::Worker(_, WorkerEffect::Kill { signal: KillSignal::Kill, .. }))
        };
        assert_eq!(effects(&mut machine).iter().filter(kill).count(), 2);
    }
}
