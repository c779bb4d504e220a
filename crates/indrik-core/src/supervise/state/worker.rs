//! One worker's life as the supervisor sees it: the states, and when each of them has lasted too long.

use super::liveness::{Life, LifeLimits};
use super::recycling::Wish;
use crate::ids::{Generation, WorkerId};
use crate::logs::entry::Fields;
use crate::supervise::ladder::Rung;
use crate::supervise::limits::FORK_MAX;
use crate::supervise::reason::{EndReason, Exit, ExitStatus, StartReason};
use crate::time::Now;

/// Where a worker stands. Every state has a limit but `Waiting`,
/// `Ready` and `StandingBy`, which others end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkerState {
    /// The zygote was asked for it and has not answered.
    Forking { until: Now },
    /// As `Forking`, but it is no longer wanted: kill it as soon as its pid is known.
    Cancelled { until: Now },
    /// It imports the application.
    Booting { until: Now },
    /// It has booted and answers the requests of its warm-up.
    Warming { until: Now },
    /// Ready, of a generation that does not serve yet: the front does not know it.
    Waiting,
    /// The front may give it requests. `retiring`: it goes when its successor is ready.
    Ready { since: Now, retiring: bool },
    /// Of the generation before, while the new one soaks: no new requests, but it may get some again.
    StandingBy,
    /// The front gives it nothing new; it finishes what it has.
    Draining { until: Now },
    /// It is to end: `Told` means that its shutdown flag is set; it runs its exit hooks and leaves.
    Ending(Rung),
}

impl WorkerState {
    pub(crate) const fn told(until: Now) -> Self {
        Self::Ending(Rung::Told { until })
    }
}

/// One worker, from the request to fork it until its exit was seen.
#[derive(Clone, Debug)]
pub(crate) struct Worker {
    pub(crate) id: WorkerId,
    pub(crate) generation: Generation,
    /// Its place among the workers wanted; the back-off of repeated deaths is kept per place.
    pub(crate) place: u32,
    pub(crate) pid: Option<u32>,
    /// When it was asked for.
    pub(crate) born: Now,
    pub(crate) start: StartReason,
    /// Why it ends, once that is decided.
    pub(crate) end: Option<EndReason>,
    /// It is to be recycled, or is.
    pub(crate) wish: Option<Wish>,
    /// The front knows it and must be told of its end.
    pub(crate) in_front: bool,
    /// Why it ends has been logged.
    pub(crate) explained: bool,
    /// The hook that it has called before it was ready and that has not returned.
    pub(crate) in_hook: Option<&'static str>,
    /// Why it has no application: it answers every request with that.
    pub(crate) shows: Option<String>,
    pub(crate) life: Life,
    pub(crate) state: WorkerState,
}

impl Worker {
    /// A worker that the zygote of `generation` is asked for now.
    pub(crate) fn new(
        id: WorkerId,
        generation: Generation,
        place: u32,
        (start, life): (StartReason, LifeLimits),
        now: Now,
    ) -> Self {
        Self {
            id,
            generation,
            place,
            pid: None,
            born: now,
            start,
            end: None,
            wish: None,
            in_front: false,
            explained: false,
            in_hook: None,
            shows: None,
            life: Life::new(life),
            state: WorkerState::Forking { until: now + FORK_MAX },
        }
    }

    /// Whether we end it by force.
    pub(crate) const fn is_being_killed(&self) -> bool {
        match self.state {
            WorkerState::Cancelled { .. } => true,
            WorkerState::Ending(rung) => rung.is_forced(),
            _ => false,
        }
    }

    /// Why it ended: as decided, unless something else was faster.
    pub(crate) fn reason_of(&self, exit: Exit) -> EndReason {
        match (self.end, exit.status) {
            (Some(_), ExitStatus::Signal(_)) if !self.is_being_killed() && !self.explained => {
                EndReason::of_death(exit)
            }
            (Some(reason), _) => reason,
            (None, _) => EndReason::of_death(exit),
        }
    }

    /// What a log entry about it says in fields.
    pub(crate) fn fields(&self, reason: &str) -> Fields {
        vec![
            ("worker", self.id.0.into()),
            ("generation", self.generation.0.into()),
            ("place", u64::from(self.place + 1).into()),
            ("reason", reason.to_owned().into()),
        ]
    }

    /// On its way to being ready.
    pub(crate) fn is_coming(&self) -> bool {
        matches!(
            self.state,
            WorkerState::Forking { .. } | WorkerState::Booting { .. } | WorkerState::Warming { .. }
        )
    }

    /// Has done all that comes before the first request.
    pub(crate) fn is_warm(&self) -> bool {
        self.state == WorkerState::Waiting || self.is_staying()
    }

    /// Takes requests now.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.state, WorkerState::Ready { .. })
    }

    /// Takes requests now and is meant to go on doing so.
    pub(crate) fn is_staying(&self) -> bool {
        matches!(self.state, WorkerState::Ready { retiring: false, .. })
    }

    /// Has begun to serve, and is not being killed yet.
    pub(crate) fn may_be_ended_by_force(&self) -> bool {
        matches!(
            self.state,
            WorkerState::Ready { .. }
                | WorkerState::StandingBy
                | WorkerState::Draining { .. }
                | WorkerState::Ending(Rung::Told { .. })
        )
    }

    /// Has its place: no other worker should be started for it.
    pub(crate) fn holds_place(&self) -> bool {
        self.is_coming() || self.is_staying() || self.state == WorkerState::Waiting
    }

    /// The moment its state has lasted too long, if the state has a limit.
    pub(crate) fn deadline(&self) -> Option<Now> {
        match self.state {
            WorkerState::Forking { until }
            | WorkerState::Cancelled { until }
            | WorkerState::Booting { until }
            | WorkerState::Warming { until }
            | WorkerState::Draining { until } => Some(until),
            WorkerState::Ending(rung) => Some(rung.deadline()),
            WorkerState::Waiting | WorkerState::Ready { .. } | WorkerState::StandingBy => None,
        }
    }

    /// The zygote made it.
    pub(crate) fn booting(&mut self, pid: u32, until: Now) {
        self.pid = Some(pid);
        self.state = WorkerState::Booting { until };
    }

    /// It was asked for its tracebacks.
    pub(crate) fn dumping(&mut self, now: Now) {
        self.state = WorkerState::Ending(Rung::dumping(now));
    }

    /// SIGABRT was sent.
    pub(crate) fn aborting(&mut self, now: Now) {
        self.state = WorkerState::Ending(Rung::aborting(now));
    }

    /// SIGKILL was sent.
    pub(crate) fn killed(&mut self, now: Now) {
        self.state = WorkerState::Ending(Rung::killed(now));
    }
}
