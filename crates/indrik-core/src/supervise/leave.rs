//! How workers are made to leave: after their successor is ready, after what they have, or by force.
//!
//! Whoever ends a worker says why ([`Supervisor::decide`]); the first reason stands.

use super::effect::{Effect, KillSignal, WorkerEffect};
use super::hooks::in_hook;
use super::ladder::{Rung, Step};
use super::limits::{BOOT_STOP_GRACE, FORK_UNWANTED_MAX, QUICK_GRACE};
use super::machine::Supervisor;
use super::reason::{EndReason, ExitStatus};
use super::state::phase::Phase;
use super::state::restart::Death;
use super::state::worker::{Worker, WorkerState};
use crate::ids::WorkerId;
use crate::logs::level::Level;

impl Supervisor {
    /// Notes why a worker is to end. The worker that follows in its place is started for that.
    pub(super) fn decide(&mut self, id: WorkerId, reason: EndReason) {
        let current = self.current();
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        if worker.end.is_some() {
            return;
        }
        worker.end = Some(reason);
        if worker.generation == current {
            self.pool.serving.restarts.vacate(worker.place, reason);
        }
    }

    /// It goes as soon as its successor is ready, and serves until then. One that is not ready is
    /// left alone.
    pub(super) fn retire(&mut self, id: WorkerId, reason: EndReason) {
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        if let WorkerState::Ready { since, retiring: false } = worker.state {
            worker.state = WorkerState::Ready { since, retiring: true };
            let pid = worker.pid;
            self.decide(id, reason);
            self.log_worker(Level::Routine, pid, reason.announcement());
        }
    }

