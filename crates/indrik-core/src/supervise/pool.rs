//! Workers wanted and workers had: who is started, who is drained, and what the end of one means.
//!
//! The rule is replacement before removal: a worker that must go keeps serving until the workers
//! that stay are as many as wanted.

use std::borrow::Cow;

use super::limits::{
    BOOT_DELAY, BOOT_STOP_GRACE, FORKS_IN_FLIGHT_MAX, START_CRASHES_MAX, STOP_GRACE_MIN,
};
use super::restart::Death;
use super::shutdown::Phase;
use super::worker::{State, Worker};
use super::{Effect, ExitStatus, Failure, FailureKind, KillSignal, Level, Now, Supervisor};
use crate::ids::{Generation, WorkerId};

impl Supervisor {
    /// Brings what is had nearer to what is wanted. Runs after every event.
    pub(super) fn reconcile(&mut self) {
        match self.phase {
            Phase::Starting | Phase::Serving => {
                self.fill_current();
                self.drain_surplus();
                self.fill_candidate();
            }
            // What was accepted must be finished: the dead are replaced until the front is idle.
            Phase::Draining { .. } => self.fill_current(),
            Phase::Stopping { .. } | Phase::Done => {}
        }
    }

    /// When an empty place may be filled, if one is waiting for its back-off.
    pub(super) fn next_refill(&self) -> Option<Now> {
        let filling =
            matches!(self.phase, Phase::Starting | Phase::Serving | Phase::Draining { .. });
        if !filling || !self.can_fork(self.current) {
            return None;
        }
        let taken = self.taken_slots(self.current);
        (0..self.wanted)
            .filter(|slot| !taken.contains(slot))
            .map(|slot| self.restarts.not_before(slot))
            .filter(|at| *at > self.now)
            .min()
    }

    fn fill_current(&mut self) {
        let generation = self.current;
        if !self.can_fork(generation) {
            return;
        }
        let taken = self.taken_slots(generation);
        // A recycled worker's successor makes one process more than wanted: not too many at once.
        let surge_workers_max = self.wanted.div_ceil(4);
        let alive = self.count_of(generation, |worker| worker.is_ready() || worker.is_coming());
        let room = (self.wanted + surge_workers_max).saturating_sub(alive);
        let due: Vec<u32> = (0..self.wanted)
            .filter(|slot| !taken.contains(slot) && self.restarts.not_before(*slot) <= self.now)
            .take(room as usize)
            .take(FORKS_IN_FLIGHT_MAX.saturating_sub(self.forks_in_flight(generation)))
            .collect();
        for slot in due {
            self.fork(generation, slot);
        }
    }

    /// Drains workers while more are ready than wanted: those to be replaced first, then the oldest.
    fn drain_surplus(&mut self) {
        let current = self.current;
        let mut ready: Vec<(bool, WorkerId)> = self
            .workers
            .values()
            .filter(|worker| worker.is_ready() && worker.generation == current)
            .map(|worker| (worker.is_staying(), worker.id))
            .collect();
        ready.sort_unstable();
        let surplus = ready.len().saturating_sub(self.wanted as usize);
        for (_, id) in ready.into_iter().take(surplus) {
            let place = self.workers.get(&id).map(|worker| worker.slot);
            self.drain(id);
            if let Some(place) = place.filter(|place| *place < self.wanted) {
                self.move_up(place);
            }
        }
    }

    /// The place became free because there are too many workers: one whose place is not wanted any
    /// more takes it, or it would be filled again.
    fn move_up(&mut self, place: u32) {
        let (current, wanted) = (self.current, self.wanted);
        if self.taken_slots(current).contains(&place) {
            return;
        }
        let beyond = self.workers.values_mut().find(|worker| {
            worker.generation == current && worker.holds_slot() && worker.slot >= wanted
        });
        if let Some(worker) = beyond {
            worker.slot = place;
        }
    }

    pub(super) fn fork(&mut self, generation: Generation, slot: u32) {
        let id = WorkerId(self.next_worker);
        self.next_worker += 1;
        self.workers.insert(id, Worker::new(id, generation, slot, self.now));
        self.push(Effect::Fork { worker: id, generation });
    }

