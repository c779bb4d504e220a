//! Whether the front holds requests back: an operator's pause.

use std::time::Duration;

use crate::time::Now;

/// Whether the front holds requests back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The normal state.
    #[default]
    No,
    /// What comes waits; what had begun is finished.
    Held { since: Now, until: Now },
}

impl Hold {
    pub(crate) fn deadline(self) -> Option<Now> {
        match self {
            Self::Held { until, .. } => Some(until),
            Self::No => None,
        }
    }

    pub(crate) fn is_on(self) -> bool {
        self != Self::No
    }
}

/// What operators have made of the requests that come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Steering {
    pub(crate) hold: Hold,
    /// How the last hold ended, and how long it was.
    pub(crate) last: Option<(HoldEnd, Duration)>,
    /// The front answers requests itself.
    pub(crate) maintenance: bool,
}

/// Why requests are held back no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldEnd {
    /// An operator said so.
    Asked,
    /// It was for so long at most.
    TimeOver,
    /// The server ends: what waits is served before.
    ServerEnds,
    /// The workers were told to leave (WINCH): what waits is served before.
    WorkersLeave,
}

impl HoldEnd {
    /// In one word, for machines.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::TimeOver => "time_over",
            Self::ServerEnds => "server_ends",
            Self::WorkersLeave => "workers_leave",
        }
    }

    /// The same for people.
    #[must_use]
    pub const fn told(self) -> &'static str {
        match self {
            Self::Asked => "as asked",
            Self::TimeOver => "the pause's time is over",
            Self::ServerEnds => "the server ends, and serves first what waits",
            Self::WorkersLeave => "the workers leave, and serve first what waits",
        }
    }
}
