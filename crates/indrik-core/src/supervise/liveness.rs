//! Whether workers live, from signs that the shell reads in their channels.
//!
//! A *beat* is the main thread's, which goes round its loop; a *pulse* is of whatever thread gets the
//! interpreter's lock. A worker that runs one request at a time does not beat while it runs: how
//! long that may take is the front's to watch. Between requests it beats like the others.

use std::collections::BTreeMap;

use super::effect::{Effect, WorkerEffect};
use super::limits::LIFE_LOOK;
use super::machine::Supervisor;
use super::reason::EndReason;
use super::state::liveness::{Sign, Verdict};
use super::state::worker::{Worker, WorkerState};
use crate::ids::WorkerId;
use crate::time::Now;

impl Supervisor {
    /// When signs are to be read, if anybody is there to give some.
    #[must_use]
    pub fn signs_due(&self) -> Option<Now> {
        let watched = self.pool.workers.values().any(is_watched);
        watched.then(|| self.pool.signs_at.map_or(self.now, |at| at + LIFE_LOOK))
    }

    pub(super) fn signs_read(&mut self, signs: &BTreeMap<WorkerId, Sign>) {
        let now = self.now;
        // This process may have been stopped or the machine asleep: then nobody could beat.
        let anew = self.pool.signs_at.is_none_or(|at| now > at + 2 * LIFE_LOOK);
        self.pool.signs_at = Some(now);
        let mut ends = Vec::new();
        for (id, sign) in signs {
            let Some(worker) = self.pool.workers.get_mut(id).filter(|it| is_watched(it)) else {
                continue;
            };
            match worker.life.look(*sign, anew, now) {
                Verdict::Lives => {}
                Verdict::Stale => ends.push((*id, EndReason::Timeout)),
                Verdict::Deadlocked => ends.push((*id, EndReason::Deadlock)),
            }
        }
        for (id, reason) in ends {
            self.push(Effect::Worker(id, WorkerEffect::AnswerStarted));
            self.stuck(id, reason);
        }
    }
}

/// Requests may be at it.
fn is_watched(worker: &Worker) -> bool {
    match worker.state {
        WorkerState::Ready { .. } | WorkerState::StandingBy | WorkerState::Draining { .. } => true,
        WorkerState::Forking { .. }
        | WorkerState::Cancelled { .. }
        | WorkerState::Booting { .. }
        | WorkerState::Warming { .. }
        | WorkerState::Waiting
        | WorkerState::Ending(_) => false,
    }
}
