//! One zygote: the states, and when each of them has lasted too long.

use std::time::Duration;

use super::restart::Backoff;
use crate::supervise::ladder::Rung;
use crate::time::Now;

/// Where a zygote stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZygoteState {
    /// Its interpreter starts, reads the configuration, imports the application (preload).
    Starting { until: Now },
    /// An address it needs is taken: the next try.
    Waiting { retry: Now },
    /// It can fork.
    Ready,
    /// It was told to leave, or is ended by force.
    Ending(Rung),
    /// It was told to leave, but its hooks started something that lives in it: it stays to the end.
    Kept,
    /// It has left because nothing was to be forked, and is started again when something is.
    Resting,
    /// It is dead and will be started again.
    Dead { retry: Now },
}

impl ZygoteState {
    pub(crate) const fn told(until: Now) -> Self {
        Self::Ending(Rung::Told { until })
    }
}

/// The zygote of one generation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Zygote {
    pub(crate) state: ZygoteState,
    /// Deaths and failed starts.
    pub(crate) backoff: Backoff,
    /// When it became ready the last time.
    pub(crate) ready_since: Now,
    /// It is the zygote of a generation that is wanted: start it again when it dies.
    pub(crate) wanted: bool,
    /// It has been ready once: a restart does not reset the number of workers.
    pub(crate) been_ready: bool,
    /// How long it and each of its workers may boot, once the setting is known.
    pub(crate) boot_max: Duration,
    /// Its interpreter runs.
    pub(crate) here: bool,
    /// The hook that it has called and that has not returned.
    pub(crate) in_hook: Option<&'static str>,
    /// Its configuration has been read.
    pub(crate) configured: bool,
    /// It was told to leave because nothing is to be forked.
    pub(crate) rests: bool,
    /// How often an address it needs was found taken.
    pub(crate) listen_failures: u32,
}

impl Zygote {
    /// It died or could not start, the last time it was started.
    pub(crate) fn has_failed(&self) -> bool {
        self.backoff.failures() > 0
    }

    /// The moment its state has lasted long enough, if the state has a limit.
    pub(crate) fn deadline(&self) -> Option<Now> {
        match self.state {
            ZygoteState::Starting { until } => Some(until),
            ZygoteState::Ending(rung) => Some(rung.deadline()),
            ZygoteState::Dead { retry } | ZygoteState::Waiting { retry } => Some(retry),
            ZygoteState::Ready | ZygoteState::Kept | ZygoteState::Resting => None,
        }
    }
}
