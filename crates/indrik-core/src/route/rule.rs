//! One rule of the table.

use super::condition::Conditions;
use crate::time::Micros;

/// A request may run for as long as it likes.
pub const NO_LIMIT: Micros = 0;

/// What is said about some requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What a request has to be like.
    pub conditions: Conditions,
    /// What becomes of them.
    pub then: Then,
    /// Where it was set.
    pub source: Source,
}

/// Where a rule comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The setting.
    pub setting: &'static str,
    /// What of its value.
    pub entry: String,
}

/// What a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The front answers how the server stands.
    Probe(Probe),
    /// The request may run for so long; [`NO_LIMIT`]: for as long as it likes.
    TimeLimit(Micros),
    /// It has no line in the access log, unless it fails.
    Unlogged,
    /// It is logged if it is not over after so long; [`NO_LIMIT`]: never.
    Slow(Micros),
}

/// What a probe asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Whether traffic is welcome.
    Readiness,
    /// Whether the server need not be started anew.
    Liveness,
    /// What is counted.
    Metrics,
}
