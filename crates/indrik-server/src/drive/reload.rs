//! Generations as the shell sees them: their warm-up, their trial, and who waits for a reload.

use std::time::Instant;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::supervise::{Event, ReloadOutcome, WorkerEvent};
use serde_json::{Value as Json, json};

use super::parts::{Drive, Waiting};

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

    // --- the end of a trial

    /// The generation that serves stays: what only the one before had goes.
    pub(super) fn confirm(&mut self, generation: Generation) {
        let Some(config) = self.generations.config_of(generation) else { return };
        self.outside.admin.board.app_metrics().serves(generation);
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

    pub(super) fn tell_reload_ended(&mut self, outcome: &ReloadOutcome) {
        let now = Instant::now();
        let is_told = |waiting: &mut Waiting| waiting.generation <= outcome.generation;
        let told: Vec<Waiting> = self.outside.control.waiting.extract_if(.., is_told).collect();
        for Waiting { client, id, .. } in told {
            self.outside.control.server.answer(client, &answer(&id, outcome), now);
        }
    }
}

/// What a client that waited for a reload is told.
pub(super) fn answer(id: &Json, outcome: &ReloadOutcome) -> Json {
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
