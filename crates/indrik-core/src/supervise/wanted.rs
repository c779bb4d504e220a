//! How many workers are wanted. A server that was left without any (`pause`) takes connections again with them.

use super::effect::{Effect, FrontEffect, ZygoteEffect};
use super::limits::WORKERS_MAX;
use super::machine::Supervisor;
use super::state::pause::Pause;
use super::state::phase::Phase;

impl Supervisor {
    /// A server without workers gets its first one back.
    pub(super) fn one_more(&mut self) {
        self.change_wanted(match self.server.pause {
            Pause::No => self.pool.serving.wanted.saturating_add(1),
            Pause::Emptying { .. } | Pause::Empty => 1,
        });
    }

    pub(super) fn one_less(&mut self) {
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

    /// Whatever brings workers back brings the connections back too.
    pub(super) fn resume(&mut self) {
        let was_paused = std::mem::replace(&mut self.server.pause, Pause::No) != Pause::No;
        // Doors that were never opened are opened in their own time.
        if was_paused && self.server.doors.are_open() {
            self.push(Effect::Front(FrontEffect::ResumeAccepting));
        }
    }
}
