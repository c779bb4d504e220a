//! Whether the front takes connections.

use crate::time::Now;

/// Whether the front takes connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// The normal state.
    No,
    /// It takes none, and finishes what it has.
    Emptying { until: Now },
    /// It has none, and no worker is wanted.
    Empty,
}

impl Pause {
    pub(crate) fn deadline(self) -> Option<Now> {
        match self {
            Self::Emptying { until } => Some(until),
            Self::No | Self::Empty => None,
        }
    }
}
