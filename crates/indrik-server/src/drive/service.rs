//! Whom the supervisor tells how it stands: the service manager, and the terminal that a daemon leaves.

use std::time::Instant;

use indrik_core::logs::level::Level;
use indrik_core::settings::Config;
use indrik_core::supervise::{Doing, HealthState, Notice};
use serde_json::{Value as Json, json};

use super::parts::{Drive, Timer};
use crate::front::{Front, Standing};

impl Drive {
    pub(super) fn notify(&mut self, notice: Notice) {
        let pid = std::process::id();
        match notice {
            Notice::Ready { workers } => {
                let title = self.generations.config(self.machine.census().generation);
                let title = title.map_or("", |config| config.title());
                let status = format!("STATUS=Serving {title}, {workers} workers ready");
                self.tell(&["READY=1", &format!("MAINPID={pid}"), &status]);
                self.leave_terminal();
            }
            Notice::Reloading => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
                let now = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
                let now = format!("MONOTONIC_USEC={now}");
                self.tell(&["RELOADING=1", &now, "STATUS=Reloading"]);
            }
            Notice::MoreTime { doing, by } => {
                let by = format!("EXTEND_TIMEOUT_USEC={}", by.as_micros());
                self.tell(&[&by, &format!("STATUS={}", self.status(doing))]);
            }
            Notice::Stopping => self.tell(&["STOPPING=1", "STATUS=Shutting down"]),
            Notice::HandedOver { to } => {
                let status = format!("STATUS=Process {to} takes over");
                self.tell(&[&format!("MAINPID={to}"), &status]);
            }
        }
    }

    /// What goes on, for `systemctl status`.
    fn status(&self, doing: Doing) -> String {
        let census = self.machine.census();
        let work = self.front.as_ref().map(Front::stats);
        match (doing, work) {
            (Doing::Starting, _) => {
                format!("Starting, {} of {} workers ready", census.ready, census.wanted)
            }
            (Doing::Reloading, _) => "Reloading".to_owned(),
            (Doing::Leaving, Some(work)) => {
                format!("Leaving, serving {} connections for a while", work.connections)
            }
            (Doing::Draining, Some(work)) => format!(
                "Draining, {} connections and {} requests left",
                work.connections,
                work.waiting + work.in_flight
            ),
            (Doing::Leaving | Doing::Draining, None) => "Shutting down".to_owned(),
            (Doing::Stopping, _) => format!("Stopping, {} workers left", census.processes),
        }
    }

    fn tell(&self, lines: &[&str]) {
        if let Err(error) = self.service.manager.tell(lines) {
            let text = format!("Cannot notify the service manager ({}): {error}", lines[0]);
            self.log.write(Level::Warning, &text);
        }
    }

    /// A sign of life for the service manager's watchdog. It comes from the
    /// supervision loop: when that stands still, there is none.
    pub(super) fn show_life(&mut self) {
        let Some(pause) = self.service.manager.watchdog() else { return };
        self.timers.set(Timer::Watchdog, Some(Instant::now() + pause));
        self.tell(&["WATCHDOG=1"]);
    }

    /// Tells the front how the server stands, where probes ask for it.
    pub(super) fn show_standing(&mut self) {
        let current = self.generations.config(self.machine.census().generation);
        let asked =
            |config: &Config| config.readiness_path.is_some() || config.liveness_path.is_some();
        let (Some(front), true) = (&self.front, current.is_some_and(|config| asked(config))) else {
            return;
        };
        let standing = self.standing();
        if standing != self.service.standing {
            front.stand(standing.clone());
            self.service.standing = standing;
        }
    }

    /// Whoever looks at liveness would start the server anew: that helps only where it ends anyway.
    pub(super) fn standing(&self) -> Standing {
        let health = self.machine.health();
        let live = health.state != HealthState::Stopping;
        let line = self.shown_health().to_string();
        Standing { ready: health.ready, live, line }
    }

    pub(super) fn shown_health(&self) -> Json {
        let health = self.machine.health();
        json!({"state": health.state.word(), "ready": health.ready, "why": health.why})
    }

    fn leave_terminal(&mut self) {
        let Some(leaving) = self.service.leaving.take() else { return };
        if let Err(error) = indrik_sys::daemon::close_terminal(leaving.keep_output) {
            self.log.write(Level::Warning, &format!("Cannot leave the terminal: {error}"));
        }
        leaving.word.give(0);
    }
}
