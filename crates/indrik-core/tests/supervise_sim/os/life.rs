//! The workers' signs of life.

use std::time::Duration;

use indrik_core::ids::{PoolId, WorkerId};
use indrik_core::supervise::{Event, LifeLimits, PoolEvent, Sign};

use super::Os;

/// The settings `timeout` and `deadlock_timeout`.
pub(super) const LIMITS: LifeLimits =
    LifeLimits { timeout: Duration::from_secs(30), deadlock: Duration::from_secs(20) };

/// One worker's signs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Life {
    sign: Sign,
    /// Since when its loop turns no more.
    still_since: Option<Duration>,
    /// No thread of it gets the interpreter's lock either.
    locked: bool,
}

impl Life {
    /// Whether it stands still, and has for so long.
    pub(crate) fn stands(&self, since: Duration, now: Duration) -> bool {
        self.still_since.is_some_and(|from| now.saturating_sub(from) > since)
    }
}

impl Os {
    pub(super) fn stand_still(&mut self, worker: WorkerId, now: Duration) {
        let locked = self.random.percent(50);
        self.gives_signs = true;
        if let Some(process) = self.processes.get_mut(&worker) {
            process.life.still_since.get_or_insert(now);
            process.life.locked = locked;
        }
    }

    /// The clock has leapt: nobody is held for standing still meanwhile.
    pub(crate) fn forgive_standing_still(&mut self, now: Duration) {
        for process in self.processes.values_mut() {
            if let Some(since) = &mut process.life.still_since {
                *since = now;
            }
        }
    }

    /// What the shell reads in the channels of all workers that the front has.
    pub(crate) fn signs(&mut self) -> Event {
        let linked = self.processes.iter_mut().filter(|(_, process)| process.linked);
        let signs = linked.map(|(id, process)| {
            let life = &mut process.life;
            if life.still_since.is_none() {
                life.sign.beats += 1;
            }
            if life.still_since.is_none() || !life.locked {
                life.sign.pulses += 1;
            }
            (*id, life.sign)
        });
        Event::Pool(PoolId::FIRST, PoolEvent::Signs { signs: signs.collect() })
    }
}