    /// The workers of the generation the predicate holds for.
    pub(super) fn count_of(&self, generation: Generation, is: impl Fn(&Worker) -> bool) -> u32 {
        let matches = |worker: &&Worker| worker.generation == generation && is(worker);
        let count = self.workers.values().filter(matches).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn forks_in_flight(&self, generation: Generation) -> usize {
        let in_flight = |worker: &&Worker| {
            worker.generation == generation && matches!(worker.state, State::Forking { .. })
        };
        self.workers.values().filter(in_flight).count()
    }

    pub(super) fn taken_slots(&self, generation: Generation) -> Vec<u32> {
        let holds = |worker: &&Worker| worker.generation == generation && worker.holds_slot();
        self.workers.values().filter(holds).map(|worker| worker.slot).collect()
    }

    pub(super) fn forked(&mut self, id: WorkerId, pid: u32) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.state {
            State::Forking { .. } => {
                worker.booting(pid, now);
                self.log_worker(Level::Info, Some(pid), format!("Booting worker with pid: {pid}"));
                self.push(Effect::Release { worker: id });
            }
            State::Cancelled { .. } => {
                worker.pid = Some(pid);
                self.kill(id);
            }
            State::Booting { .. }
            | State::Waiting
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => {}
        }
    }

    pub(super) fn fork_failed(&mut self, id: WorkerId, message: &str) {
        let Some(worker) = self.workers.remove(&id) else { return };
        self.log(Level::Error, format!("Cannot fork worker {id}: {message}"));
        if self.is_candidate(worker.generation) {
            self.abandon_reload(&format!("worker {id} could not be forked"));
        } else {
            self.record_death(&worker, Death::Booting);
        }
    }

    /// A hook raised instead of letting the worker be made.
    pub(super) fn fork_refused(&mut self, id: WorkerId, failure: &Failure) {
        let Some(worker) = self.workers.remove(&id) else { return };
        self.log_failure("Cannot fork a worker", failure);
        if self.is_candidate(worker.generation) {
            self.abandon_reload("a worker could not be forked");
        } else if self.ever_ready {
            self.record_death(&worker, Death::Booting);
        } else {
            let kind = match failure.kind {
                FailureKind::Exit(code) => FailureKind::Exit(code),
                _ => FailureKind::ForkHook,
            };
            self.give_up(kind);
        }
    }

    pub(super) fn worker_ready(&mut self, id: WorkerId) {
        let now = self.now;
        let is_candidate =
            self.workers.get(&id).is_some_and(|worker| self.is_candidate(worker.generation));
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !matches!(worker.state, State::Booting { .. }) {
            return;
        }
        if is_candidate {
            worker.state = State::Waiting;
            return;
        }
        worker.state = State::Ready { since: now, retiring: false };
        worker.in_front = true;
        self.push(Effect::AddToFront { worker: id });
        self.ever_ready = true;
        if self.phase == Phase::Starting {
            self.phase = Phase::Serving;
            if std::mem::take(&mut self.reload_again) {
                self.reload();
            }
        }
    }

    pub(super) fn boot_failed(&mut self, id: WorkerId, failure: &Failure) {
        let until = self.now + STOP_GRACE_MIN;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if !matches!(worker.state, State::Booting { .. }) {
            return;
        }
        worker.state = State::Stopping { until };
        worker.explained = true;
        let worker = worker.clone();
        if !self.ever_ready {
            self.log_failure("Worker failed to boot", failure);
            self.give_up(failure.kind);
        } else if self.is_candidate(worker.generation) {
            self.log_failure("Worker of the new generation failed to boot", failure);
            self.abandon_reload("a worker failed to boot");
        } else {
            self.log_failure("Worker failed to boot", failure);
            self.record_death(&worker, Death::Booting);
        }
    }

    pub(super) fn worker_stopping(&mut self, id: WorkerId) {
        let until = self.now + self.policy.graceful_timeout;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if worker.is_ready() || matches!(worker.state, State::Draining { .. }) {
            worker.state = State::Stopping { until };
            self.push(Effect::DrainInFront { worker: id });
        }
    }

