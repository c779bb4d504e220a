//! What must hold after every step.

use indrik_core::overtime::INTAKE_PAUSE_MAX_US;
use indrik_core::time::Micros;

use super::{Front, Place, Worker};
use crate::world::COARSE_TICK_US;

/// How long a request may lie at a worker that stands still: as long as it takes to see that, and two
/// looks.
const LIE_MAX_US: Micros = INTAKE_PAUSE_MAX_US + 2 * COARSE_TICK_US;

impl Front {
    pub(crate) fn check(&self) {
        let seed = self.seed;
        assert_eq!(self.dispatch.waiting(), self.waiting.len(), "seed {seed}: the queue");
        for (id, worker) in &self.workers {
            let held = worker.ring.len() + worker.running.len();
            assert_eq!(self.dispatch.in_flight(*id), Some(held), "seed {seed}: {id}");
            let suspects: Vec<usize> = self.suspects(*id).collect();
            assert!(suspects.len() <= 1, "seed {seed}: {suspects:?} are together at {id}");
            assert!(
                !self.is_held() || worker.ring.is_empty(),
                "seed {seed}: {id} begins what is held"
            );
            if self.is_held()
                || worker.draining
                || worker.stalled
                || worker.is_full
                || held >= worker.capacity
            {
                continue;
            }
            let waits = self.waiting.values().find(|request| !self.goes_elsewhere(**request, *id));
            assert_eq!(waits, None, "seed {seed}: it waits although {id} is free");
        }
        // Who was due at the last look has been told then, unless it came back since.
        let timeout = self.limits.queue_timeout_us;
        let in_rings = self.workers.values().flat_map(|worker| &worker.ring);
        for request in self.waiting.values().chain(in_rings) {
            let entry = &self.requests[*request];
            let due = entry
                .arrived
                .saturating_add(timeout)
                .saturating_add(self.held_since(entry.arrived));
            assert!(
                due > self.swept || entry.waits_since >= self.swept,
                "seed {seed}: request {request} waits beyond its deadline"
            );
        }
    }

    /// A worker that stands still keeps no unstarted request, where another one takes some, for longer
    /// than it takes to see that it stands.
    pub(super) fn check_that_none_lies_where_nobody_takes_it(&self) {
        let since_limit = |since: Micros| self.now.saturating_sub(since) > LIE_MAX_US;
        for (id, worker) in &self.workers {
            let takes = |it: &Worker| it.takes_since.is_some_and(since_limit);
            let others_take = self.workers.iter().any(|(other, it)| other != id && takes(it));
            if !(worker.is_stuck && worker.running.len() < worker.capacity && others_take) {
                continue;
            }
            for request in &worker.ring {
                assert!(
                    !since_limit(self.requests[*request].in_ring_since),
                    "seed {}: request {request} lies at {id}, which stands still",
                    self.seed
                );
            }
        }
    }

    /// Every request that has not ended is in exactly one place.
    pub(crate) fn check_places(&self) {
        for (request, entry) in self.requests.iter().enumerate() {
            let is_there = match entry.place {
                Place::Over => entry.answers.len() == 1,
                Place::Lost => true,
                Place::Queue(number) => self.waiting.get(&number) == Some(&request),
                Place::Ring(id) => {
                    self.workers.get(&id).is_some_and(|worker| worker.ring.contains(&request))
                }
                Place::Running(id) => {
                    self.workers.get(&id).is_some_and(|worker| worker.running.contains(&request))
                }
            };
            assert!(is_there, "seed {}: request {request} is nowhere: {entry:?}", self.seed);
        }
    }
}
