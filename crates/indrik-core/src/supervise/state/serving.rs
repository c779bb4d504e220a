//! What belongs to the generation of a pool that serves, as one value: another generation that takes
//! over brings its own, and the one before is kept whole, so that it can come back as it was.

use super::breaker::Breaker;
use super::recycling::Recycling;
use super::refork::Refork;
use super::restart::Restarts;
use crate::ids::Generation;
use crate::supervise::policy::Policy;

/// One running generation of one pool.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) generation: Generation,
    pub(crate) policy: Policy,
    /// Workers wanted: the policy's number, changed by TTIN and TTOU.
    pub(crate) wanted: u32,
    pub(crate) restarts: Restarts,
    pub(crate) breaker: Breaker,
    pub(crate) recycling: Recycling,
    pub(crate) refork: Refork,
    /// How the last worker failed that had its place.
    pub(crate) last_failure: String,
}

/// An operator wants another number of workers than the settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    /// What the settings said then.
    pub(crate) configured: u32,
    pub(crate) workers: u32,
}

impl Serving {
    /// A generation that begins to serve with these settings.
    pub(crate) fn new(generation: Generation, policy: Policy) -> Self {
        Self {
            generation,
            policy,
            wanted: policy.workers,
            restarts: Restarts::default(),
            breaker: Breaker::default(),
            recycling: Recycling::default(),
            refork: Refork::default(),
            last_failure: String::new(),
        }
    }
}
