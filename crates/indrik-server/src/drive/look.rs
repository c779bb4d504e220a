//! What others see of the loop: a new look whenever something that matters has changed, and the chronicle.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::chronicle::{Kind, News, Picture, changes, kind_of_end};
use indrik_core::supervise::{ExitStatus, ReloadOutcome, Tally, WorkerView};

use super::parts::{Drive, Timer};
use crate::look::{
    CensusLook, HealthLook, Look, ReloadLook, ServerLook, SteeringLook, TotalsLook, WorkerLook,
};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(100);

impl Drive {
    /// Something may have changed. How the server is as a whole is shown at once; the rest soon, if something was shown
    /// just now.
    pub(super) fn show_look_soon(&mut self) {
        if self.enter_changes() {
            return self.show_look();
        }
        match self.outside.admin.shown.map(|shown| shown + PAUSE) {
            Some(due) if due > Instant::now() => self.timers.set(Timer::Look, Some(due)),
            _ => self.show_look(),
        }
    }

    /// Shows how everything is.
    pub(super) fn show_look(&mut self) {
        self.outside.admin.shown = Some(Instant::now());
        self.timers.set(Timer::Look, None);
        let look = self.look();
        self.outside.admin.board.show(look);
    }

    fn look(&self) -> Look {
        let census = self.machine.census();
        let totals = self.machine.totals();
        let health = self.machine.health();
        let began = self.events.started;
        let steered = self.machine.steered();
        Look {
            server: self.server_look(),
            health: HealthLook { state: health.state.word(), ready: health.ready, why: health.why },
            census: CensusLook {
                generation: census.generation.0,
                wanted: census.wanted,
                ready: census.ready,
                processes: census.processes,
                reloading: census.reloading,
                serving: census.serving,
                paused: census.paused,
                breaker_open: self.machine.is_breaker_open(),
            },
            totals: TotalsLook {
                spawned: totals.spawned,
                ended: totals.ended,
                reloads: totals.reloads,
                reloads_done: totals.reloads_done,
                reloads_failed: totals.reloads_failed,
            },
            last_reload: self.machine.last_reload().map(reload_look),
            workers: self.machine.views().map(|view| worker_look(&view)).collect(),
            starts: self.machine.accounts().starts_by_word(),
            ends: self.machine.accounts().ends_by_word(),
            steering: SteeringLook {
                pause_left_s: steered.held.map(|held| held.left.as_secs_f64()),
                maintenance: steered.maintenance,
            },
            handed_over_to: self.machine.handed_over_to(),
            settings: self.outside.admin.settings.clone(),
            ..Look::starting(began)
        }
    }

    /// What seldom changes is made anew only if it has.
    fn server_look(&self) -> Arc<ServerLook> {
        let before = Arc::clone(&self.outside.admin.board.look().server);
        let config = self.generations.config(self.machine.census().generation);
        let Some(config) = config else { return before };
        let now = ServerLook {
            application: config.title().to_owned(),
            directory: config.chdir.display().to_string(),
            addresses: self.shown_addresses(),
            admin: self.shown_admin(),
            ..(*before).clone()
        };
        if *before == now { before } else { Arc::new(now) }
    }

    // --- the chronicle

    pub(super) fn enter_start(&self) {
        let pid = std::process::id();
        let text = format!("indrik {} began (pid {pid})", env!("CARGO_PKG_VERSION"));
        self.outside.admin.board.enter(News { pid: Some(pid), ..News::of(Kind::Start, text) });
    }

    /// Whether something was entered.
    fn enter_changes(&mut self) -> bool {
        let health = self.machine.health();
        let census = self.machine.census();
        let picture = Picture {
            generation: census.generation.0,
            wanted: census.wanted,
            health: health.state,
            why: health.why,
            breaker: self.machine.is_breaker_open(),
            successor: self.machine.handed_over_to(),
        };
        if let Some(before) = &self.outside.admin.picture {
            if *before == picture {
                return false;
            }
            for news in changes(before, &picture) {
                self.outside.admin.board.enter(news);
            }
        }
        self.outside.admin.picture = Some(picture);
        true
    }

    pub(super) fn enter_reload(&self, outcome: &ReloadOutcome) {
        let made = outcome.generation;
        let (kind, text) = match &outcome.failure {
            None => (Kind::Deploy, format!("generation {made} serves")),
            Some(failure) => {
                let text = format!(
                    "generation {made} was given up: {}; generation {} serves on",
                    failure.why, outcome.serving
                );
                (Kind::ReloadFailed, text)
            }
        };
        self.outside.admin.board.enter(News::of(kind, text).of_generation(made.0));
    }

    pub(super) fn note_end(&mut self, tally: Tally) {
        if let Tally::End(reason) = tally {
            self.outside.admin.ended_for = Some(reason);
        }
    }

    /// A worker's end was seen, and what it means is decided.
    pub(super) fn enter_end(
        &mut self,
        view: Option<WorkerView>,
        status: ExitStatus,
        had: Vec<String>,
    ) {
        let reason = self.outside.admin.ended_for.take();
        let (Some(view), Some(reason)) = (view, reason) else { return };
        let Some(kind) = kind_of_end(reason) else { return };
        let status = match status {
            ExitStatus::Code(code) => format!("code {code}"),
            ExitStatus::Signal(signal) => format!("signal {signal}"),
        };
        self.outside.admin.board.enter(News {
            kind,
            text: format!("worker {} ended: {} ({status})", view.place, reason.word()),
            place: Some(view.place),
            pid: view.pid,
            generation: Some(view.generation.0),
            // Who was replaced in its turn had nothing to do with them.
            requests: if kind == Kind::Crash { had } else { Vec::new() },
        });
    }
}

fn reload_look(outcome: &ReloadOutcome) -> ReloadLook {
    let failure = outcome.failure.as_ref();
    ReloadLook {
        generation: outcome.generation.0,
        serving: outcome.serving.0,
        failed: failure.is_some(),
        why: failure.map(|failure| failure.why.clone()).unwrap_or_default(),
        details: failure.map(|failure| failure.details.clone()).unwrap_or_default(),
    }
}

fn worker_look(view: &WorkerView) -> WorkerLook {
    WorkerLook {
        id: view.id.0,
        place: view.place,
        pid: view.pid,
        generation: view.generation.0,
        state: view.state,
        booted: view.booted,
        aborted: view.aborted,
        started_for: view.start.word().into_owned(),
        ends_for: view.end.map(|end| end.word().into_owned()),
        born: view.born,
        beat_at: view.beat_at,
    }
}
