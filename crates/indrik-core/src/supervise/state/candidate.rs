//! The generation in the making, and what it keeps to while it takes over.

use crate::ids::Generation;
use crate::supervise::policy::Policy;

/// The generation in the making.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Candidate {
    pub(crate) generation: Generation,
    /// Known once its zygote has read the configuration.
    pub(crate) policy: Option<Policy>,
    /// It speaks another interface than the old one, so they cannot serve side by side.
    pub(crate) whole: bool,
    /// New workers have joined, or old ones have left for them.
    pub(crate) has_begun: bool,
}

/// What a rolling reload keeps to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Old and new workers serve side by side.
    pub(crate) rolls: bool,
    /// Processes of both generations together.
    pub(crate) processes_max: u32,
    /// Workers of both generations that take requests.
    pub(crate) ready_min: u32,
}

impl Limits {
    pub(crate) fn of(policy: &Policy, wanted_before: u32, whole: bool) -> Self {
        let workers = policy.workers;
        let unavailable = policy.reload.unavailable.of_rounded_down(workers);
        let surge = policy.reload.surge.of_rounded_up(workers);
        let rolls = !whole && (surge < workers || unavailable > 0);
        // With neither there would be no place for the canary.
        let surge = if unavailable == 0 { surge.max(1) } else { surge };
        Self {
            rolls,
            processes_max: workers.max(wanted_before).saturating_add(surge),
            ready_min: workers.min(wanted_before).saturating_sub(unavailable),
        }
    }
}
