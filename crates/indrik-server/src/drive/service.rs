//! Whom the supervisor tells how it stands: the service manager, and the terminal that a daemon leaves.

use std::time::Instant;

use indrik_core::supervise::{Level, Notice};
use indrik_sys::daemon::Word;

use super::Drive;

/// A daemon that has not left its terminal yet: it stays until it serves, or has said why not.
#[derive(Debug)]
pub(super) struct Leaving {
    /// What the process in the foreground waits for.
    pub(super) word: Word,
    /// Output that goes to no terminal stays.
    pub(super) keep_output: bool,
}

impl Drive {
    pub(super) fn notify(&mut self, notice: Notice) {
        let pid = std::process::id();
        match notice {
            Notice::Ready { workers } => {
                let title = self.configs.get(&self.machine.census().generation);
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
            Notice::Stopping => self.tell(&["STOPPING=1", "STATUS=Shutting down"]),
            Notice::HandedOver { to } => {
                let status = format!("STATUS=Process {to} takes over");
                self.tell(&[&format!("MAINPID={to}"), &status]);
            }
        }
    }

    fn tell(&self, lines: &[&str]) {
        if let Err(error) = self.manager.tell(lines) {
            let text = format!("Cannot notify the service manager ({}): {error}", lines[0]);
            self.log.write(Level::Warning, &text);
        }
    }

    /// A sign of life for the service manager's watchdog, if one is due. It comes from the
    /// supervision loop: when that stands still, there is none.
    pub(super) fn show_life(&mut self) {
        let (Some(due), Some(pause)) = (self.watchdog_due, self.manager.watchdog()) else { return };
        let now = Instant::now();
        if now >= due {
            self.watchdog_due = Some(now + pause);
            self.tell(&["WATCHDOG=1"]);
        }
    }

    fn leave_terminal(&mut self) {
        let Some(leaving) = self.leaving.take() else { return };
        if let Err(error) = indrik_sys::daemon::close_terminal(leaving.keep_output) {
            self.log.write(Level::Warning, &format!("Cannot leave the terminal: {error}"));
        }
        leaving.word.give(0);
    }
}
