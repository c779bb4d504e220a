//! What the parts of the machine ask of its state; nothing here changes it.

use std::time::Duration;

use super::limits::{BOOT_MAX, STOP_GRACE_MIN};
use super::machine::Supervisor;
use super::policy::Policy;
use super::report::Census;
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::upgrade::{Plan, Upgrade};
use super::state::worker::{Worker, WorkerState};
use super::state::zygote::{Zygote, ZygoteState};
use crate::ids::{Generation, WorkerId};
use crate::time::Now;

impl Supervisor {
    /// A picture for tests and for the control interface.
    #[must_use]
    pub fn census(&self) -> Census {
        let ready = self.pool.workers.values().filter(|worker| worker.is_ready()).count();
        Census {
            pool: self.pool.id,
            generation: self.current(),
            wanted: self.pool.serving.wanted,
            ready: u32::try_from(ready).unwrap_or(u32::MAX),
            processes: self.pool.workers.len(),
            reloading: self.is_changing() || self.pool.reloads.again,
            serving: self.server.phase == Phase::Serving,
            paused: self.server.pause != Pause::No,
        }
    }

    /// The generation that serves.
    pub(super) fn current(&self) -> Generation {
        self.pool.serving.generation
    }

    /// A reload is under way: a generation is in the making, or has taken over and soaks.
    pub(super) fn is_changing(&self) -> bool {
        self.pool.candidate.is_some() || self.pool.soak.is_some()
    }

    pub(super) fn is_candidate(&self, generation: Generation) -> bool {
        self.pool.candidate.is_some_and(|candidate| candidate.generation == generation)
    }

    /// The generation is in the making, or has taken over and soaks: its failure is its end.
    pub(super) fn is_on_trial(&self, generation: Generation) -> bool {
        let soaks = generation == self.current() && self.pool.soak.is_some();
        soaks || self.is_candidate(generation)
    }

    /// The settings of a worker's generation.
    pub(super) fn policy_of(&self, generation: Generation) -> Policy {
        let candidate = self.pool.candidate.filter(|candidate| candidate.generation == generation);
        candidate.and_then(|candidate| candidate.policy).unwrap_or(self.pool.serving.policy)
    }

    /// The workers of the generation the predicate holds for.
    pub(super) fn count_of(&self, generation: Generation, is: impl Fn(&Worker) -> bool) -> u32 {
        let matches = |worker: &&Worker| worker.generation == generation && is(worker);
        let count = self.pool.workers.values().filter(matches).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn ids_of(
        &self,
        generation: Generation,
        is: impl Fn(&Worker) -> bool,
    ) -> Vec<WorkerId> {
        let matches = |worker: &&Worker| worker.generation == generation && is(worker);
        self.pool.workers.values().filter(matches).map(|worker| worker.id).collect()
    }

    pub(super) fn taken_places(&self, generation: Generation) -> Vec<u32> {
        let holds = |worker: &&Worker| worker.generation == generation && worker.holds_place();
        self.pool.workers.values().filter(holds).map(|worker| worker.place).collect()
    }

    pub(super) fn forks_in_flight(&self, generation: Generation) -> usize {
        let in_flight = |worker: &&Worker| {
            worker.generation == generation && matches!(worker.state, WorkerState::Forking { .. })
        };
        self.pool.workers.values().filter(in_flight).count()
    }

    pub(super) fn can_fork(&self, generation: Generation) -> bool {
        let is_ready = |zygote: &Zygote| zygote.state == ZygoteState::Ready;
        self.could_fork(generation) && self.pool.zygotes.get(&generation).is_some_and(is_ready)
    }

    /// It can fork, or it rests and has to be started before.
    pub(super) fn could_fork(&self, generation: Generation) -> bool {
        let held = generation == self.current() && self.pool.serving.refork.holds_forks();
        let is_usable =
            |zygote: &Zygote| matches!(zygote.state, ZygoteState::Ready | ZygoteState::Resting);
        !held && self.pool.zygotes.get(&generation).is_some_and(is_usable)
    }

    /// How long workers of the generation may boot.
    pub(super) fn boot_max(&self, generation: Generation) -> Duration {
        self.pool.zygotes.get(&generation).map_or(BOOT_MAX, |zygote| zygote.boot_max)
    }

    /// The worker takes requests, and shows no life.
    pub(super) fn is_quiet(&self, worker: &Worker) -> bool {
        let looked = self.pool.signs_at.unwrap_or_default();
        worker.is_ready() && worker.life.is_quiet(looked)
    }

    /// Whether this server goes as soon as it is empty.
    pub(super) fn is_handing_over(&self) -> bool {
        matches!(self.server.upgrade, Upgrade::Predecessor { plan: Plan::Leaving, .. })
    }

    /// What this server calls itself in the log.
    pub(super) fn master_name(&self) -> &'static str {
        match self.server.upgrade {
            Upgrade::Successor => "Master.2",
            Upgrade::None
            | Upgrade::Preparing { .. }
            | Upgrade::Starting { .. }
            | Upgrade::Predecessor { .. } => "Master",
        }
    }

    /// Until when a worker that was told to leave may take: the rest of the graceful timeout.
    pub(super) fn stop_deadline(&self) -> Now {
        let least = self.now + STOP_GRACE_MIN;
        match self.server.phase {
            Phase::Draining { until } => until.max(least),
            Phase::Starting
            | Phase::Serving
            | Phase::Leaving { .. }
            | Phase::Stopping { .. }
            | Phase::Done => least.max(self.now + self.pool.serving.policy.graceful_timeout),
        }
    }
}
