//! The change from one generation to the next: canary, the other workers, takeover.
//!
//! First one worker of the new generation boots and is warmed up, the canary; only when it is ready
//! are the others asked for. Unless its settings say otherwise the new generation takes over as a
//! whole: all its workers are ready before the front hears of any of them and before one old worker
//! is drained. With less room (`reload_max_surge`, `reload_max_unavailable`) it rolls: new workers join
//! as they become ready, and old ones leave. Whatever fails on the way, the old generation serves.
//!
//! `soak` holds what follows a takeover.

use super::effect::{Effect, PoolEffect};
use super::limits::FORKS_IN_FLIGHT_MAX;
use super::machine::Supervisor;
use super::policy::Policy;
use super::reason::{EndReason, StartReason};
use super::report::ReloadFailure;
use super::state::candidate::{Candidate, Limits};
use super::state::serving::Serving;
use super::state::worker::{Worker, WorkerState};
use crate::ids::{Generation, WorkerId};
use crate::logs::level::Level;

impl Supervisor {
    /// Its workers speak another interface than those that serve.
    pub(super) fn interface_changed(&mut self, generation: Generation) {
        if let Some(candidate) = &mut self.pool.candidate
            && candidate.generation == generation
        {
            candidate.whole = true;
        }
    }

    /// Asks for the candidate's workers, lets them join, and lets it take over when all are ready.
    pub(super) fn fill_candidate(&mut self) {
        let Some(candidate) = self.pool.candidate else { return };
        let Candidate { generation, policy: Some(policy), whole, .. } = candidate else { return };
        let limits = Limits::of(&policy, self.pool.serving.wanted, whole);
        if limits.rolls {
            self.roll(generation, limits);
        }
        let warm = self.count_of(generation, Worker::is_warm);
        if warm >= policy.workers {
            return self.take_over(generation, policy);
        }
        let coming = self.count_of(generation, Worker::is_coming);
        let at_once = if warm == 0 { 1 } else { policy.reload.boots_at_once.max(1) };
        let mut room = at_once.saturating_sub(coming);
        if limits.rolls {
            room = room.min(limits.processes_max.saturating_sub(self.processes()));
        }
        let in_flight = FORKS_IN_FLIGHT_MAX.saturating_sub(self.forks_in_flight(generation));
        let taken = self.taken_places(generation);
        let free = (0..policy.workers).filter(|place| !taken.contains(place));
        let due: Vec<u32> = free.take(in_flight.min(room as usize)).collect();
        for place in due {
            self.fork(generation, place, StartReason::Reload);
        }
    }

    /// New workers that are ready join, and old ones leave as far as enough are left.
    fn roll(&mut self, generation: Generation, limits: Limits) {
        let mut has_begun = false;
        for id in self.ids_of(generation, |worker| worker.state == WorkerState::Waiting) {
            self.join(id);
            has_begun = true;
        }
        let warm = self.count_of(generation, Worker::is_warm);
        let has_canary = warm > 0 || self.count_of(generation, Worker::is_coming) > 0;
        let has_room = self.processes() < limits.processes_max;
        let is_leaving = |worker: &Worker| !worker.holds_place() && !worker.is_ready();
        let is_anybody_leaving = self.pool.workers.values().any(is_leaving);
        let mut ready = self.ready();
        // New ones that are used up are old.
        let is_new = |worker: &Worker| worker.generation == generation && worker.is_staying();
        let mut old: Vec<(bool, WorkerId)> = self
            .pool
            .workers
            .values()
            .filter(|worker| worker.is_ready() && !is_new(worker))
            .map(|worker| (worker.is_staying(), worker.id))
            .collect();
        old.sort_unstable();
        // Before the canary is ready only one leaves, and only if there is no other place for it.
        let most = match (warm > 0, has_canary || has_room || is_anybody_leaving) {
            (true, _) => usize::MAX,
            (false, true) => 0,
            (false, false) => 1,
        };
        for (_, id) in old.into_iter().take(most) {
            if ready <= limits.ready_min {
                break;
            }
            self.drain(id, EndReason::Reload);
            ready -= 1;
            has_begun = true;
        }
        if let Some(candidate) = &mut self.pool.candidate {
            candidate.has_begun |= has_begun;
        }
    }

    /// How many workers of the old generation may be started while a new one rolls in: those that are
    /// missing, as the others' places are for new workers.
    pub(super) fn room_beside_candidate(&self) -> u32 {
        let Some(Candidate { policy: Some(policy), whole, has_begun: true, .. }) =
            self.pool.candidate
        else {
            return u32::MAX;
        };
        let limits = Limits::of(&policy, self.pool.serving.wanted, whole);
        let had = self.ready() + self.count_of(self.current(), Worker::is_coming);
        limits.ready_min.saturating_sub(had)
    }

