//! Workers wanted and workers had: who is started, and who is drained.
//!
//! The rule is replacement before removal: a worker that must go keeps serving until the workers
//! that stay are as many as wanted.

use super::limits::FORKS_IN_FLIGHT_MAX;
use super::machine::Supervisor;
use super::reason::{EndReason, StartReason};
use super::state::pause::Pause;
use crate::ids::{Generation, WorkerId};
use crate::time::Now;

impl Supervisor {
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

    pub(super) fn fill_current(&mut self) {
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
    pub(super) fn drain_surplus(&mut self) {
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
}
