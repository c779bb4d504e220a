//! What of the logs the loop keeps in mind.

use std::collections::VecDeque;

use indrik_core::ids::Generation;

/// What was written, and by whom the rest is.
pub(crate) struct Logs {
    /// The generation whose Python logger writes the logs, if one does.
    pub(crate) logging: Option<Generation>,
    /// Remarks that were written.
    pub(crate) told: VecDeque<String>,
    /// How many workers there were when that was said last.
    pub(crate) workers: usize,
    /// Why a log could not be opened anew, as it was told; it is tried again.
    pub(crate) unopened: Option<String>,
}

impl Default for Logs {
    fn default() -> Self {
        // No server has so many workers: the first number is always news.
        Self { logging: None, told: VecDeque::new(), workers: usize::MAX, unopened: None }
    }
}
