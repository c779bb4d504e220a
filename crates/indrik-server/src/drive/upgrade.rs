//! A new server beside this one (USR2), and being that new server: Gunicorn's protocol, so that either
//! of the two may be Gunicorn.

use std::ffi::OsString;
use std::os::fd::AsRawFd;
use std::time::Instant;
use std::{env, io};

use indrik_core::ids::Generation;
use indrik_core::logs::level::Level;
use indrik_core::settings::Config;
use indrik_core::supervise::limits::SUCCESSOR_SIGN_PAUSE;
use indrik_core::supervise::{Event, UpgradeEvent};
use indrik_sys::process::Child;
use indrik_sys::program::{self, Program};
use serde_json::json;

use super::parts::{Drive, Timer};
use crate::boot::{
    ADMIN_VARIABLE, ALERTS_VARIABLE, HISTORY_VARIABLE, MAINTENANCE, OWN_VARIABLES, WATCHDOG_PID,
    word,
};

/// Appended to the pid file's name and to the title while an old server lives.
const SUFFIX: &str = ".2";

impl Drive {
    /// Another server has the same sockets.
    pub(super) fn has_neighbour(&self) -> bool {
        self.children.successor.is_some() || self.neighbours.predecessor.is_some()
    }

    pub(super) fn start_successor(&mut self) {
        // Before it can accept anything: what it finds in the queues is not ours to refuse.
        self.outside.listeners.share(true);
        match self.spawn_successor() {
            Ok(child) => {
                let pid = child.pid();
                self.children.successor = Some(child);
                self.events.push(Event::Upgrade(UpgradeEvent::SuccessorStarted { pid }));
            }
            Err(error) => {
                self.outside.listeners.share(false);
                self.events.push(Event::Upgrade(UpgradeEvent::SuccessorFailed {
                    message: error.to_string(),
                }));
            }
        }
    }

    fn spawn_successor(&mut self) -> io::Result<Child> {
        let mut descriptors = self.outside.listeners.descriptors();
        let (admin, admin_descriptors) = self.admin_for_successor();
        // Without it the successor begins with an empty one.
        let history =
            self.outside.admin.thread.as_ref().and_then(|admin| admin.leave_history().ok());
        let alerts = self.outside.alerts.as_ref().and_then(|alerts| alerts.leave().ok());
        let word = self.neighbours.words.open()?;
        let is_own = |name: &OsString| OWN_VARIABLES.iter().any(|own| name == own);
        let mut environment: Vec<(OsString, OsString)> =
            env::vars_os().filter(|(name, _)| !is_own(name)).collect();
        let mut set = |name: &str, value: String| environment.push((name.into(), value.into()));
        set("GUNICORN_PID", std::process::id().to_string());
        set(word::VARIABLE, word.as_raw_fd().to_string());
        set(ADMIN_VARIABLE, admin);
        if let Some((order, _)) = &self.outside.control.maintenance {
            set(MAINTENANCE, serde_json::to_string(order)?);
        }
        if let Some(history) = &history {
            set(HISTORY_VARIABLE, history.as_raw_fd().to_string());
        }
        if let Some(alerts) = &alerts {
            set(ALERTS_VARIABLE, alerts.as_raw_fd().to_string());
        }
        let systemd = &self.neighbours.heritage.inheritance.systemd;
        if systemd.is_empty() {
            let numbers: Vec<String> = descriptors.iter().map(ToString::to_string).collect();
            set("GUNICORN_FD", numbers.join(","));
        } else {
            let names: Vec<&str> = systemd.iter().map(|socket| socket.name.as_str()).collect();
            set("LISTEN_FDS", systemd.len().to_string());
            set("LISTEN_FDNAMES", names.join(":"));
            // Their first numbers are still open.
            descriptors = systemd.iter().map(|socket| socket.fd).collect();
        }
        descriptors.push(word.as_raw_fd());
        descriptors.extend(admin_descriptors);
        descriptors.extend(history.iter().chain(&alerts).map(AsRawFd::as_raw_fd));
        let mut pid_variables = Vec::new();
        if !systemd.is_empty() {
            pid_variables.push("LISTEN_PID");
        }
        if env::var_os(WATCHDOG_PID).is_some() {
            pid_variables.push(WATCHDOG_PID);
        }
        program::start(&Program {
            file: &self.launch.typed.python,
            arguments: self.launch.typed.line.clone(),
            environment,
            pid_variables: &pid_variables,
            directory: &self.launch.cwd,
            descriptors,
            nowhere: Vec::new(),
            dies_with_us: false,
            apart: None,
        })
    }

    pub(super) fn upgrade_ended(&mut self, outcome: Result<u32, String>) {
        let answer = match outcome {
            Ok(pid) => json!({"success": true, "pid": pid}),
            Err(why) => {
                json!({"success": false, "error": why, "log": self.neighbours.words.wrong()})
            }
        };
        let now = Instant::now();
        for (client, id) in std::mem::take(&mut self.outside.control.upgraders) {
            let answer = json!({"id": id, "status": "ok", "data": answer});
            self.outside.control.server.answer(client, &answer, now);
        }
    }

    /// Tells the old server, if there is one, until this one serves.
    pub(super) fn say_that_it_lives(&mut self) {
        let again = word::say_living().then(|| Instant::now() + SUCCESSOR_SIGN_PAUSE);
        self.timers.set(Timer::Word, again);
    }

    /// The old server has gone.
    pub(super) fn promote(&mut self) {
        self.outside.listeners.inherit();
        self.inherit_admin();
        let generation = self.machine.census().generation;
        let Some(config) = self.generations.config_of(generation) else { return };
        self.show_title(&config);
        // Its path may have been the old one's until now.
        self.open_control(&config);
        let Some(file) = &mut self.outside.pid_file else { return };
        if let Some(path) = &config.pidfile
            && let Err(error) = file.rename(path)
        {
            self.log.write(Level::Error, &format!("{error}; {} stays", file.path().display()));
        }
    }

    pub(super) fn show_title(&self, config: &Config) {
        let suffix = if self.neighbours.predecessor.is_some() { SUFFIX } else { "" };
        let (prefix, title) = (&config.proc_title_prefix, config.title());
        let _ = indrik_sys::title::set(&format!("{prefix}: master [{title}{suffix}]"));
    }

    /// Where the pid file of these settings lies.
    pub(super) fn pid_path(&self, config: &Config) -> Option<std::path::PathBuf> {
        let mut name = config.pidfile.clone()?.into_os_string();
        if self.neighbours.predecessor.is_some() {
            name.push(SUFFIX);
        }
        Some(name.into())
    }

    /// For a generation that has not opened anything: is this start to become a daemon first?
    pub(super) fn must_detach(&self, generation: Generation, config: &Config) -> bool {
        // A successor has no terminal any more: the old server left it.
        let successor = self.neighbours.heritage.partner_pid().is_some();
        generation == Generation::FIRST
            && config.daemon
            && self.service.leaving.is_none()
            && !successor
    }
}
