//! What a row of the table of alerts says.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Somebody should look at it today.
    Warning,
    /// Somebody should look at it now.
    Critical,
}

/// What a threshold and a value are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// A part of 1.
    Ratio,
    /// Seconds.
    Seconds,
    /// A number of something.
    Number,
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table says it")]
pub enum Measure {
    Cpu,
    Memory,
    RouteErrors,
    Success,
    P95,
    Mean,
    Queue,
    Refused,
    WorkerEnds,
    Breaker,
    Ready,
    ReloadFailed,
    Throttled,
    Disk,
    Certificate,
}

/// An alert as it is without settings.
#[derive(Debug, PartialEq)]
pub struct Row {
    /// What Prometheus' rules call it.
    pub name: &'static str,
    /// What settings call it.
    pub key: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What is looked at.
    pub measure: Measure,
    /// Of the threshold and the value.
    pub unit: Unit,
    /// It is bad above the threshold, else below.
    pub above: bool,
    /// The threshold.
    pub threshold: f64,
    /// Over how long it is counted, seconds; 0: it is not counted.
    pub window: u64,
    /// How long it has to be bad, seconds.
    pub hold: u64,
    /// How long it has to be well again, seconds.
    pub recovery: u64,
    /// What tells its values apart.
    pub subject: Option<&'static str>,
    /// What is wrong, with places for `{instance}`, `{value}`, `{subject}` and `{window}`.
    pub summary: &'static str,
    /// What to do.
    pub action: &'static str,
}

impl Severity {
    /// In one word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}
