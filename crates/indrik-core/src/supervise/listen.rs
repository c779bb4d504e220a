//! A zygote's way from the reading of its configuration to its first worker: the addresses it needs
//! are opened before the application is imported, and one that is taken is tried again for a while.

use std::time::Duration;

use super::limits::{LISTEN_PAUSE, LISTEN_TRIES_MAX};
use super::reload::ZygoteState;
use super::{Effect, Failure, Level, Supervisor};
use crate::ids::Generation;

impl Supervisor {
    pub(super) fn config_read(&mut self, generation: Generation, boot_max: Duration) {
        if self.zygote_starts(generation) {
            let until = self.now + boot_max;
            if let Some(zygote) = self.zygotes.get_mut(&generation) {
                zygote.boot_max = boot_max;
                zygote.state = ZygoteState::Starting { until };
            }
            self.push(Effect::Listen { generation });
        }
    }

    pub(super) fn listening(&mut self, generation: Generation) {
        if self.zygote_starts(generation) {
            self.push(Effect::Configure { generation });
        }
    }

    /// Whoever has the address may be about to leave: a restart of the server looks like that.
    pub(super) fn listen_failed(
        &mut self,
        generation: Generation,
        failure: &Failure,
        in_use: bool,
    ) {
        let retry = self.now + LISTEN_PAUSE;
        let Some(zygote) = self.zygotes.get_mut(&generation) else { return };
        if !matches!(zygote.state, ZygoteState::Starting { .. }) {
            return;
        }
        zygote.listen_failures += 1;
        if !in_use || zygote.listen_failures >= LISTEN_TRIES_MAX {
            return self.zygote_failed(generation, failure);
        }
        zygote.state = ZygoteState::Waiting { retry };
        if zygote.listen_failures == 1 {
            let seconds = LISTEN_PAUSE.as_secs() * u64::from(LISTEN_TRIES_MAX - 1);
            let text = format!("{}; trying again for {seconds} s", failure.message);
            self.log(Level::Warning, text);
        }
    }

    pub(super) fn listen_again(&mut self, generation: Generation) {
        let now = self.now;
        if let Some(zygote) = self.zygotes.get_mut(&generation) {
            zygote.state = ZygoteState::Starting { until: now + zygote.boot_max };
            self.push(Effect::Listen { generation });
        }
    }

    fn zygote_starts(&self, generation: Generation) -> bool {
        let zygote = self.zygotes.get(&generation);
        zygote.is_some_and(|zygote| matches!(zygote.state, ZygoteState::Starting { .. }))
    }
}
