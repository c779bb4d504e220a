//! A server without workers: what WINCH makes of a daemon, so that a new program beside it (USR2) can
//! be tried out and the old one brought back.
//!
//! New connections stay in the kernel's queue, where the other program finds them. What the front
//! has is finished first; then the workers go.

use super::effect::{Effect, FrontEffect, ZygoteEffect};
use super::machine::Supervisor;
use super::reason::EndReason;
use super::state::pause::Pause;
use super::state::phase::Phase;
use crate::logs::level::Level;

impl Supervisor {
    /// WINCH.
    pub(super) fn pause(&mut self) {
        if self.server.phase != Phase::Serving || self.server.pause != Pause::No {
            return;
        }
        self.log(Level::Info, "graceful stop of workers");
        self.leave_connections();
    }

    /// New connections stay in the kernel's queue from now on.
    pub(super) fn leave_connections(&mut self) {
        if self.is_changing() {
            self.cancel_reload(EndReason::Pause);
            self.notify_ready();
        }
        self.server.pause =
            Pause::Emptying { until: self.now + self.pool.serving.policy.graceful_timeout };
        if self.server.doors.are_open() {
            self.push(Effect::Front(FrontEffect::PauseAccepting));
        } else {
            // It has taken none.
            self.emptied();
        }
    }

    pub(super) fn emptied(&mut self) {
        if !matches!(self.server.pause, Pause::Emptying { .. }) {
            return;
        }
        if self.is_handing_over() {
            self.server.pause = Pause::Empty;
            self.hand_over();
        } else {
            self.server.pause = Pause::Empty;
            self.pool.serving.wanted = 0;
            self.push(Effect::Zygote(self.current(), ZygoteEffect::WorkersChanged { workers: 0 }));
        }
    }

    pub(super) fn expire_pause(&mut self) {
        if self.server.pause.deadline().is_some_and(|at| at <= self.now) {
            if self.server.phase != Phase::Serving {
                // What is left is the shutdown's to wait for.
                self.server.pause = Pause::No;
                return;
            }
            if self.is_handing_over() {
                self.server.pause = Pause::Empty;
                self.say_goodbye();
                return self.drop_the_rest();
            }
            self.emptied();
        }
    }

    /// The front has finished everything: now the workers may leave.
    pub(super) fn front_idle(&mut self) {
        if matches!(self.server.phase, Phase::Draining { .. }) {
            self.stop_workers();
        } else {
            self.emptied();
        }
    }
}
