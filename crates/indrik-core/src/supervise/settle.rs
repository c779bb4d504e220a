//! After a takeover: the new generation is on trial while the old workers stand by.
//!
//! Standing by means: no new requests, what was begun is finished, nothing is ended. A crash of a new
//! worker or too many errors give the requests back to the old ones at once.

use super::effect::{Effect, PoolEffect, WorkerEffect};
use super::limits::SETTLE_LOOK;
use super::machine::Supervisor;
use super::reason::EndReason;
use super::report::ReloadFailure;
use super::state::serving::Serving;
use super::state::settling::Settling;
use super::state::worker::State;
use crate::ids::WorkerId;
use crate::logs::level::Level;

impl Supervisor {
    pub(super) fn begin_to_settle(&mut self, old: Serving) {
        let until = self.now + self.pool.serving.policy.reload.settle;
        let look = self.now + SETTLE_LOOK;
        self.pool.settling = Some(Settling { old, until, look, answers: 0, errors: 0 });
        self.push(Effect::Pool(
            self.pool.id,
            PoolEffect::WatchAnswers { generation: Some(self.current()) },
        ));
    }

    /// It gets no requests for now.
    pub(super) fn stand_by(&mut self, id: WorkerId) {
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        worker.state = State::StandingBy;
        self.push(Effect::Worker(id, WorkerEffect::HoldInFront));
    }

    /// What the new generation has answered since it took over.
    pub(super) fn answered(&mut self, answers: u64, errors: u64) {
        let look = self.now + SETTLE_LOOK;
        let Some(settling) = &mut self.pool.settling else { return };
        (settling.answers, settling.errors, settling.look) = (answers, errors, look);
        self.judge(false);
    }

    fn judge(&mut self, is_over: bool) {
        let percent_max = self.pool.serving.policy.reload.error_percent_max;
        let Some(settling) = &self.pool.settling else { return };
        if settling.is_bad(percent_max, is_over) {
            let (answers, errors) = (settling.answers, settling.errors);
            let why = format!(
                "{errors} of its {answers} answers were errors, more than the {percent_max}% of \
                 reload_error_rate_max"
            );
            self.settle_failed(&why, "");
        }
    }

    pub(super) fn expire_settling(&mut self) {
        let now = self.now;
        let Some(settling) = &mut self.pool.settling else { return };
        if settling.look <= now {
            settling.look = now + SETTLE_LOOK;
        }
        if settling.until > now {
            return;
        }
        self.judge(true);
        if self.pool.settling.is_some() {
            let generation = self.current();
            self.log(Level::Info, format!("Generation {generation} has settled"));
            self.let_go_of_old();
            self.reload_ended(generation, None);
        }
    }

    /// The new generation stays, whatever happens: the old workers leave.
    pub(super) fn let_go_of_old(&mut self) {
        let Some(settling) = self.pool.settling.take() else { return };
        self.push(Effect::Pool(self.pool.id, PoolEffect::WatchAnswers { generation: None }));
        self.push(Effect::Pool(self.pool.id, PoolEffect::Confirm { generation: self.current() }));
        for id in self.ids_of(settling.old.generation, |worker| worker.state == State::StandingBy) {
            self.drain(id, EndReason::Reload);
        }
        self.retire_zygote(settling.old.generation);
    }

    /// The generation on trial is given up, if one is: the one that stands by serves again.
    pub(super) fn settle_failed(&mut self, why: &str, details: &str) {
        let Some(settling) = self.pool.settling.take() else { return };
        let failed = self.swap_serving(settling.old).generation;
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
        for id in self.ids_of(self.current(), |worker| worker.state == State::StandingBy) {
            if let Some(worker) = self.pool.workers.get_mut(&id) {
                let retiring = worker.end.is_some();
                worker.state = State::Ready { since: now, retiring };
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
        self.pool.settling.is_some()
    }
}
