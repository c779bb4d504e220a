//! Generations as the shell sees them: their warm-up, their trial, and who waits for a reload.

use std::time::Instant;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::supervise::{
    Event, Failure, FailureKind, OperatorEvent, PoolEvent, ReloadOutcome, Signal, WorkerEvent,
};
use serde_json::{Value as Json, json};

use super::parts::{Drive, POOL, Waiting};
use crate::control::error;

/// Reloads that may be waited for at the same time.
const WAITING_MAX: usize = 64;
const HINT: &str =
    "every path in warmup must be answered 2xx or 3xx, all of them within warmup_timeout";

impl Drive {
    // --- warm-up

    pub(super) fn warm_up(&mut self, id: WorkerId) {
        self.link_to_front(id);
        let generation = self.children.workers.get(&id).map(|worker| worker.generation);
        let config = generation.and_then(|generation| self.generations.config(generation));
        match (&self.front, config) {
            (Some(front), Some(config)) => front.warm_up(id, config),
            _ => self.events.push(Event::Worker(id, WorkerEvent::Warm)),
        }
    }

    pub(super) fn warm_up_failed(&mut self, id: WorkerId, why: String) {
        // What it said about the exception.
        self.take_messages_of(id);
        let worker = self.children.workers.get_mut(&id);
        let traceback = worker.map(|worker| std::mem::take(&mut worker.last_words));
        let failure = Failure {
            kind: FailureKind::WarmUp,
            message: why,
            hint: HINT.to_owned(),
            traceback: traceback.unwrap_or_default(),
        };
        self.feed(Event::Worker(id, WorkerEvent::WarmUpFailed { failure }));
    }

    // --- trial

    /// Tells the supervisor what the generation on trial has answered.
    pub(super) fn look_at_answers(&mut self) {
        if !self.machine.wants_answers() {
            return;
        }
        let due = self.machine.poll_timeout().is_some_and(|at| at <= self.events.now());
        let trial = self.front.as_ref().and_then(crate::front::Front::trial);
        if let (true, Some(trial)) = (due, trial) {
            self.feed(Event::Pool(
                POOL,
                PoolEvent::Answered { answers: trial.all, errors: trial.errors },
            ));
        }
    }

    /// The generation that serves stays: what only the one before had goes.
    pub(super) fn confirm(&mut self, generation: Generation) {
        let Some(config) = self.generations.config_of(generation) else { return };
        let close = self.outside.listeners.confirm();
        if !close.is_empty() {
            self.put_in_effect(generation, &config, (Vec::new(), close));
        }
        self.change_pid_file(&config);
    }

    /// The generation before serves again, with its settings.
    pub(super) fn restore(&mut self, generation: Generation) {
        let Some(config) = self.generations.config_of(generation) else { return };
        let close = self.outside.listeners.restore();
        self.put_in_effect(generation, &config, (Vec::new(), close));
        self.forget_pid_file();
    }

    // --- waiting

    /// Asks for a reload; the answer comes when it is over.
    pub(super) fn reload_and_wait(&mut self, client: u64, id: Json, now: Instant) {
        if self.outside.control.waiting.len() >= WAITING_MAX {
            let why = format!("{WAITING_MAX} clients wait for a reload already");
            return self.outside.control.server.answer(client, &error(id, &why), now);
        }
        let before = self.machine.last_reload().map(|outcome| outcome.generation);
        self.feed(Event::Operator(OperatorEvent::Signal(Signal::Hup)));
        if let Some(generation) = self.machine.reload_awaited() {
            self.outside.control.server.have_wait(client, now);
            self.outside.control.waiting.push(Waiting { client, id, generation });
            return;
        }
        let ended = self.machine.last_reload().filter(|it| Some(it.generation) != before).cloned();
        let answer = match ended {
            Some(outcome) => answer(&id, &outcome),
            None => error(id, "the server is shutting down"),
        };
        self.outside.control.server.answer(client, &answer, now);
    }

    pub(super) fn tell_reload_ended(&mut self, outcome: &ReloadOutcome) {
        let now = Instant::now();
        let is_told = |waiting: &mut Waiting| waiting.generation <= outcome.generation;
        let told: Vec<Waiting> = self.outside.control.waiting.extract_if(.., is_told).collect();
        for Waiting { client, id, .. } in told {
            self.outside.control.server.answer(client, &answer(&id, outcome), now);
        }
    }
}

fn answer(id: &Json, outcome: &ReloadOutcome) -> Json {
    json!({"id": id, "status": "ok", "data": shown(outcome)})
}

/// The end of a reload, for people and scripts.
pub(super) fn shown(outcome: &ReloadOutcome) -> Json {
    let (made, serving) = (outcome.generation, outcome.serving);
    match &outcome.failure {
        None => json!({"status": "reloaded", "generation": made.0}),
        Some(failure) => json!({
            "success": false,
            "status": "failed",
            "generation": made.0,
            "serving": serving.0,
            "error": format!(
                "generation {made} was given up: {}; the old one serves on (generation {serving})",
                failure.why
            ),
            "details": failure.details,
        }),
    }
}
