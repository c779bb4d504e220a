//! Where the server stands between its start and its end.

use crate::time::Now;

/// Where the server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No worker has been ready yet.
    Starting,
    /// The normal state.
    Serving,
    /// The end is announced, and everything is served as before: whoever sends traffic here turns to
    /// others meanwhile. `hook`: until `pre_stop` is done; else until the delay is over.
    Leaving { hook: bool, until: Now },
    /// The front finishes what was accepted; workers are still replaced.
    Draining { until: Now },
    /// Everything is told to leave. `quick`: workers were sent SIGQUIT.
    Stopping { quick: bool },
    /// `Exit` was given out.
    Done,
}

impl Phase {
    /// The moment the phase has lasted too long, if it has a limit.
    pub(crate) fn deadline(self) -> Option<Now> {
        match self {
            Self::Leaving { until, .. } | Self::Draining { until } => Some(until),
            // The workers' and zygotes' own limits end this phase.
            Self::Stopping { .. } | Self::Starting | Self::Serving | Self::Done => None,
        }
    }

    /// Processes may still be started.
    pub(crate) fn may_start(self) -> bool {
        match self {
            Self::Starting | Self::Serving | Self::Leaving { .. } | Self::Draining { .. } => true,
            Self::Stopping { .. } | Self::Done => false,
        }
    }
}
