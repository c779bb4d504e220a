//! What each signal to the supervisor means: Gunicorn's meanings.

use super::effect::{Effect, ZygoteEffect};
use super::event::Signal;
use super::limits::WORKERS_MAX;
use super::machine::Supervisor;
use super::state::pause::Pause;
use super::state::phase::Phase;
use crate::logs::level::Level;

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