    pub(super) fn worker_exited(&mut self, id: WorkerId, status: ExitStatus) {
        let Some(worker) = self.workers.remove(&id) else { return };
        if worker.in_front {
            self.push(Effect::WorkerGone { worker: id });
        }
        self.log_exit(&worker, status);
        match worker.state {
            State::Booting { .. } | State::Waiting | State::Forking { .. } => {
                self.died_before_service(&worker, status);
            }
            State::Ready { since, retiring: false } => {
                self.record_death(&worker, Death::Ready(self.now.saturating_sub(since)));
            }
            // These were on their way out, and their places are filled already.
            State::Ready { retiring: true, .. }
            | State::Cancelled { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => {}
        }
    }

    fn died_before_service(&mut self, worker: &Worker, status: ExitStatus) {
        if self.is_candidate(worker.generation) {
            self.abandon_reload(&format!("worker {} died while booting", worker.id));
            return;
        }
        if !self.ever_ready {
            self.start_crashes += 1;
            let hopeless = match status {
                ExitStatus::Code(_) => true,
                ExitStatus::Signal(_) => self.start_crashes >= START_CRASHES_MAX,
            };
            if hopeless {
                self.log(
                    Level::Critical,
                    "Worker failed to boot: it ended before the application was loaded",
                );
                return self.give_up(FailureKind::Boot);
            }
        }
        self.record_death(worker, Death::Booting);
    }

    fn record_death(&mut self, worker: &Worker, death: Death) {
        if worker.generation != self.current {
            return;
        }
        let delay = self.restarts.died(worker.slot, death, self.now);
        if delay >= BOOT_DELAY {
            let failures = self.restarts.failures(worker.slot);
            self.log(
                Level::Warning,
                format!(
                    "Worker place {} failed {failures} times in a row; next try in {} s",
                    worker.slot + 1,
                    delay.as_secs()
                ),
            );
        }
    }

    fn log_exit(&mut self, worker: &Worker, status: ExitStatus) {
        let Some(pid) = worker.pid else { return };
        let (level, text) = match status {
            ExitStatus::Code(0) => (Level::Info, format!("Worker exiting (pid: {pid})")),
            ExitStatus::Code(code) if worker.explained => {
                (Level::Debug, format!("Worker (pid:{pid}) exited with code {code}."))
            }
            ExitStatus::Code(code) => {
                (Level::Error, format!("Worker (pid:{pid}) exited with code {code}."))
            }
            ExitStatus::Signal(9) if matches!(worker.state, State::Killed { .. }) => {
                (Level::Warning, format!("Worker (pid:{pid}) was killed."))
            }
            ExitStatus::Signal(9) => (
                Level::Error,
                format!("Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?"),
            ),
            // We sent it, to one that had not yet made up its mind about signals.
            ExitStatus::Signal(3) if matches!(worker.state, State::Aborting { .. }) => {
                (Level::Info, format!("Worker exiting (pid: {pid})"))
            }
            ExitStatus::Signal(signal) => {
                let name = signal_name(signal);
                (Level::Warning, format!("Worker (pid:{pid}) was sent {name}!"))
            }
        };
        // A worker that ends well says so itself, as far as the reader of the log can tell.
        let about = (status == ExitStatus::Code(0)).then_some(pid);
        self.log_worker(level, about, text);
    }

    pub(super) fn worker_used_up(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if let State::Ready { since, retiring: false } = worker.state {
            worker.state = State::Ready { since, retiring: true };
            let pid = worker.pid;
            self.log_worker(Level::Info, pid, "Autorestarting worker after current request.");
        }
    }

    pub(super) fn worker_drained(&mut self, id: WorkerId) {
        let until = self.stop_deadline();
        let Some(worker) = self.workers.get_mut(&id) else { return };
        if matches!(worker.state, State::Draining { .. }) {
            worker.state = State::Stopping { until };
            self.push(Effect::ShutDownWorker { worker: id });
        }
    }

    /// The kill ladder's first step; its place is free at once, so its successor starts now.
    pub(super) fn worker_stuck(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let in_service = worker.is_ready()
            || matches!(worker.state, State::Draining { .. } | State::Stopping { .. });
        if !in_service {
            return;
        }
        let was_ready = worker.is_ready();
        let pid = worker.pid.unwrap_or(0);
        worker.dumping(now);
        self.log(Level::Critical, format!("WORKER TIMEOUT (pid:{pid})"));
        if was_ready {
            self.push(Effect::DrainInFront { worker: id });
        }
        self.push(Effect::Kill { worker: id, signal: KillSignal::DumpTraceback });
    }

    /// Nothing it says can be believed any more: it goes at once, and its successor starts now.
    pub(super) fn channel_broken(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get(&id) else { return };
        if worker.in_front && !matches!(worker.state, State::Killed { .. }) {
            let pid = worker.pid.unwrap_or(0);
            self.log(Level::Critical, format!("Worker (pid:{pid}) broke its channel; killing it"));
            self.kill(id);
        }
    }

    /// No more requests for a ready worker; the flag follows when it is empty.
    pub(super) fn drain(&mut self, id: WorkerId) {
        let until = self.now + self.policy.graceful_timeout;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.state = State::Draining { until };
        self.push(Effect::DrainInFront { worker: id });
    }

    pub(super) fn kill(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.killed(now);
        self.push(Effect::Kill { worker: id, signal: KillSignal::Kill });
    }

    /// Ends a worker that has not served, in whatever way its state asks for. One with a process
    /// may have opened what its exit hooks close, so it is told to leave once it has booted.
    pub(super) fn discard(&mut self, id: WorkerId) {
        let until = self.stop_deadline().min(self.now + BOOT_STOP_GRACE);
        let Some(worker) = self.workers.get_mut(&id) else { return };
        match worker.state {
            State::Forking { until } => worker.state = State::Cancelled { until },
            // It has no request. If it has started up it needs only to shut down again; if it still
            // imports, nobody waits for that.
            State::Booting { .. } | State::Waiting => {
                worker.state = State::Stopping { until };
                self.push(Effect::ShutDownWorker { worker: id });
            }
            State::Cancelled { .. }
            | State::Ready { .. }
            | State::Draining { .. }
            | State::Stopping { .. }
            | State::Dumping { .. }
            | State::Aborting { .. }
            | State::Killed { .. } => {}
        }
    }

    /// Takes the next step with every worker whose state has lasted too long.
    pub(super) fn expire_workers(&mut self) {
        let now = self.now;
        let due: Vec<WorkerId> = self
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
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let (pid, in_front) = (worker.pid.unwrap_or(0), worker.in_front);
        match worker.state {
            State::Forking { .. } | State::Cancelled { .. } => {
                let generation = worker.generation;
                self.zygote_silent(generation);
            }
            State::Booting { .. } => {
                self.log(
                    Level::Error,
                    format!("Worker (pid:{pid}) boots for too long; killing it"),
                );
                let worker = self.workers[&id].clone();
                self.kill(id);
                self.died_before_service(&worker, ExitStatus::Code(1));
            }
            State::Draining { .. } | State::Stopping { .. } => {
                self.log(
                    Level::Warning,
                    format!("Worker (pid:{pid}) did not finish within the graceful timeout"),
                );
                self.abort(id);
            }
            State::Dumping { .. } => self.abort(id),
            State::Aborting { .. } => self.kill(id),
            State::Killed { .. } => {
                self.log(
                    Level::Critical,
                    format!("Worker (pid:{pid}) survives SIGKILL; forgotten"),
                );
                if in_front {
                    self.push(Effect::WorkerGone { worker: id });
                }
                self.workers.remove(&id);
            }
            State::Waiting | State::Ready { .. } => {}
        }
        debug_assert!(
            self.workers.get(&id).and_then(Worker::deadline).is_none_or(|at| at > now),
            "an expired state must be left"
        );
    }

    pub(super) fn abort(&mut self, id: WorkerId) {
        let now = self.now;
        let Some(worker) = self.workers.get_mut(&id) else { return };
        worker.aborting(now);
        self.push(Effect::Kill { worker: id, signal: KillSignal::Abort });
    }
}

/// What people look for in a log: Linux' name of a signal that ends processes.
fn signal_name(number: i32) -> Cow<'static, str> {
    Cow::Borrowed(match number {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        24 => "SIGXCPU",
        25 => "SIGXFSZ",
        31 => "SIGSYS",
        other => return Cow::Owned(format!("signal {other}")),
    })
}
