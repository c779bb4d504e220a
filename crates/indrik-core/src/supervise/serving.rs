//! What belongs to the generation of a pool that serves, as one value: another generation that takes
//! over brings its own, and the one before is kept whole, so that it can come back as it was.

use super::breaker::Breaker;
use super::recycle::Recycling;
use super::refork::Refork;
use super::restart::Restarts;
use super::{Policy, Supervisor};
use crate::ids::Generation;

/// One running generation of one pool.
#[derive(Clone, Debug)]
pub(super) struct Serving {
    pub(super) generation: Generation,
    pub(super) policy: Policy,
    /// Workers wanted: the policy's number, changed by TTIN and TTOU.
    pub(super) wanted: u32,
    pub(super) restarts: Restarts,
    pub(super) breaker: Breaker,
    pub(super) recycling: Recycling,
    pub(super) refork: Refork,
    /// How the last worker failed that had its place.
    pub(super) last_failure: String,
}

impl Serving {
    /// A generation that begins to serve with these settings.
    pub(super) fn new(generation: Generation, policy: Policy) -> Self {
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

impl Supervisor {
    /// The generation that serves.
    pub(super) fn current(&self) -> Generation {
        self.pool.serving.generation
    }

    /// Another generation serves from now on: what belonged to the one before comes back.
    pub(super) fn swap_serving(&mut self, next: Serving) -> Serving {
        std::mem::replace(&mut self.pool.serving, next)
    }
}
