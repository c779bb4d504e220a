//! How many workers are wanted. A server that was left without any (`pause`) takes connections again with them.

use super::effect::{Effect, FrontEffect, ZygoteEffect};
use super::limits::WORKERS_MAX;
use super::machine::Supervisor;
use super::state::pause::Pause;
use super::state::phase::Phase;
use super::state::serving::Wish;

impl Supervisor {
    /// A server without workers gets its first one back.
    pub(super) fn one_more(&mut self) {
        self.pool.wish = None;
        self.change_wanted(match self.server.pause {
            Pause::No => self.pool.serving.wanted.saturating_add(1),
            Pause::Emptying { .. } | Pause::Empty => 1,
        });
    }

    pub(super) fn one_less(&mut self) {
        self.pool.wish = None;
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

    /// An operator wants so many workers, for longer than this generation: until the settings name another number.
    pub(super) fn scale(&mut self, workers: u32) {
        let workers = workers.clamp(1, WORKERS_MAX);
        let configured =
            self.pool.wish.map_or(self.pool.serving.policy.workers, |wish| wish.configured);
        self.change_wanted(workers);
        if self.pool.serving.wanted == workers {
            self.pool.wish = Some(Wish { configured, workers });
        }
    }

    /// How many workers a new generation has whose settings name this number.
    pub(super) fn wished_instead_of(&self, configured: u32) -> u32 {
        let wish = self.pool.wish.filter(|wish| wish.configured == configured);
        wish.map_or(configured, |wish| wish.workers)
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
