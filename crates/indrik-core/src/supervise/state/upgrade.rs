//! Which of two servers this is, and what becomes of it.

use crate::time::Now;

/// Which of two servers this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upgrade {
    /// The only one.
    None,
    /// The old one; its hook `pre_exec` runs. `replaces`: the new one is to take this one's place.
    Preparing { replaces: bool, until: Now },
    /// The old one; the new one is being started.
    Starting { replaces: bool },
    /// The old one; the new one runs.
    Predecessor { successor: u32, plan: Plan },
    /// The new one; the old one runs.
    Successor,
}

/// What becomes of the old server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// It serves on until it is told to leave.
    Stay,
    /// It leaves when the new one says that it serves, unless that takes too long, or that one gives no sign of life.
    Leave { until: Now, silent: Now },
    /// The new one serves; this one finishes what it has.
    Leaving,
}

impl Upgrade {
    /// Whether the hook `pre_exec` is waited for. Its process is that of the generation that serves, which a
    /// reload would end.
    pub(crate) const fn waits_for_pre_exec(self) -> bool {
        matches!(self, Self::Preparing { .. })
    }

    pub(crate) fn deadline(self) -> Option<Now> {
        match self {
            Self::Preparing { until, .. } => Some(until),
            Self::Predecessor { plan: Plan::Leave { until, silent }, .. } => {
                Some(until.min(silent))
            }
            Self::None | Self::Starting { .. } | Self::Predecessor { .. } | Self::Successor => None,
        }
    }
}
