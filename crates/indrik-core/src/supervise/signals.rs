//! What each signal to the supervisor means: Gunicorn's meanings.

use super::limits::WORKERS_MAX;
use super::shutdown::Phase;
use super::{Effect, Level, Supervisor};

/// A signal the supervisor listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Reload: a new generation.
    Hup,
    /// Quick shutdown.
    Int,
    /// Quick shutdown.
    Quit,
    /// Graceful shutdown; the second one is quick.
    Term,
    /// One worker more.
    Ttin,
    /// One worker less.
    Ttou,
    /// Reopen the log files.
    Usr1,
    /// Gunicorn: replace the binary. Not needed here: HUP starts a fresh interpreter.
    Usr2,
    /// Gunicorn: stop the workers of a daemon.
    Winch,
}

impl Signal {
    /// The lower-case name Gunicorn logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hup => "hup",
            Self::Int => "int",
            Self::Quit => "quit",
            Self::Term => "term",
            Self::Ttin => "ttin",
            Self::Ttou => "ttou",
            Self::Usr1 => "usr1",
            Self::Usr2 => "usr2",
            Self::Winch => "winch",
        }
    }
}

impl Supervisor {
    pub(super) fn signal_received(&mut self, signal: Signal) {
        if signal == Signal::Winch {
            // Every resize of a terminal sends it; it means nothing to a server in the foreground.
            self.log(Level::Debug, "Ignoring signal: winch");
            return;
        }
        self.log(Level::Info, format!("Handling signal: {}", signal.name()));
        match signal {
            Signal::Hup => self.reload(),
            Signal::Int | Signal::Quit => self.shut_down_quickly(),
            Signal::Term => self.shut_down_gracefully(),
            Signal::Ttin => self.change_wanted(self.wanted.saturating_add(1)),
            Signal::Ttou => self.change_wanted(self.wanted.saturating_sub(1)),
            Signal::Usr1 => self.push(Effect::ReopenLogs),
            Signal::Usr2 => self.log(
                Level::Warning,
                "SIGUSR2 does nothing: send HUP, which starts a fresh interpreter and new workers",
            ),
            Signal::Winch => {}
        }
    }

    pub(super) fn change_wanted(&mut self, wanted: u32) {
        let before = self.wanted;
        self.set_wanted(wanted);
        if self.wanted != before {
            self.push(Effect::WorkersChanged { generation: self.current, workers: self.wanted });
        }
    }

    pub(super) fn set_wanted(&mut self, wanted: u32) {
        if matches!(self.phase, Phase::Starting | Phase::Serving) {
            self.wanted = wanted.clamp(1, WORKERS_MAX);
        }
    }
}
