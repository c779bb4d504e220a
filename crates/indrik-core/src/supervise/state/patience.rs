//! What the service manager was asked for.

use crate::supervise::effect::Doing;
use crate::supervise::limits::MORE_TIME_INTERVAL;
use crate::time::Now;

/// When it was asked last, and for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked(pub(crate) Option<(Doing, Now)>);

impl Asked {
    /// When it is to be asked again.
    pub(crate) fn next(self) -> Option<Now> {
        self.0.map(|(_, at)| at + MORE_TIME_INTERVAL)
    }
}
