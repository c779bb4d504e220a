//! How a message is told: the chronicle always, and each sink that the settings name.

use std::sync::Arc;
use std::time::Duration;

use indrik_core::alerts::{Active, Message, Server, Severity, What, active_for_alertmanager};
use indrik_core::chronicle::{Kind, News};
use indrik_core::logs::level::Level;
use indrik_core::settings::AlertWebhookFormat;
use tokio::time::timeout;

use super::courier::Courier;
use super::plan::Plan;
use super::shown::{Fate, Sink, Tested};
use super::{exec, webhook};
use crate::log::Log;
use crate::look::Board;

/// Who asked for a test waits for each sink so long beyond the sink's own limit.
const TEST_BEYOND: Duration = Duration::from_secs(2);

/// The sinks of a plan.
pub(super) struct Sinks {
    couriers: Vec<(Courier, Duration)>,
    to_log: bool,
    to_alertmanager: bool,
    log: Arc<Log>,
    board: Arc<Board>,
}

impl Sinks {
    /// Begins them; those before end when what waits for them is done.
    pub(super) fn begin(plan: &Plan, log: &Arc<Log>, board: &Arc<Board>) -> Self {
        let mut couriers = Vec::new();
        if let Some(hook) = &plan.webhook {
            let name = format!("the webhook at {}", hook.shown());
            let (courier, waiting, health) = Courier::new(Sink::Webhook, name, log, board.alerts());
            tokio::spawn(webhook::run(hook.clone(), waiting, health));
            couriers.push((courier, hook.timeout));
        }
        if let Some(command) = &plan.exec {
            let name = format!("alert_exec ({})", command.words[0]);
            let (courier, waiting, health) = Courier::new(Sink::Exec, name, log, board.alerts());
            let (log, alerts) = (Arc::clone(log), Arc::clone(board.alerts()));
            tokio::spawn(exec::run(command.clone(), waiting, health, log, alerts));
            couriers.push((courier, command.timeout));
        }
        let format = plan.webhook.as_ref().map(|hook| hook.format);
        Self {
            couriers,
            to_log: plan.log,
            to_alertmanager: format == Some(AlertWebhookFormat::Alertmanager),
            log: Arc::clone(log),
            board: Arc::clone(board),
        }
    }

    /// Tells everybody; never waits.
    pub(super) fn tell(&self, message: Message) {
        let line = message.line();
        let text = line.lines().next().unwrap_or_default();
        let text = text.strip_prefix("Alert ").unwrap_or(text);
        if message.what != What::Still {
            self.board.enter(News::of(Kind::Alert, text));
        }
        if self.to_log {
            self.log.write(level(&message), &line);
            self.board.alerts().count(Sink::Log, Fate::Ok);
        }
        let message = Arc::new(message);
        self.couriers.iter().for_each(|(courier, _)| courier.send(&message));
    }

    /// Tells an Alertmanager what goes on: it takes for over what it does not hear of.
    pub(super) fn refresh(&self, active: &[Active], server: &Server, at_ms: u64) {
        if !self.to_alertmanager || active.is_empty() {
            return;
        }
        let body = active_for_alertmanager(active, server, at_ms);
        let hooks = self.couriers.iter().filter(|(courier, _)| courier.sink() == Sink::Webhook);
        hooks.for_each(|(courier, _)| courier.refresh(body.clone()));
    }

    /// Sends a test through each sink; what became of it comes later.
    pub(super) fn test(&self, message: Message) -> impl Future<Output = Tested> + Send + use<> {
        let mut said = Vec::new();
        if self.to_log {
            self.log.write(Level::Warning, &message.line());
            said.push((Sink::Log, Ok("written to the error log".to_owned())));
        }
        let message = Arc::new(message);
        let waits: Vec<_> = self
            .couriers
            .iter()
            .map(|(courier, limit)| {
                (courier.sink(), timeout(*limit + TEST_BEYOND, courier.test(&message)))
            })
            .collect();
        async move {
            for (sink, wait) in waits {
                let outcome = match wait.await {
                    Ok(Ok(outcome)) => outcome,
                    Ok(Err(_)) => Err("other messages wait already".to_owned()),
                    Err(_) => Err("other messages are being tried; see the error log".to_owned()),
                };
                said.push((sink, outcome));
            }
            said
        }
    }
}

fn level(message: &Message) -> Level {
    match (message.what, message.alert.severity) {
        (What::Recovered, _) => Level::Info,
        (_, Severity::Warning) => Level::Warning,
        (_, Severity::Critical) => Level::Error,
    }
}
