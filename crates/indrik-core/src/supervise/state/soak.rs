//! A generation that has taken over and is on trial.

use super::serving::Serving;
use crate::supervise::limits::SOAK_ANSWERS_MIN;
use crate::time::Now;

/// A generation that has taken over and may be given up yet.
#[derive(Clone, Debug)]
pub(crate) struct Soak {
    /// The generation that stands by, as it was.
    pub(crate) old: Serving,
    pub(crate) until: Now,
    /// When the answers are to be looked at again.
    pub(crate) look: Now,
    pub(crate) answers: u64,
    pub(crate) errors: u64,
}

impl Soak {
    pub(crate) fn deadline(&self) -> Now {
        self.until.min(self.look)
    }

    /// Whether more answers are errors than may be. A few answers say little, unless there will be no more.
    pub(crate) fn is_bad(&self, percent_max: u32, is_over: bool) -> bool {
        let enough = is_over || self.answers >= SOAK_ANSWERS_MIN;
        enough && self.errors * 100 > self.answers * u64::from(percent_max)
    }
}
