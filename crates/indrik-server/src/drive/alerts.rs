//! The server's own alerts as the loop has them: what the settings ask for, and who wants to try them.

use std::sync::Arc;
use std::time::Instant;

use indrik_core::ids::Generation;
use indrik_core::settings::Config;
use serde_json::{Value as Json, json};

use super::parts::Drive;
use crate::alerts::{Plan, Tested, Watcher};
use crate::control::error;

impl Drive {
    /// From now on alerts are what these settings ask for.
    pub(super) fn follow_alerts(&mut self, generation: Generation, config: &Config) {
        let plan = Plan::of(config, self.generations.identity(generation));
        if let Some(watcher) = &self.outside.alerts {
            return watcher.follow(plan);
        }
        let Some(plan) = plan else { return };
        let board = &self.outside.admin.board;
        match Watcher::start(plan, &self.log, board) {
            Ok(watcher) => self.outside.alerts = Some(watcher),
            Err(error) => {
                self.log.error(&format!("Cannot watch for alerts, going on without them: {error}"));
            }
        }
    }

    /// A client of the control socket wants a test of each sink; it is answered when all have been tried.
    pub(super) fn test_alerts(&mut self, client: u64, id: Json, now: Instant) {
        let (tested, bell) = (Arc::clone(&self.outside.tested), Arc::clone(&self.sources.bell));
        let name = id.clone();
        let answer = Box::new(move |outcome| {
            tested.lock().push((client, name, outcome));
            bell.ring();
        });
        let asked = match &self.outside.alerts {
            Some(watcher) => watcher.test(answer),
            None => Err("alerts go nowhere: set alert_log, alert_exec or alert_webhook".to_owned()),
        };
        match asked {
            Ok(()) => self.outside.control.server.have_wait(client, now),
            Err(why) => self.outside.control.server.answer(client, &error(id, &why), now),
        }
    }

    /// Answers whose test is over.
    pub(super) fn answer_tests(&mut self) {
        let done = std::mem::take(&mut *self.outside.tested.lock());
        for (client, id, outcome) in done {
            let answer = match outcome {
                Ok(tested) => json!({"id": id, "status": "ok", "data": shown(&tested)}),
                Err(why) => error(id, &why),
            };
            self.outside.control.server.answer(client, &answer, Instant::now());
        }
    }
}

fn shown(tested: &Tested) -> Json {
    let sinks = tested.iter().map(|(sink, outcome)| {
        let (ok, said) = match outcome {
            Ok(said) => (true, said),
            Err(why) => (false, why),
        };
        json!({"sink": sink.word(), "ok": ok, "said": said})
    });
    json!({"sinks": sinks.collect::<Vec<_>>()})
}
