//! What operators and tests are told of the server.

use std::time::Duration;

use super::reason::{EndReason, StartReason};
use super::state::hold::HoldEnd;
use crate::ids::{Generation, PoolId, WorkerId};
use crate::time::Now;

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// In one word.
    pub state: HealthState,
    /// Requests should be sent to it.
    pub ready: bool,
    /// What is wrong, one line; empty unless it is degraded.
    pub why: String,
}

/// How the server is, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// Not every worker has got ready, or failed, yet.
    Starting,
    /// Everything is as wanted.
    Ready,
    /// It serves, but not as wanted: workers failed, requests are refused, or something else fails.
    Degraded,
    /// It takes no connections for now (WINCH).
    Paused,
    /// It finishes what it has, and ends.
    Draining,
    /// It ends.
    Stopping,
}

impl HealthState {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::Paused => "paused",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
        }
    }
}

/// What operators have made of the requests that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steered {
    /// They wait, while a pause lasts.
    pub held: Option<Held>,
    /// How the last pause ended, and how long it was.
    pub last: Option<(HoldEnd, Duration)>,
    /// The front answers them itself.
    pub maintenance: bool,
}

/// A pause that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// For so long so far.
    pub so_far: Duration,
    /// For so long at most from now.
    pub left: Duration,
}

/// How many workers there are and of what generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// The pool that is counted.
    pub pool: PoolId,
    /// The generation that serves.
    pub generation: Generation,
    /// Workers wanted.
    pub wanted: u32,
    /// Workers the front may give requests.
    pub ready: u32,
    /// Workers whose end has not been seen, whatever their state.
    pub processes: usize,
    /// A new generation is being made, or will be as soon as that can begin.
    pub reloading: bool,
    /// Started, and not asked to stop.
    pub serving: bool,
    /// The front was told to leave new connections where they are.
    pub paused: bool,
}

/// What has been done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Workers that were asked for.
    pub spawned: u64,
    /// Workers that were told to leave or killed.
    pub ended: u64,
    /// Generations begun after the first.
    pub reloads: u64,
    /// Reloads that are over and have succeeded.
    pub reloads_done: u64,
    /// Reloads that are over and have failed.
    pub reloads_failed: u64,
}

/// One worker, for showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WorkerView {
    /// Its number. Numbers go up, so it is its age as Gunicorn counts it.
    pub id: WorkerId,
    /// Its process, once it has one.
    pub pid: Option<u32>,
    /// The group it belongs to.
    pub pool: PoolId,
    /// Whose code it runs.
    pub generation: Generation,
    /// Its state in one word.
    pub state: &'static str,
    /// The application is loaded.
    pub booted: bool,
    /// It is ended by force.
    pub aborted: bool,
    /// Its place among the workers wanted, from 1.
    pub place: u32,
    /// Why it was started.
    pub start: StartReason,
    /// Why it is to end, once that is decided.
    pub end: Option<EndReason>,
    /// When it was asked for.
    pub born: Now,
    /// When its main thread showed life last, if it does.
    pub beat_at: Option<Now>,
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadOutcome {
    /// The generation that was made.
    pub generation: Generation,
    /// The generation that serves now.
    pub serving: Generation,
    /// Why it is not the new one.
    pub failure: Option<ReloadFailure>,
}

/// Why a generation was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadFailure {
    /// In a few words.
    pub why: String,
    /// What the log says of it, with Python's traceback; or empty.
    pub details: String,
}
