//! What each signal to the supervisor means: Gunicorn's meanings.

use super::limits::WORKERS_MAX;
use super::pause::Pause;
use super::shutdown::Phase;
use super::{Effect, Level, Supervisor, ZygoteEffect};

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
    /// Start the program anew beside this one, with the same sockets.
    Usr2,
    /// Stop the workers of a daemon.
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
        if signal == Signal::Winch && !self.pool.serving.policy.daemon {
            // Every resize of a terminal sends it; it means nothing to a server in the foreground.
            self.log(Level::Debug, "SIGWINCH ignored. Not daemonized");
            return;
        }
        self.log(Level::Info, format!("Handling signal: {}", signal.name()));
        match signal {
            Signal::Hup => self.reload(),
            Signal::Int | Signal::Quit => self.shut_down_quickly(),
            Signal::Term => self.shut_down_gracefully(),
            Signal::Ttin => self.one_more(),
            Signal::Ttou => self.one_less(),
            Signal::Usr1 => self.push(Effect::ReopenLogs),
            Signal::Usr2 => self.usr2(),
            Signal::Winch => self.pause(),
        }
    }

    /// A server without workers gets its first one back.
    fn one_more(&mut self) {
        self.change_wanted(match self.server.pause {
            Pause::No => self.pool.serving.wanted.saturating_add(1),
            Pause::Emptying { .. } | Pause::Empty => 1,
        });
    }

    fn one_less(&mut self) {
        if self.pool.serving.wanted > 1 {
            self.change_wanted(self.pool.serving.wanted - 1);
        }
    }

    pub(super) fn change_wanted(&mut self, wanted: u32) {
        let before = self.pool.serving.wanted;
        self.set_wanted(wanted);
        if self.pool.serving.wanted != before {
            self.push(Effect::Zygote(
                self.current(),
                ZygoteEffect::WorkersChanged { workers: self.pool.serving.wanted },
            ));
        }
    }

    /// Wanting workers is wanting to serve.
    pub(super) fn set_wanted(&mut self, wanted: u32) {
        if matches!(self.server.phase, Phase::Starting | Phase::Serving) {
            self.pool.serving.wanted = wanted.clamp(1, WORKERS_MAX);
            self.resume();
        }
    }
}
