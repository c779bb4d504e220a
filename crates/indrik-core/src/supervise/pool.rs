//! Workers wanted and workers had: who is started, who is drained, and what the end of one means.
//!
//! The rule is replacement before removal: a worker that must go keeps serving until the workers
//! that stay are as many as wanted.

use super::effect::{Effect, WorkerEffect};
use super::event::{Failure, FailureKind, PoolEvent};
use super::limits::{FORKS_IN_FLIGHT_MAX, STOP_GRACE_MIN};
use super::machine::Supervisor;
use super::reason::{EndReason, StartReason, Tally};
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::restart::Death;
use super::state::worker::{Worker, WorkerState};
use crate::ids::{Generation, WorkerId};
use crate::logs::level::Level;
use crate::time::Now;

impl Supervisor {
    pub(super) fn pool_event(&mut self, event: PoolEvent) {
        match event {
            PoolEvent::WorkersWished { workers } => self.set_wanted(workers),
            PoolEvent::InterfaceChanged { generation } => self.interface_changed(generation),
            PoolEvent::Answered { answers, errors } => self.answered(answers, errors),
            PoolEvent::Served { counts } => self.workers_served(&counts),
            PoolEvent::Signs { signs } => self.signs_read(&signs),
            PoolEvent::Overloaded { lacks } => self.pool.lacks = lacks,
            PoolEvent::OldZygoteExited => self.old_zygote_exited(),
        }
    }

    /// Brings what is had nearer to what is wanted. Runs after every event.
    pub(super) fn reconcile(&mut self) {
        match self.server.phase {
            Phase::Starting | Phase::Serving | Phase::Leaving { .. } => {
                self.take_turns();
                self.fill_current();
                self.fill_candidate();
                self.drain_surplus();
                self.drain_abandoned();
            }
            // What was accepted must be finished: the dead are replaced until the front is idle.
            Phase::Draining { .. } => self.fill_current(),
            Phase::Stopping { .. } | Phase::Done => {}
        }
    }

    /// When an empty place may be filled, if one is waiting for its back-off.
    pub(super) fn next_refill(&self) -> Option<Now> {
        let room = self.room_beside_candidate();
        if !self.server.phase.may_start() || !self.could_fork(self.current()) || room == 0 {
            return None;
        }
        let taken = self.taken_places(self.current());
        let empty = (0..self.pool.serving.wanted).filter(|place| !taken.contains(place));
        if self.pool.serving.breaker.is_open() {
            let at = empty.map(|place| self.trial_due(place)).min();
            return at.flatten().filter(|at| *at > self.now);
        }
        empty
            .map(|place| self.pool.serving.restarts.not_before(place))
            .filter(|at| *at > self.now)
            .min()
    }

    fn fill_current(&mut self) {
        let generation = self.current();
        if !self.could_fork(generation) {
            return;
        }
        let taken = self.taken_places(generation);
        // A recycled worker's successor makes one process more than wanted: not too many at once.
        let surge_workers_max = self.pool.serving.wanted.div_ceil(4);
        let alive = self.count_of(generation, |worker| worker.is_ready() || worker.is_coming());
        let room = (self.pool.serving.wanted + surge_workers_max).saturating_sub(alive);
        let room = room.min(self.room_beside_candidate());
        let due: Vec<u32> = (0..self.pool.serving.wanted)
            .filter(|place| !taken.contains(place) && self.may_fill(*place))
            .take(self.fill_room())
            .take(room as usize)
            .take(FORKS_IN_FLIGHT_MAX.saturating_sub(self.forks_in_flight(generation)))
            .collect();
        if due.is_empty() || self.wake_zygote() {
            return;
        }
        for place in due {
            let start = match self.pool.serving.restarts.take_vacancy(place) {
                Some(end) => StartReason::Respawn(end),
                None if place >= self.pool.serving.policy.workers => StartReason::Scale,
                None if generation == Generation::FIRST => StartReason::Boot,
                None => StartReason::Reload,
            };
            self.fork(generation, place, start);
        }
    }