    /// It was sent SIGTERM. By whoever wants it replaced; or with everybody else by what ends a whole
    /// group of processes, and then it is needed until what was accepted is finished.
    pub(super) fn worker_sent_term(&mut self, id: WorkerId) {
        match self.server.phase {
            Phase::Starting | Phase::Serving => {
                let stands_by = |worker: &Worker| worker.state == WorkerState::StandingBy;
                if self.pool.workers.get(&id).is_some_and(stands_by) {
                    self.drain(id, EndReason::Outside);
                } else {
                    self.retire(id, EndReason::Outside);
                }
            }
            Phase::Leaving { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Done => {}
        }
    }

    /// The kill ladder's first step; its place is free at once, so its successor starts now.
    pub(super) fn stuck(&mut self, id: WorkerId, reason: EndReason) {
        let now = self.now;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        if !worker.may_be_ended_by_force() {
            return;
        }
        let was_ready = worker.is_ready();
        let pid = worker.pid.unwrap_or(0);
        let before = worker.clone();
        worker.dumping(now);
        self.decide(id, reason);
        if reason != EndReason::Restarted {
            self.back_off_if_young(&before);
        }
        let text = match reason {
            EndReason::Restarted => format!("WORKER RESTARTED, as asked (pid:{pid})"),
            EndReason::MemoryHard => format!("WORKER OUT OF ITS MEMORY (pid:{pid})"),
            EndReason::Deadlock => format!("WORKER DEADLOCK (pid:{pid})"),
            _ => format!("WORKER TIMEOUT (pid:{pid})"),
        };
        self.log(Level::Critical, text);
        if was_ready {
            self.push(Effect::Worker(id, WorkerEffect::DrainInFront));
        }
        self.push(Effect::Worker(id, WorkerEffect::Kill { signal: KillSignal::DumpTraceback }));
    }

    /// One of its requests does not end, and the others do: it is asked for its tracebacks, and goes
    /// when its successor is ready and its other requests have ended.
    pub(super) fn request_hangs(&mut self, id: WorkerId) {
        let Some(worker) = self.pool.workers.get(&id) else { return };
        let serves = worker.is_ready() || matches!(worker.state, WorkerState::Draining { .. });
        if !serves {
            return;
        }
        let pid = worker.pid.unwrap_or(0);
        let text = format!("WORKER TIMEOUT (pid:{pid}): a request does not end, others go on");
        self.log(Level::Critical, text);
        self.push(Effect::Worker(id, WorkerEffect::Kill { signal: KillSignal::DumpTraceback }));
        self.retire(id, EndReason::Timeout);
    }

    /// Nothing it says can be believed any more: it goes at once, and its successor starts now.
    pub(super) fn channel_broken(&mut self, id: WorkerId, reason: EndReason) {
        let Some(worker) = self.pool.workers.get(&id).cloned() else { return };
        if worker.in_front && !matches!(worker.state, WorkerState::Ending(Rung::Killed { .. })) {
            let (pid, generation) = (worker.pid.unwrap_or(0), worker.generation);
            self.log(Level::Critical, format!("Worker (pid:{pid}) broke its channel; killing it"));
            self.decide(id, reason);
            self.back_off_if_young(&worker);
            self.kill(id);
            let what = format!("worker {id} broke its channel");
            self.note_failed(generation, what, "");
        }
    }

    /// A worker that had to be ended by force soon after it became ready is as good as crashed.
    fn back_off_if_young(&mut self, worker: &Worker) {
        if let WorkerState::Ready { since, retiring: false } = worker.state
            && worker.generation == self.current()
        {
            let age = self.now.saturating_sub(since);
            let death = Death::Ready { age, requests: 0 };
            let _ = self.pool.serving.restarts.died(worker.place, death, self.now);
        }
    }

    /// No more requests for a ready worker; the flag follows when it is empty.
    pub(super) fn drain(&mut self, id: WorkerId, reason: EndReason) {
        let until = self.now + self.pool.serving.policy.graceful_timeout;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        worker.state = WorkerState::Draining { until };
        self.decide(id, reason);
        self.push(Effect::Worker(id, WorkerEffect::DrainInFront));
    }

    /// SIGKILL. Why has been decided.
    pub(super) fn kill(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        worker.killed(now);
        self.push(Effect::Worker(id, WorkerEffect::Kill { signal: KillSignal::Kill }));
    }

    /// Ends a worker that has not served, in whatever way its state asks for. One with a process
    /// may have opened what its exit hooks close, so it is told to leave once it has booted.
    pub(super) fn discard(&mut self, id: WorkerId, reason: EndReason) {
        let until = self.stop_deadline().min(self.now + BOOT_STOP_GRACE);
        let soon = self.now + FORK_UNWANTED_MAX;
        let is_ending = matches!(self.server.phase, Phase::Stopping { .. });
        let current = self.current();
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        match worker.state {
            WorkerState::Forking { until } => {
                // The zygote of the generation that serves is needed on, so it has its time.
                let is_unwanted = is_ending || worker.generation != current;
                let until = if is_unwanted { until.min(soon) } else { until };
                worker.state = WorkerState::Cancelled { until };
                self.decide(id, reason);
            }
            // It has no request. If it has started up it needs only to shut down again; if it still
            // imports, nobody waits for that.
            WorkerState::Booting { .. } | WorkerState::Warming { .. } | WorkerState::Waiting => {
                worker.state = WorkerState::told(until);
                self.decide(id, reason);
                self.push(Effect::Worker(id, WorkerEffect::ShutDown));
            }
            WorkerState::Cancelled { until } if is_ending => {
                worker.state = WorkerState::Cancelled { until: until.min(soon) };
            }
            WorkerState::Cancelled { .. }
            | WorkerState::Ready { .. }
            | WorkerState::StandingBy
            | WorkerState::Draining { .. }
            | WorkerState::Ending(_) => {}
        }
    }

    /// Takes the next step with every worker whose state has lasted too long.
    pub(super) fn expire_workers(&mut self) {
        let now = self.now;
        let due: Vec<WorkerId> = self
            .pool
            .workers
            .values()
            .filter(|worker| worker.deadline().is_some_and(|at| at <= now))
            .map(|worker| worker.id)
            .collect();
        for id in due {
            self.expire_worker(id);
        }
    }

    fn expire_worker(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        let pid = worker.pid.unwrap_or(0);
        match worker.state {
            WorkerState::Forking { .. } | WorkerState::Cancelled { .. } => {
                let generation = worker.generation;
                self.zygote_silent(generation);
            }
            WorkerState::Booting { .. } | WorkerState::Warming { .. } => {
                let worker = worker.clone();
                let seconds = self.boot_max(worker.generation).as_secs();
                self.log(
                    Level::Error,
                    format!(
                        "Worker (pid:{pid}) was not ready within {seconds} s{}; killing it \
                         (max_boot_time says how long it may take)",
                        in_hook(worker.in_hook)
                    ),
                );
                self.decide(id, EndReason::BootTimeout);
                self.kill(id);
                let exit = ExitStatus::Code(1).into();
                self.died_before_service(&worker, exit, EndReason::BootTimeout);
            }
            WorkerState::Draining { .. } => self.did_not_finish(id, pid),
            WorkerState::Ending(Rung::Told { .. }) if !worker.in_front => {
                // It has no request, and its tracebacks would only show that it was importing.
                let text = format!("Worker (pid:{pid}) still loads the application; ending it");
                self.log(Level::Info, text);
                self.quit(id);
            }
            WorkerState::Ending(rung) => match rung.next(true) {
                Step::Abort if rung.is_forced() => self.abort(id),
                Step::Abort => self.did_not_finish(id, pid),
                Step::Kill => self.kill(id),
                Step::Forget => self.forget(id),
            },
            WorkerState::Waiting | WorkerState::Ready { .. } | WorkerState::StandingBy => {}
        }
        debug_assert!(
            self.pool.workers.get(&id).and_then(Worker::deadline).is_none_or(|at| at > now),
            "an expired state must be left"
        );
    }

    fn did_not_finish(&mut self, id: WorkerId, pid: u32) {
        let text = format!("Worker (pid:{pid}) did not finish within the graceful timeout");
        self.log(Level::Warning, text);
        self.abort(id);
    }

    /// SIGKILL has not ended it, and nobody waits for it any more.
    fn forget(&mut self, id: WorkerId) {
        let Some(worker) = self.pool.workers.remove(&id) else { return };
        let pid = worker.pid.unwrap_or(0);
        self.log(Level::Critical, format!("Worker (pid:{pid}) survives SIGKILL; forgotten"));
        if worker.in_front {
            self.push(Effect::Worker(id, WorkerEffect::Gone { blameless: true }));
        }
        self.account_end(worker.end.unwrap_or(EndReason::ShutDown));
    }

    /// SIGQUIT. Why has been decided.
    fn quit(&mut self, id: WorkerId) {
        let until = self.now + QUICK_GRACE;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        worker.state = WorkerState::Ending(Rung::Aborting { until });
        self.push(Effect::Worker(id, WorkerEffect::Kill { signal: KillSignal::Quit }));
    }

    /// SIGABRT. Why has been decided.
    pub(super) fn abort(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        worker.aborting(now);
        self.push(Effect::Worker(id, WorkerEffect::Kill { signal: KillSignal::Abort }));
    }
}
