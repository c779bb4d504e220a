//! What comes out: everything the supervisor can ask the shell to do.

use std::time::Duration;

use super::reason::Tally;
use super::report::ReloadOutcome;
use crate::ids::{Generation, PoolId, WorkerId};
use crate::logs::entry::Fields;
use crate::logs::level::Level;

/// What to do, by whom it is done to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an effect must be performed"]
pub enum Effect {
    /// To the zygote of a generation.
    Zygote(Generation, ZygoteEffect),
    /// To a worker, or to the front for it.
    Worker(WorkerId, WorkerEffect),
    /// To what serves a pool.
    Pool(PoolId, PoolEffect),
    /// To the front as a whole.
    Front(FrontEffect),
    /// To the other server of an upgrade.
    Upgrade(UpgradeEffect),
    /// Tell the service manager.
    Notify(Notice),
    /// Reopen the log files.
    ReopenLogs,
    /// A worker started or ended: the metrics are told.
    Count(Tally),
    /// Write a line to the error log.
    Log(LogLine),
    /// Nothing is left to do: end the process with this code. The last effect.
    Exit(i32),
}

/// What to do to a zygote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZygoteEffect {
    /// Start one for the generation, or start it again. Answer: `ConfigRead` (`Ready` if its settings
    /// are known), `Failed`, `Exited`.
    Spawn,
    /// Open what the generation's settings need and is not open yet, as the operator sees it from
    /// outside: addresses, pid file. Answer: `Listening` or `ListenFailed`.
    Listen,
    /// Give it its settings. Answer: `Ready` or `Failed`.
    Configure,
    /// Tell it that another number of workers is wanted.
    WorkersChanged {
        /// Workers wanted from now on.
        workers: u32,
    },
    /// Run the hook `pre_stop` in it. Answer: `PreStopDone`.
    RunPreStop,
    /// The worker is the zygote of the generation from now on, and no worker any more; the one before
    /// is told to leave. Answer: `OldZygoteExited`.
    ChangeTo {
        /// The worker that becomes it.
        worker: WorkerId,
    },
    /// Tell it to leave. Answer: `Exited`, or `Stays` the first time.
    Retire {
        /// The server ends, and this zygote stood for it: it runs the last hook.
        last: bool,
    },
    /// SIGKILL for one that does not leave.
    Kill,
}

/// What to do to a worker, or in the front for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEffect {
    /// Ask the zygote for it. Answer: `Forked`, `ForkFailed` or `ForkRefused`.
    Fork {
        /// The zygote to ask.
        generation: Generation,
    },
    /// Let it go on after the fork; until then it waits, so no worker runs that is not known.
    Release,
    /// Send it the requests of its warm-up. Answer: `Warm` or `WarmUpFailed`.
    WarmUp,
    /// The front may give it requests.
    AddToFront,
    /// The front gives it nothing for now.
    HoldInFront,
    /// The front may give it requests again.
    ResumeInFront,
    /// The front gives it nothing more. Answer: `Drained`.
    DrainInFront,
    /// Its started requests are answered, as it will not: it shows no life.
    AnswerStarted,
    /// Set its shutdown flag and wake it.
    ShutDown,
    /// Tell it, drained, to become a zygote when its loop ends, which it is told next. Answer: `Promoted`
    /// or `PromotionRefused`.
    Promote,
    /// Send it a signal.
    Kill {
        /// The signal for it.
        signal: KillSignal,
    },
    /// It is dead: the front recovers what it held.
    Gone {
        /// None of its requests can have ended it: we did, for a reason of ours.
        blameless: bool,
    },
}

