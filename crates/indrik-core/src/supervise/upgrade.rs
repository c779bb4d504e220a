//! A new program beside the old one (USR2): both serve from the same sockets until one of them is told
//! to leave. Gunicorn's way of replacing the program without closing a socket.

use super::pause::Pause;
use super::shutdown::Phase;
use super::{Effect, ExitStatus, Level, Supervisor};

/// Which of two servers this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Upgrade {
    /// The only one.
    None,
    /// The old one; the new one is being started.
    Starting,
    /// The old one; the new one runs.
    Predecessor { successor: u32 },
    /// The new one; the old one runs.
    Successor,
}

impl Supervisor {
    /// USR2.
    pub(super) fn start_successor(&mut self) {
        match self.upgrade {
            Upgrade::Starting | Upgrade::Predecessor { .. } => {
                self.log(Level::Warning, "USR2 signal ignored. Child exists.");
            }
            Upgrade::Successor => self.log(Level::Warning, "USR2 signal ignored. Parent exists."),
            Upgrade::None if self.phase == Phase::Serving => {
                self.upgrade = Upgrade::Starting;
                self.push(Effect::StartSuccessor);
            }
            Upgrade::None => {
                self.log(
                    Level::Warning,
                    "USR2 signal ignored. The server starts up or shuts down.",
                );
            }
        }
    }

    pub(super) fn successor_started(&mut self, pid: u32) {
        if self.upgrade == Upgrade::Starting {
            self.upgrade = Upgrade::Predecessor { successor: pid };
            self.log(Level::Info, format!("Starting new master (pid: {pid})"));
        }
    }

    pub(super) fn successor_failed(&mut self, message: &str) {
        if self.upgrade == Upgrade::Starting {
            self.upgrade = Upgrade::None;
            self.log(Level::Error, format!("Cannot start a new master: {message}"));
        }
    }

    /// This server is the only one again, and serves again if it had been told to pause.
    pub(super) fn successor_exited(&mut self, status: ExitStatus) {
        let Upgrade::Predecessor { successor } = self.upgrade else { return };
        self.upgrade = Upgrade::None;
        let (level, how) = match status {
            ExitStatus::Code(0) => (Level::Info, "stopped".to_owned()),
            ExitStatus::Code(code) => (Level::Error, format!("exited with code {code}")),
            ExitStatus::Signal(signal) => (Level::Error, format!("was ended by signal {signal}")),
        };
        self.log(level, format!("New master (pid:{successor}) {how}; this one goes on"));
        if self.phase == Phase::Serving && self.pause != Pause::No {
            self.change_wanted(self.policy.workers);
        }
    }

    pub(super) fn predecessor_exited(&mut self) {
        if self.upgrade == Upgrade::Successor {
            self.upgrade = Upgrade::None;
            self.log(Level::Info, "Master has been promoted.");
            self.push(Effect::Promote);
            if self.announced {
                self.notify_ready();
            }
        }
    }

    /// What this server calls itself in the log.
    pub(super) fn master_name(&self) -> &'static str {
        match self.upgrade {
            Upgrade::Successor => "Master.2",
            Upgrade::None | Upgrade::Starting | Upgrade::Predecessor { .. } => "Master",
        }
    }
}
