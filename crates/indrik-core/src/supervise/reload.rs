//! Reloads: how one is asked for and begins, and how it ends. What comes between is `candidate` and `soak`.

use super::effect::{Effect, Notice, PoolEffect};
use super::machine::Supervisor;
use super::reason::EndReason;
use super::report::{ReloadFailure, ReloadOutcome};
use super::state::candidate::Candidate;
use super::state::phase::Phase;
use crate::ids::Generation;
use crate::logs::level::Level;

impl Supervisor {
    /// Begins a new generation; while one is in the making, the wish is remembered.
    pub(super) fn reload(&mut self) {
        match self.server.phase {
            Phase::Starting => self.pool.reloads.again = true,
            Phase::Serving if self.is_changing() => self.reload_afterwards(),
            Phase::Serving if self.server.upgrade.waits_for_pre_exec() => {
                self.pool.reloads.again = true;
                self.log(Level::Info, "The reload begins when the hook pre_exec is done");
            }
            Phase::Serving => {
                let name = self.master_name();
                self.log(Level::Routine, format!("Hang up: {name}"));
                self.begin_candidate();
            }
            Phase::Leaving { .. }
            | Phase::Draining { .. }
            | Phase::Stopping { .. }
            | Phase::Done => {
                self.log(Level::Info, "Reload ignored: the server is shutting down");
            }
        }
    }

    /// What a reload had to wait for is over.
    pub(super) fn reload_if_asked(&mut self) {
        let may_begin = self.server.phase == Phase::Serving
            && !self.is_changing()
            && !self.server.upgrade.waits_for_pre_exec();
        if may_begin && std::mem::take(&mut self.pool.reloads.again) {
            self.reload();
        }
    }

    /// One that is under way has read its files already, perhaps before the last change of them.
    fn reload_afterwards(&mut self) {
        let generation = self.server.last_generation;
        if !std::mem::replace(&mut self.pool.reloads.again, true) {
            let text = format!(
                "Another reload was asked for: it begins when that to generation {generation} has ended"
            );
            self.log(Level::Info, text);
        }
    }

    pub(super) fn begin_candidate(&mut self) {
        self.pool.totals.reloads += 1;
        self.notify(Notice::Reloading);
        self.server.last_generation = self.server.last_generation.next();
        let generation = self.server.last_generation;
        self.pool.candidate =
            Some(Candidate { generation, policy: None, whole: false, has_begun: false });
        self.spawn_zygote(generation);
    }

    /// The reload is over; one that was asked for meanwhile begins.
    pub(super) fn reload_ended(&mut self, generation: Generation, failure: Option<ReloadFailure>) {
        let failed = failure.is_some();
        self.tell_outcome(generation, failure);
        self.notify_ready();
        if std::mem::take(&mut self.pool.reloads.again) {
            self.reload();
        } else if !failed {
            self.pool.reloads.changes_seen.clear();
        }
    }

    pub(super) fn tell_outcome(&mut self, generation: Generation, failure: Option<ReloadFailure>) {
        match failure {
            Some(_) => self.pool.totals.reloads_failed += 1,
            None => self.pool.totals.reloads_done += 1,
        }
        let outcome = ReloadOutcome { generation, serving: self.current(), failure };
        self.pool.reloads.last = Some(outcome.clone());
        self.push(Effect::Pool(self.pool.id, PoolEffect::ReloadEnded(outcome)));
    }

    /// Ends the workers of a generation that have not served, and its zygote after the others.
    pub(super) fn discard_generation(&mut self, generation: Generation, reason: EndReason) {
        for id in self.ids_of(generation, |_| true) {
            self.discard(id, reason);
        }
        self.retire_zygote(generation);
    }

    /// The generation that a reload asked for now ends up with, if one is under way or will be.
    #[must_use]
    pub fn reload_awaited(&self) -> Option<Generation> {
        if self.pool.reloads.again {
            return Some(self.server.last_generation.next());
        }
        self.is_changing().then_some(self.server.last_generation)
    }

    /// How the last reload ended.
    #[must_use]
    pub fn last_reload(&self) -> Option<&ReloadOutcome> {
        self.pool.reloads.last.as_ref()
    }
}
