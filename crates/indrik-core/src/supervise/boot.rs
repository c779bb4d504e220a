//! A worker's way to its first request: it is forked, loads the application, and is warmed up where the settings
//! ask for that.

use super::consequence::Consequence;
use super::effect::{Effect, WorkerEffect};
use super::event::{Failure, FailureKind};
use super::limits::{START_CRASHES_MAX, STOP_GRACE_MIN, WARM_UP_SLACK, WHY_CHARS_MAX};
use super::machine::Supervisor;
use super::reason::{EndReason, StartReason, Tally};
use super::state::phase::Phase;
use super::state::restart::Death;
use super::state::worker::{Worker, WorkerState};
use crate::ids::{Generation, WorkerId};
use crate::logs::level::Level;

impl Supervisor {
    /// It has no application, and will answer every request with why.
    pub(super) fn shows_why(&mut self, id: WorkerId, why: &str) {
        if let Some(worker) = self.pool.workers.get_mut(&id) {
            worker.shows = Some(why.chars().take(WHY_CHARS_MAX).collect());
        }
    }

    pub(super) fn fork(&mut self, generation: Generation, place: u32, start: StartReason) {
        let id = WorkerId(self.server.next_worker);
        self.server.next_worker += 1;
        self.pool.workers.insert(
            id,
            Worker::new(id, generation, place, (start, self.policy_of(generation).life), self.now),
        );
        self.push(Effect::Count(Tally::Start(start)));
        if generation == self.current() {
            self.note_trial(id);
        }
        self.push(Effect::Worker(id, WorkerEffect::Fork { generation }));
    }

    pub(super) fn forked(&mut self, id: WorkerId, pid: u32) {
        let Some(generation) = self.pool.workers.get(&id).map(|worker| worker.generation) else {
            return;
        };
        let until = self.now + self.boot_max(generation);
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        match worker.state {
            WorkerState::Forking { .. } => {
                worker.booting(pid, until);
                let (start, fields) = (worker.start, worker.fields(&worker.start.word()));
                let text = format!("Booting worker with pid: {pid}");
                self.log_with(Level::Routine, Some(pid), text, fields.clone());
                let text =
                    format!("Worker {id} (pid:{pid}) of generation {generation} started: {start}");
                self.log_with(start.level(), None, text, fields);
                self.push(Effect::Worker(id, WorkerEffect::Release));
            }
            WorkerState::Cancelled { .. } => {
                worker.pid = Some(pid);
                self.kill(id);
            }
            WorkerState::Booting { .. }
            | WorkerState::Warming { .. }
            | WorkerState::Waiting
            | WorkerState::StandingBy
            | WorkerState::Ready { .. }
            | WorkerState::Draining { .. }
            | WorkerState::Ending(_) => {}
        }
    }

    pub(super) fn worker_in_hook(&mut self, id: WorkerId, hook: Option<&'static str>) {
        if let Some(worker) = self.pool.workers.get_mut(&id) {
            worker.in_hook = hook;
        }
    }

    pub(super) fn fork_failed(&mut self, id: WorkerId, message: &str) {
        let Some(worker) = self.pool.workers.remove(&id) else { return };
        self.account_end(worker.end.unwrap_or(EndReason::ForkFailed));
        self.log(Level::Error, format!("Cannot fork worker {id}: {message}"));
        if self.is_candidate(worker.generation) {
            let what = format!("worker {id} could not be forked");
            self.note_failed(worker.generation, what, message);
        } else if self.start_is_hopeless() {
            let text = "Cannot start: no worker can be forked (see the errors above)";
            self.log(Level::Critical, text);
            self.note(Consequence::StartFailed { kind: FailureKind::Boot });
        } else {
            self.record_death(&worker, Death::Booting, EndReason::ForkFailed);
        }
    }

    /// One more worker could not be made: whether that happened too often before any was ready, and none is on its
    /// way that may still be.
    fn start_is_hopeless(&mut self) -> bool {
        if self.pool.ever_ready {
            return false;
        }
        self.pool.beginning.crashes += 1;
        let is_coming = self.pool.workers.values().any(Worker::is_coming);
        self.pool.beginning.crashes >= START_CRASHES_MAX && !is_coming
    }

