//! What comes out: everything the supervisor can ask the shell to do.

use std::time::Duration;

use super::{ReloadOutcome, Tally};
use crate::ids::{Generation, WorkerId};
pub use crate::logs::entry::{FieldValue, Fields};

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an effect must be performed"]
pub enum Effect {
    /// Start a zygote for the generation, or start it again. Answer: `ConfigRead` (`ZygoteReady` if its settings are
    /// known), `ZygoteFailed`, `ZygoteExited`.
    SpawnZygote {
        /// Which.
        generation: Generation,
    },
    /// Open what the generation's settings need and is not open yet, as the operator sees it from
    /// outside: addresses, pid file. Answer: `Listening` or `ListenFailed`.
    Listen {
        /// Which.
        generation: Generation,
    },
    /// Give the zygote its settings. Answer: `ZygoteReady` or `ZygoteFailed`.
    Configure {
        /// Which.
        generation: Generation,
    },
    /// The generation will not take over: close what was opened for it alone.
    Forget {
        /// Which.
        generation: Generation,
    },
    /// Tell the zygote to leave. Answer: `ZygoteExited`, or `ZygoteStays` the first time.
    RetireZygote {
        /// Which.
        generation: Generation,
        /// The server ends, and this zygote stood for it: it runs the last hook.
        last: bool,
    },
    /// SIGKILL for a zygote that does not leave.
    KillZygote {
        /// Which.
        generation: Generation,
    },
    /// From now on this generation's configuration is the server's.
    Adopt {
        /// Which.
        generation: Generation,
        /// The one before may come back: what is open for it stays open. `Confirm` or `Restore` follows.
        on_trial: bool,
    },
    /// This generation stays: what only the one before needs is closed.
    Confirm {
        /// Which.
        generation: Generation,
    },
    /// The configuration of the generation before is the server's again.
    Restore {
        /// Which.
        generation: Generation,
    },
    /// Count what this generation answers, from nothing; or stop it.
    WatchAnswers {
        /// Which.
        generation: Option<Generation>,
    },
    /// A reload is over, one way or the other: whoever waits for it is told.
    ReloadEnded(ReloadOutcome),
    /// Tell the zygote of this generation that another number of workers is wanted.
    WorkersChanged {
        /// The zygote to tell.
        generation: Generation,
        /// How many.
        workers: u32,
    },
    /// Ask the zygote for a worker. Answer: `Forked`, `ForkFailed` or `ForkRefused`.
    Fork {
        /// The new worker.
        worker: WorkerId,
        /// The zygote to ask.
        generation: Generation,
    },
    /// Let a forked worker go on; until then it waits, so no worker runs that is not known.
    Release {
        /// Which.
        worker: WorkerId,
    },
    /// The front may give the worker requests.
    AddToFront {
        /// Which.
        worker: WorkerId,
    },
    /// Send the worker the requests of its warm-up. Answer: `WorkerWarm` or `WarmUpFailed`.
    WarmUp {
        /// Which.
        worker: WorkerId,
    },
    /// The front gives the worker nothing for now.
    HoldInFront {
        /// Which.
        worker: WorkerId,
    },
    /// The front may give the worker requests again.
    ResumeInFront {
        /// Which.
        worker: WorkerId,
    },
    /// The front gives the worker nothing more. Answer: `WorkerDrained`.
    DrainInFront {
        /// Which.
        worker: WorkerId,
    },
    /// The worker is dead: the front recovers what it held.
    WorkerGone {
        /// Which.
        worker: WorkerId,
    },
    /// Tell the drained worker to become a zygote when its loop ends, which it is told next. Answer:
    /// `WorkerTurned` or `TurnRefused`.
    TurnWorker {
        /// Which.
        worker: WorkerId,
    },
    /// The worker is the zygote of the generation from now on, and no worker any more; the one before
    /// is told to leave. Answer: `OldZygoteExited`.
    ChangeZygote {
        /// Whose zygote changes.
        generation: Generation,
        /// The worker that becomes it.
        worker: WorkerId,
    },
    /// SIGKILL for the zygote that a refork has replaced.
    KillOldZygote,
    /// Set the worker's shutdown flag and wake it.
    ShutDownWorker {
        /// Which.
        worker: WorkerId,
    },
    /// Send the worker a signal.
    Kill {
        /// Which.
        worker: WorkerId,
        /// What.
        signal: KillSignal,
    },
    /// Run the hook `pre_stop` in this zygote. Answer: `PreStopDone`.
    RunPreStop {
        /// Which.
        generation: Generation,
    },
    /// The front takes no new connections, but finishes what was accepted, the kernel's queue included. Answer: `FrontIdle`.
    StopAccepting,
    /// The front drops everything at once.
    CloseNow,
    /// The front leaves new connections in the kernel's queue and finishes what it has. Answer: `FrontIdle`.
    PauseAccepting,
    /// The front takes new connections again.
    ResumeAccepting,
    /// Start the program anew, with the listening sockets. Answer: `SuccessorStarted` or `SuccessorFailed`.
    StartSuccessor,
    /// The new server serves, and this one leaves as soon as it has finished what it has: whoever asked for
    /// the upgrade may be told.
    Upgraded {
        /// The new server's process.
        successor: u32,
    },
    /// There is no new server, or it did not come to serve; this one goes on.
    UpgradeFailed {
        /// Why.
        message: String,
    },
    /// Tell the server whose place this one is to take that this one serves.
    TellPredecessor,
    /// This process is the server now: its pid file and title lose what told it from the old one.
    Promote,
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
    /// SIGUSR2: write the tracebacks of all threads.
    DumpTraceback,
    /// SIGABRT: run the abort handler and exit.
    Abort,
    /// SIGQUIT: exit at once.
    Quit,
    /// SIGKILL.
    Kill,
}

/// How grave a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// The normal course of things.
    Info,
    /// Something to look at some day.
    Warning,
    /// Something failed.
    Error,
    /// Somebody should get up.
    Critical,
}

/// One line (or a block, for a traceback) for the error log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How grave.
    pub level: Level,
    /// The process it is about, if not the supervisor's own.
    pub pid: Option<u32>,
    /// The text, without a line end.
    pub text: String,
    /// What the text says, for machines: shown where the log has fields (JSON).
    pub fields: Fields,
}