    /// Drains workers while more are ready than wanted: those to be replaced first, then the oldest.
    fn drain_surplus(&mut self) {
        let current = self.current();
        let mut ready: Vec<(bool, WorkerId)> = self
            .pool
            .workers
            .values()
            .filter(|worker| worker.is_ready() && worker.generation == current)
            .map(|worker| (worker.is_staying(), worker.id))
            .collect();
        ready.sort_unstable();
        let surplus = ready.len().saturating_sub(self.pool.serving.wanted as usize);
        for (_, id) in ready.into_iter().take(surplus) {
            let place = self.pool.workers.get(&id).map(|worker| worker.place);
            let fewer =
                if self.server.pause == Pause::No { EndReason::Scale } else { EndReason::Pause };
            self.drain(id, fewer);
            if let Some(place) = place.filter(|place| *place < self.pool.serving.wanted) {
                self.move_up(place);
            }
        }
    }

    /// The place became free because there are too many workers: one whose place is not wanted any
    /// more takes it, or it would be filled again.
    fn move_up(&mut self, place: u32) {
        let (current, wanted) = (self.current(), self.pool.serving.wanted);
        if self.taken_places(current).contains(&place) {
            return;
        }
        let beyond = self.pool.workers.values_mut().find(|worker| {
            worker.generation == current && worker.holds_place() && worker.place >= wanted
        });
        if let Some(worker) = beyond {
            let _ = self.pool.serving.restarts.take_vacancy(place);
            worker.place = place;
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
                self.log_with(Level::Info, Some(pid), text, fields.clone());
                let text =
                    format!("Worker {id} (pid:{pid}) of generation {generation} started: {start}");
                self.log_with(Level::Info, None, text, fields);
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

    pub(super) fn fork_failed(&mut self, id: WorkerId, message: &str) {
        let Some(worker) = self.pool.workers.remove(&id) else { return };
        self.account_end(worker.end.unwrap_or(EndReason::ForkFailed));
        self.log(Level::Error, format!("Cannot fork worker {id}: {message}"));
        if self.is_candidate(worker.generation) {
            self.abandon_reload(&format!("worker {id} could not be forked"), message);
        } else {
            self.record_death(&worker, Death::Booting, EndReason::ForkFailed);
        }
    }

    /// A hook raised instead of letting the worker be made.
    pub(super) fn fork_refused(&mut self, id: WorkerId, failure: &Failure) {
        let Some(worker) = self.pool.workers.remove(&id) else { return };
        self.account_end(worker.end.unwrap_or(EndReason::ForkFailed));
        self.log_failure("Cannot fork a worker", failure);
        if self.is_candidate(worker.generation) {
            self.abandon_reload(
                "a worker could not be forked",
                &failure.told("Cannot fork a worker"),
            );
        } else if self.pool.ever_ready {
            self.record_death(&worker, Death::Booting, EndReason::ForkFailed);
        } else {
            let kind = match failure.kind {
                FailureKind::Exit(code) => FailureKind::Exit(code),
                _ => FailureKind::ForkHook,
            };
            self.give_up(kind);
        }
    }

    /// The worker has booted and is warm.
    pub(super) fn worker_serves(&mut self, id: WorkerId) {
        let now = self.now;
        let is_candidate =
            self.pool.workers.get(&id).is_some_and(|worker| self.is_candidate(worker.generation));
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        if is_candidate {
            worker.state = WorkerState::Waiting;
            return;
        }
        worker.state = WorkerState::Ready { since: now, retiring: false };
        worker.in_front = true;
        worker.life.begin(now);
        self.push(Effect::Worker(id, WorkerEffect::AddToFront));
        self.pool.ever_ready = true;
        if self.server.phase == Phase::Starting {
            self.server.phase = Phase::Serving;
            if std::mem::take(&mut self.pool.reloads.again) {
                self.reload();
            }
        }
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
            self.give_up(failure.kind);
        } else if is_candidate {
            self.abandon_reload("a worker failed to boot", &failure.told(what));
        } else {
            if worker.generation == self.current() {
                self.soak_failed("a worker failed to boot", &failure.told(what));
            }
            self.pool.serving.last_failure =
                format!("{}: {}", EndReason::BootFailed, failure.message);
            self.record_death(worker, Death::Booting, EndReason::BootFailed);
        }
    }
}
