//! What recycling remembers, of one worker and of a generation.

use crate::supervise::reason::EndReason;
use crate::time::Now;

/// A worker is to be recycled as soon as it is its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) reason: EndReason,
    pub(crate) since: Now,
}

/// What one generation's recycling remembers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recycling {
    /// Nobody is recycled by number or age before, so that requests get the processors.
    pub(crate) rest_until: Now,
    /// It was said that workers are used up faster than they can be replaced.
    pub(crate) told_too_fast: bool,
    /// It was said that a limit is too low for the application.
    pub(crate) told_misfit: bool,
}
