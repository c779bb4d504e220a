//! After a takeover: the new generation is on trial while the old workers stand by.
//!
//! Standing by means: no new requests, what was begun is finished, nothing is ended. A crash of a new
//! worker or too many errors give the requests back to the old ones at once.

use super::effect::{Effect, PoolEffect, WorkerEffect};
use super::limits::SOAK_LOOK;
use super::machine::Supervisor;
use super::reason::EndReason;
use super::report::ReloadFailure;
use super::state::serving::Serving;
use super::state::soak::Soak;
use super::state::worker::WorkerState;
use crate::ids::WorkerId;
use crate::logs::level::Level;

impl Supervisor {
    pub(super) fn begin_soak(&mut self, old: Serving) {
        let until = self.now + self.pool.serving.policy.reload.soak;
        let look = self.now + SOAK_LOOK;
        self.pool.soak = Some(Soak { old, until, look, answers: 0, errors: 0 });
        self.push(Effect::Pool(
            self.pool.id,
            PoolEffect::WatchAnswers { generation: Some(self.current()) },
        ));
    }

    /// It gets no requests for now.
    pub(super) fn stand_by(&mut self, id: WorkerId) {
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        worker.state = WorkerState::StandingBy;
        self.push(Effect::Worker(id, WorkerEffect::HoldInFront));
    }

    /// What the new generation has answered since it took over.
    pub(super) fn answered(&mut self, answers: u64, errors: u64) {
        let look = self.now + SOAK_LOOK;
        let Some(soak) = &mut self.pool.soak else { return };
        (soak.answers, soak.errors, soak.look) = (answers, errors, look);
        self.judge(false);
    }

    fn judge(&mut self, is_over: bool) {
        let percent_max = self.pool.serving.policy.reload.error_percent_max;
        let Some(soak) = &self.pool.soak else { return };
        if soak.is_bad(percent_max, is_over) {
            let (answers, errors) = (soak.answers, soak.errors);
            let why = format!(
                "{errors} of its {answers} answers were errors, more than the {percent_max}% of \
                 reload_error_rate_max"
            );
            self.soak_failed(&why, "");
        }
    }

    pub(super) fn expire_soak(&mut self) {
        let now = self.now;
        let Some(soak) = &mut self.pool.soak else { return };
        if soak.look <= now {
            soak.look = now + SOAK_LOOK;
        }
        if soak.until > now {
            return;
        }
        self.judge(true);
        if self.pool.soak.is_some() {
            let generation = self.current();
            self.log(Level::Info, format!("Generation {generation} has passed its soak"));
            self.let_go_of_old();
            self.reload_ended(generation, None);
        }
    }

    /// The new generation stays, whatever happens: the old workers leave.
    pub(super) fn let_go_of_old(&mut self) {
        let Some(soak) = self.pool.soak.take() else { return };
        self.push(Effect::Pool(self.pool.id, PoolEffect::WatchAnswers { generation: None }));
        self.push(Effect::Pool(self.pool.id, PoolEffect::Confirm { generation: self.current() }));
        for id in self.ids_of(soak.old.generation, |worker| worker.state == WorkerState::StandingBy)
        {
            self.drain(id, EndReason::Reload);
        }
        self.retire_zygote(soak.old.generation);
    }

    /// The generation on trial is given up, if one is: the one that stands by serves again.
    pub(super) fn soak_failed(&mut self, why: &str, details: &str) {
        let Some(soak) = self.pool.soak.take() else { return };
        let failed = self.swap_serving(soak.old).generation;
        self.log(
            Level::Error,
            format!(
                "Generation {failed} is given up: {why}; generation {} serves again",
                self.current()
            ),
        );
        self.push(Effect::Pool(self.pool.id, PoolEffect::WatchAnswers { generation: None }));
        self.push(Effect::Pool(self.pool.id, PoolEffect::Restore { generation: self.current() }));
        let now = self.now;
        for id in self.ids_of(self.current(), |worker| worker.state == WorkerState::StandingBy) {
            if let Some(worker) = self.pool.workers.get_mut(&id) {
                let retiring = worker.end.is_some();
                worker.state = WorkerState::Ready { since: now, retiring };
                self.push(Effect::Worker(id, WorkerEffect::ResumeInFront));
            }
        }
        self.discard_generation(failed, EndReason::Rollback);
        let failure = ReloadFailure { why: why.to_owned(), details: details.to_owned() };
        self.reload_ended(failed, Some(failure));
    }

    /// Whether the shell is to tell what the new generation answers ([`PoolEvent::Answered`](super::PoolEvent::Answered)).
    #[must_use]
    pub fn wants_answers(&self) -> bool {
        self.pool.soak.is_some()
    }
}
