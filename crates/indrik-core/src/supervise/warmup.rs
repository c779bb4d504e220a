//! Between the boot of a worker and its first request: the warm-up, where the settings ask for one.

use super::effect::{Effect, WorkerEffect};
use super::event::Failure;
use super::limits::WARM_UP_SLACK;
use super::machine::Supervisor;
use super::reason::EndReason;
use super::state::worker::WorkerState;
use crate::ids::WorkerId;

impl Supervisor {
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
}