    /// A hook raised instead of letting the worker be made.
    pub(super) fn fork_refused(&mut self, id: WorkerId, failure: &Failure) {
        let Some(worker) = self.pool.workers.remove(&id) else { return };
        self.account_end(worker.end.unwrap_or(EndReason::ForkFailed));
        self.log_failure("Cannot fork a worker", failure);
        if self.is_candidate(worker.generation) {
            let details = failure.told("Cannot fork a worker");
            self.note_failed(worker.generation, "a worker could not be forked", details);
        } else if self.pool.ever_ready {
            self.record_death(&worker, Death::Booting, EndReason::ForkFailed);
        } else {
            let kind = match failure.kind {
                FailureKind::Exit(code) => FailureKind::Exit(code),
                _ => FailureKind::ForkHook,
            };
            self.note(Consequence::StartFailed { kind });
        }
    }

    /// The worker has booted. If its generation has a warm-up, that comes first.
    pub(super) fn worker_ready(&mut self, id: WorkerId) {
        let Some(worker) = self.pool.workers.get(&id) else { return };
        if !matches!(worker.state, WorkerState::Booting { .. }) {
            return;
        }
        let warm_up = self.policy_of(worker.generation).reload.warm_up;
        let until = warm_up.map(|limit| self.now + limit + WARM_UP_SLACK);
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        match until {
            None => self.worker_serves(id),
            Some(until) => {
                worker.state = WorkerState::Warming { until };
                worker.in_front = true;
                self.push(Effect::Worker(id, WorkerEffect::WarmUp));
            }
        }
    }

    pub(super) fn worker_warm(&mut self, id: WorkerId) {
        if self.is_warming(id) {
            self.worker_serves(id);
        }
    }

    /// Its process is sound; only its answers are not what they should be.
    pub(super) fn warm_up_failed(&mut self, id: WorkerId, failure: &Failure) {
        if !self.is_warming(id) {
            return;
        }
        self.discard(id, EndReason::BootFailed);
        let Some(worker) = self.pool.workers.get(&id).cloned() else { return };
        self.boot_ended(&worker, failure);
    }

    fn is_warming(&self, id: WorkerId) -> bool {
        let worker = self.pool.workers.get(&id);
        worker.is_some_and(|worker| matches!(worker.state, WorkerState::Warming { .. }))
    }

    /// The worker has booted and is warm.
    pub(super) fn worker_serves(&mut self, id: WorkerId) {
        let is_candidate =
            self.pool.workers.get(&id).is_some_and(|worker| self.is_candidate(worker.generation));
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        if is_candidate {
            worker.state = WorkerState::Waiting;
            return;
        }
        self.join(id);
        self.pool.ever_ready = true;
        if self.server.phase == Phase::Starting {
            self.server.phase = Phase::Serving;
            if std::mem::take(&mut self.pool.reloads.again) {
                self.note(Consequence::ReloadAwaited);
            }
        }
    }

    /// A worker that was ready takes requests from now on.
    pub(super) fn join(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        worker.state = WorkerState::Ready { since: now, retiring: false };
        worker.in_front = true;
        worker.life.begin(now);
        self.push(Effect::Worker(id, WorkerEffect::AddToFront));
    }

    pub(super) fn boot_failed(&mut self, id: WorkerId, failure: &Failure) {
        let until = self.now + STOP_GRACE_MIN;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        if !matches!(worker.state, WorkerState::Booting { .. }) {
            return;
        }
        worker.state = WorkerState::told(until);
        worker.explained = true;
        let worker = worker.clone();
        self.decide(id, EndReason::BootFailed);
        self.boot_ended(&worker, failure);
    }

    /// What it means that a worker did not get ready, and said why.
    pub(super) fn boot_ended(&mut self, worker: &Worker, failure: &Failure) {
        let is_candidate = self.is_candidate(worker.generation);
        let what = match failure.kind {
            FailureKind::WarmUp if is_candidate => {
                "Worker of the new generation failed its warm-up"
            }
            FailureKind::WarmUp => "Worker failed its warm-up",
            _ if is_candidate => "Worker of the new generation failed to boot",
            _ => "Worker failed to boot",
        };
        self.log_failure(what, failure);
        if !self.pool.ever_ready {
            self.note(Consequence::StartFailed { kind: failure.kind });
        } else if self.is_on_trial(worker.generation) {
            let details = failure.told(what);
            self.note_failed(worker.generation, "a worker failed to boot", details);
        } else {
            self.pool.serving.last_failure =
                format!("{}: {}", EndReason::BootFailed, failure.message);
            self.record_death(worker, Death::Booting, EndReason::BootFailed);
        }
    }
}
