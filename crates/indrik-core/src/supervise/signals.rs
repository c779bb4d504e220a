//! What each signal to the supervisor means: Gunicorn's meanings.

use super::effect::Effect;
use super::event::Signal;
use super::machine::Supervisor;
use crate::logs::level::Level;

impl Supervisor {
    pub(super) fn signal_received(&mut self, signal: Signal) {
        if signal == Signal::Winch && !self.pool.serving.policy.daemon {
            // Every resize of a terminal sends it; it means nothing to a server in the foreground.
            self.log(Level::Debug, "SIGWINCH ignored. Not daemonized");
            return;
        }
        self.log(Level::Routine, format!("Handling signal: {}", signal.name()));
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
}