/// What to do to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEffect {
    /// From now on this generation's configuration is the one that counts.
    Adopt {
        /// The generation that counts.
        generation: Generation,
        /// The one before may come back: what is open for it stays open. `Confirm` or `Restore` follows.
        on_trial: bool,
    },
    /// This generation stays: what only the one before needs is closed.
    Confirm {
        /// The generation that stays.
        generation: Generation,
    },
    /// The configuration of the generation before counts again.
    Restore {
        /// The generation that counts again.
        generation: Generation,
    },
    /// The generation will not take over: close what was opened for it alone.
    Forget {
        /// The generation that will not take over.
        generation: Generation,
    },
    /// Count what this generation answers, from nothing; or stop it.
    WatchAnswers {
        /// The generation whose answers are counted; `None`: stop.
        generation: Option<Generation>,
    },
    /// A reload is over, one way or the other: whoever waits for it is told.
    ReloadEnded(ReloadOutcome),
    /// SIGKILL for the zygote that a refork has replaced.
    KillOldZygote,
}

/// What to do to the front as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrontEffect {
    /// It takes connections from now on; until then it leaves them in the kernel's queue. Once.
    OpenDoors,
    /// It takes no new connections, but finishes what was accepted, the kernel's queue included. Answer:
    /// `FrontIdle`.
    StopAccepting,
    /// It drops everything at once.
    CloseNow,
    /// It leaves new connections in the kernel's queue and finishes what it has. Answer: `FrontIdle`.
    PauseAccepting,
    /// It takes new connections again.
    ResumeAccepting,
    /// Requests that come wait in its queue; what workers have not begun comes back there.
    HoldRequests,
    /// What waits goes to workers again.
    ReleaseRequests,
    /// It answers requests itself, with the page that the operator gave last.
    BeginMaintenance,
    /// It does so no longer.
    EndMaintenance,
}

/// What to do to the other server of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeEffect {
    /// Run the hook `pre_exec`. Answer: `PreExecDone` or `PreExecLost`, if need be long after nobody waits for it any more.
    RunPreExec,
    /// Start the program anew, with the listening sockets. Answer: `SuccessorStarted` or
    /// `SuccessorFailed`.
    StartSuccessor,
    /// The new server serves: what only one of the two can answer, as the admin listener, is the new one's from now
    /// on, whether this one stays beside it or leaves.
    GiveWay,
    /// The new server serves, and this one leaves as soon as it has finished what it has: whoever asked
    /// for the upgrade may be told.
    Done {
        /// The new server's process.
        successor: u32,
    },
    /// There is no new server, or it did not come to serve; this one goes on.
    Failed {
        /// Why.
        message: String,
    },
    /// Tell the server whose place this one is to take that this one serves.
    TellPredecessor,
    /// This process is the server now: its pid file and title lose what told it from the old one.
    Promote,
}

/// What the service manager (systemd) is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Requests are answered.
    Ready {
        /// By so many workers.
        workers: u32,
    },
    /// A new generation is being made; `Ready` follows, whether it takes over or not.
    Reloading,
    /// What goes on takes longer.
    MoreTime {
        /// What goes on.
        doing: Doing,
        /// Until then at least, from now.
        by: Duration,
    },
    /// The end has begun.
    Stopping,
    /// The end of this process has begun, and another one is the server.
    HandedOver {
        /// Its process.
        to: u32,
    },
}

/// What a service manager may have to be patient for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doing {
    /// The first workers boot.
    Starting,
    /// A new generation boots.
    Reloading,
    /// The end is announced, and everything is served on.
    Leaving,
    /// What was accepted is finished.
    Draining,
    /// The workers end.
    Stopping,
}

/// The signals the supervisor sends to workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillSignal {
    /// Write the tracebacks of all threads.
    DumpTraceback,
    /// SIGABRT: run the abort handler and exit.
    Abort,
    /// SIGQUIT: exit at once.
    Quit,
    /// SIGKILL.
    Kill,
}

/// One line (or a block, for a traceback) for the error log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The process it is about, if not the supervisor's own.
    pub pid: Option<u32>,
    /// The text, without a line end.
    pub text: String,
    /// What the text says, for machines: shown where the log has fields (JSON).
    pub fields: Fields,
}
