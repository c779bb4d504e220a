//! Ends of workers that were seen: what they mean for their places, and what is said and counted.

use super::consequence::Consequence;
use super::effect::{Effect, WorkerEffect};
use super::event::FailureKind;
use super::ladder::Rung;
use super::limits::{BOOT_DELAY, START_CRASHES_MAX};
use super::machine::Supervisor;
use super::reason::{EndReason, Exit, ExitStatus, SIGKILL, SIGQUIT, signal_name};
use super::state::restart::Death;
use super::state::worker::{Worker, WorkerState};
use crate::ids::WorkerId;
use crate::logs::level::Level;

impl Supervisor {
    pub(super) fn worker_exited(&mut self, id: WorkerId, exit: Exit) {
        let Some(worker) = self.pool.workers.remove(&id) else { return };
        let reason = worker.reason_of(exit);
        if worker.in_front {
            let blameless = worker.is_being_killed() && !reason.may_be_of_a_request();
            self.push(Effect::Worker(id, WorkerEffect::Gone { blameless }));
        }
        self.pool.beginning.ever_of_use |= exit.requests > 0;
        self.log_exit(&worker, exit, reason);
        self.account_end(reason);
        if reason.is_hanging() {
            self.new_worker_hung(&worker, reason);
        }
        match worker.state {
            WorkerState::Booting { .. }
            | WorkerState::Warming { .. }
            | WorkerState::Waiting
            | WorkerState::Forking { .. } => {
                self.died_before_service(&worker, exit, reason);
            }
            WorkerState::Ready { since, retiring: false } => {
                let age = self.now.saturating_sub(since);
                let death = Death::Ready { age, requests: exit.requests };
                self.record_death(&worker, death, reason);
            }
            // These were on their way out, and their places are filled already.
            WorkerState::Ready { retiring: true, .. }
            | WorkerState::StandingBy
            | WorkerState::Cancelled { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Ending(_) => {}
        }
    }

    /// While its generation takes over or soaks, that says as much as a crash.
    fn new_worker_hung(&mut self, worker: &Worker, reason: EndReason) {
        let what = format!("worker {} hung", worker.id);
        let details = format!("It ended for this reason: {reason}");
        self.note_failed(worker.generation, what, details);
    }

    pub(super) fn died_before_service(&mut self, worker: &Worker, exit: Exit, reason: EndReason) {
        if self.is_candidate(worker.generation) {
            let why = format!("worker {} died while booting", worker.id);
            let details = format!("It ended for this reason: {reason}");
            return self.note_failed(worker.generation, why, details);
        }
        if !self.pool.ever_ready {
            self.pool.beginning.crashes += 1;
            let hopeless = match exit.status {
                ExitStatus::Code(_) => true,
                ExitStatus::Signal(_) => self.pool.beginning.crashes >= START_CRASHES_MAX,
            };
            if hopeless {
                let why = match self.pool.serving.policy.processes.has_rlimits {
                    true => " (worker_rlimits may be too low for it)",
                    false => "",
                };
                let text = format!(
                    "Worker failed to boot: it ended before the application was loaded{why}"
                );
                self.log(Level::Critical, text);
                return self.note(Consequence::StartFailed { kind: FailureKind::Boot });
            }
        }
        let death = if exit.is_from_outside() { Death::Killed } else { Death::Booting };
        self.record_death(worker, death, reason);
    }

    /// A worker died that had its place: when the place is filled again depends on how often that
    /// happened to it.
    pub(super) fn record_death(&mut self, worker: &Worker, death: Death, reason: EndReason) {
        if self.is_on_trial(worker.generation) {
            let what = format!("worker {} died", worker.id);
            let details = format!("It ended for this reason: {reason}");
            return self.note_failed(worker.generation, what, details);
        }
        if worker.generation != self.current() {
            return;
        }
        let delay = self.pool.serving.restarts.died(worker.place, death, self.now);
        self.pool.serving.restarts.vacate(worker.place, reason);
        if reason != EndReason::BootFailed {
            self.pool.serving.last_failure = reason.to_string();
        }
        self.tell_breaker(worker, death, reason);
        if delay >= BOOT_DELAY && !self.pool.serving.breaker.is_open() {
            let failures = self.pool.serving.restarts.failures(worker.place);
            self.log(
                Level::Warning,
                format!(
                    "Worker place {} failed {failures} times in a row; next try in {} s",
                    worker.place + 1,
                    delay.as_secs()
                ),
            );
        }
    }

    /// Gunicorn's line, and one of ours with the reason; both have it as a field too.
    fn log_exit(&mut self, worker: &Worker, exit: Exit, reason: EndReason) {
        let Some(pid) = worker.pid else { return };
        let (level, text) = told(worker, exit, pid);
        let uptime = self.now.saturating_sub(worker.born);
        let mut fields = worker.fields(&reason.word());
        fields.push(("uptime_s", uptime.into()));
        fields.push(("requests", exit.requests.into()));
        // A worker that ends well says so itself, as far as the reader of the log can tell.
        let about = (exit.status == ExitStatus::Code(0)).then_some(pid);
        self.log_with(level, about, text, fields.clone());
        let text = format!(
            "Worker {} (pid:{pid}) of generation {} ended: {reason}; it lived {:.1} s and finished {} requests",
            worker.id,
            worker.generation,
            uptime.as_secs_f64(),
            exit.requests
        );
        self.log_with(reason.level(), None, text, fields);
    }
}

/// A worker's end in Gunicorn's words.
fn told(worker: &Worker, exit: Exit, pid: u32) -> (Level, String) {
    match exit.status {
        ExitStatus::Code(0) => (Level::Routine, format!("Worker exiting (pid: {pid})")),
        ExitStatus::Code(code) if worker.explained => {
            (Level::Debug, format!("Worker (pid:{pid}) exited with code {code}."))
        }
        ExitStatus::Code(code) => {
            (Level::Error, format!("Worker (pid:{pid}) exited with code {code}."))
        }
        ExitStatus::Signal(SIGKILL)
            if matches!(worker.state, WorkerState::Ending(Rung::Killed { .. })) =>
        {
            (Level::Warning, format!("Worker (pid:{pid}) was killed."))
        }
        ExitStatus::Signal(SIGKILL) => {
            let why = match exit.oom {
                Some(true) => {
                    " The kernel's OOM killer did it: its control group was out of memory"
                }
                // Gunicorn's guess, where the kernel cannot be asked.
                None => " Perhaps out of memory?",
                Some(false) => " Somebody else did: the kernel's OOM killer did not",
            };
            (Level::Error, format!("Worker (pid:{pid}) was sent SIGKILL!{why}"))
        }
        // We sent it, to one that had not yet made up its mind about signals.
        ExitStatus::Signal(SIGQUIT)
            if matches!(worker.state, WorkerState::Ending(Rung::Aborting { .. })) =>
        {
            (Level::Routine, format!("Worker exiting (pid: {pid})"))
        }
        ExitStatus::Signal(signal) => {
            let name = signal_name(signal);
            (Level::Warning, format!("Worker (pid:{pid}) was sent {name}!"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::Generation;
    use crate::supervise::{Event, OperatorEvent, Policy, Signal, WorkerEvent, ZygoteEvent};

    const START: Duration = Duration::from_secs(1);
    const FIRST: WorkerId = WorkerId(1);

    /// A server whose workers get ready as soon as they are forked; the effects but those.
    fn settle(machine: &mut Supervisor) -> Vec<Effect> {
        let mut effects = Vec::new();
        while let Some(effect) = machine.poll_effect() {
            if let Effect::Worker(worker, WorkerEffect::Fork { .. }) = effect {
                machine.handle(Event::Worker(worker, WorkerEvent::Forked { pid: 100 }), START);
                machine.handle(Event::Worker(worker, WorkerEvent::Ready), START);
            }
            effects.push(effect);
        }
        effects
    }

    /// Whether the first worker's end is laid to none of its requests.
    fn is_blameless(before: &[Event], status: ExitStatus) -> bool {
        let mut machine = Supervisor::new();
        machine.handle(Event::Start { successor: false }, START);
        let policy = Policy { workers: 2, ..Policy::default() };
        machine.handle(Event::Zygote(Generation::FIRST, ZygoteEvent::Ready { policy }), START);
        settle(&mut machine);
        for event in before {
            machine.handle(event.clone(), START);
            settle(&mut machine);
        }
        machine.handle(Event::Worker(FIRST, WorkerEvent::Exited { exit: status.into() }), START);
        let gone = settle(&mut machine).into_iter().find_map(|effect| match effect {
            Effect::Worker(FIRST, WorkerEffect::Gone { blameless }) => Some(blameless),
            _ => None,
        });
        gone.expect("it was in the front")
    }

    #[test]
    fn a_worker_that_we_ended_for_a_reason_of_ours_ended_for_none_of_its_requests() {
        let stop = [Event::Operator(OperatorEvent::Signal(Signal::Int))];
        assert!(is_blameless(&stop, ExitStatus::Signal(SIGKILL)));
        for status in [ExitStatus::Signal(SIGKILL), ExitStatus::Signal(11), ExitStatus::Code(9)] {
            assert!(!is_blameless(&[], status), "{status:?}");
            // On its way out, and nobody has killed it.
            let leaves = [Event::Worker(FIRST, WorkerEvent::SentTerm)];
            assert!(!is_blameless(&leaves, status), "{status:?}");
        }
    }
}