    /// Processes of all generations.
    fn processes(&self) -> u32 {
        u32::try_from(self.pool.workers.len()).unwrap_or(u32::MAX)
    }

    /// Workers of all generations that take requests.
    fn ready(&self) -> u32 {
        let count = self.pool.workers.values().filter(|worker| worker.is_ready()).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn take_over(&mut self, generation: Generation, policy: Policy) {
        // The settings name another number now.
        self.pool.wish = self.pool.wish.filter(|wish| wish.workers == policy.workers);
        let before = self.swap_serving(Serving::new(generation, policy));
        let old = before.generation;
        let soaks = !policy.reload.soak.is_zero();
        self.pool.candidate = None;
        let becomes = if soaks { "stands by" } else { "drains" };
        self.log(
            Level::Info,
            format!(
                "Generation {generation} serves with {} workers; generation {old} {becomes}",
                policy.workers
            ),
        );
        self.push(Effect::Pool(self.pool.id, PoolEffect::Adopt { generation, on_trial: soaks }));
        for id in self.ids_of(generation, |worker| worker.state == WorkerState::Waiting) {
            self.join(id);
        }
        for id in self.ids_beside(generation) {
            let Some(worker) = self.pool.workers.get(&id) else { continue };
            if worker.is_ready() && soaks && worker.generation == old {
                self.stand_by(id);
            } else if worker.is_ready() {
                self.drain(id, EndReason::Reload);
            } else {
                self.discard(id, EndReason::Reload);
            }
        }
        self.resume();
        if soaks {
            self.begin_soak(before);
        } else {
            self.retire_zygote(old);
            self.reload_ended(generation, None);
        }
    }

    /// The generation failed: there may be one to go back to.
    pub(super) fn generation_failed(&mut self, generation: Generation, why: &str, details: &str) {
        if self.is_candidate(generation) {
            self.abandon_reload(why, details);
        } else if generation == self.current() {
            self.soak_failed(why, details);
        }
    }

    /// Gives the generation in the making up; the old one has been serving all the time. `details`
    /// is what the log says already.
    fn abandon_reload(&mut self, why: &str, details: &str) {
        let Some(candidate) = self.pool.candidate.take() else { return };
        let generation = candidate.generation;
        self.log(
            Level::Error,
            format!(
                "Generation {generation} is given up: {why}; generation {} keeps serving",
                self.current()
            ),
        );
        self.discard_generation(generation, EndReason::Rollback);
        self.push(Effect::Pool(self.pool.id, PoolEffect::Forget { generation }));
        let failure = ReloadFailure { why: why.to_owned(), details: details.to_owned() };
        self.reload_ended(generation, Some(failure));
    }

    /// Ends the reload because the server ends or pauses. A generation that has taken over stays.
    pub(super) fn cancel_reload(&mut self, reason: EndReason) {
        let why = match reason {
            EndReason::Pause => "the server was paused",
            _ => "the server ends",
        };
        let failure = || Some(ReloadFailure { why: why.to_owned(), details: String::new() });
        let again = std::mem::take(&mut self.pool.reloads.again);
        if let Some(candidate) = self.pool.candidate.take() {
            self.discard_generation(candidate.generation, reason);
            self.push(Effect::Pool(
                self.pool.id,
                PoolEffect::Forget { generation: candidate.generation },
            ));
            self.tell_outcome(candidate.generation, failure());
        }
        if self.pool.soak.is_some() {
            self.let_go_of_old();
            self.tell_outcome(self.current(), failure());
        }
        if again {
            self.tell_outcome(self.server.last_generation.next(), failure());
        }
    }

    /// Workers of a generation that was given up serve until there are enough of the others.
    pub(super) fn drain_abandoned(&mut self) {
        let current = self.current();
        let abandoned: Vec<WorkerId> = self
            .pool
            .workers
            .values()
            .filter(|worker| worker.is_ready() && worker.generation != current)
            .filter(|worker| !self.is_candidate(worker.generation))
            .map(|worker| worker.id)
            .collect();
        let surplus = self.ready().saturating_sub(self.pool.serving.wanted);
        for id in abandoned.into_iter().take(surplus as usize) {
            self.drain(id, EndReason::Rollback);
        }
    }

    fn ids_beside(&self, generation: Generation) -> Vec<WorkerId> {
        let others = self.pool.workers.values().filter(|worker| worker.generation != generation);
        others.map(|worker| worker.id).collect()
    }
}

#[cfg(test)]
#[path = "candidate_tests.rs"]
mod tests;
