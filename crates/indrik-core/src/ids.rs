//! Newtypes for the numbers that name things, so that a worker's number is never taken for a
//! generation's or for a pid.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One worker process. Unique for the life of the supervisor: a number is never used again, so a
/// late event about a dead worker cannot be taken for its successor's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(pub u64);

/// A group of workers that run one application. There is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PoolId(pub u16);

impl PoolId {
    /// The pool the server starts with.
    pub const FIRST: Self = Self(1);
}

/// One zygote and the workers forked from it. A reload starts the next generation. Numbers are given
/// out by the server, so no two pools have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation the server starts with.
    pub const FIRST: Self = Self(1);

    /// The generation a reload after this one begins.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
