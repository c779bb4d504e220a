//! What goes in: everything the supervisor can hear of, and the settings it decides by.

use std::collections::BTreeMap;
use std::time::Duration;

use super::policy::Policy;
use super::reason::{EndReason, Exit, ExitStatus};
use super::state::ailments::Ailment;
use super::state::liveness::Sign;
use crate::ids::{Generation, PoolId, WorkerId};
use crate::memory::watch::Excess;

/// Why a zygote or a worker did not get ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// The configuration is wrong.
    Config,
    /// An address could not be bound.
    Bind,
    /// The application was not found: no such module or attribute, or not callable.
    Import,
    /// The application is neither WSGI nor ASGI, or not what the worker class needs.
    Interface,
    /// An exception while booting.
    Boot,
    /// The application's lifespan startup failed.
    Lifespan,
    /// A request of the warm-up was not answered well.
    WarmUp,
    /// A hook of the configuration raised before the server was ready.
    Hook,
    /// The hook `pre_fork` raised.
    ForkHook,
    /// A hook called `sys.exit` with this code.
    Exit(i32),
}

impl FailureKind {
    /// The exit code of a server that could not start for this reason: Gunicorn's codes.
    #[must_use]
    pub const fn exit_code(self) -> i32 {
        match self {
            Self::Config | Self::Bind | Self::Hook => 1,
            Self::Boot | Self::Lifespan | Self::WarmUp => 3,
            Self::Import | Self::Interface => 4,
            Self::ForkHook => 255,
            Self::Exit(code) => code,
        }
    }
}

/// A failure to get ready, with what to tell the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: FailureKind,
    /// What failed and where, one line.
    pub message: String,
    /// What to do about it, one line, or empty.
    pub hint: String,
    /// Python's traceback, or empty.
    pub traceback: String,
}

impl Failure {
    /// One block for the log: what failed, what to do, and the traceback.
    #[must_use]
    pub fn told(&self, what: &str) -> String {
        let mut text = format!("{what}: {}", self.message);
        if !self.hint.is_empty() {
            text.push_str("\n  hint: ");
            text.push_str(&self.hint);
        }
        if !self.traceback.is_empty() {
            text.push('\n');
            text.push_str(self.traceback.trim_end());
        }
        text
    }
}

/// What happened, by whom it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server is to start. The first event, once.
    Start {
        /// It was started by a running server, to take its place (USR2).
        successor: bool,
    },
    /// About the zygote of a generation.
    Zygote(Generation, ZygoteEvent),
    /// About a worker.
    Worker(WorkerId, WorkerEvent),
    /// About a pool as a whole.
    Pool(PoolId, PoolEvent),
    /// Somebody outside wants something.
    Operator(OperatorEvent),
    /// About the other server of an upgrade.
    Upgrade(UpgradeEvent),
    /// The front could not be started with what the first generation has open: nobody would be served.
    FrontFailed {
        /// Why.
        failure: Failure,
    },
    /// No request and no connection is left in the front.
    FrontIdle,
    /// The hook `pre_stop` is done, or cannot be run.
    PreStopDone,
    /// The time [`Supervisor::poll_timeout`](super::Supervisor::poll_timeout) named has come.
    Tick,
}

/// What happened to a zygote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZygoteEvent {
    /// Its interpreter runs, and nothing of the user's yet.
    Here,
    /// It calls a hook, or that has returned.
    InHook {
        /// The hook's name.
        hook: Option<&'static str>,
    },
    /// It has read its configuration, and the settings are valid.
    ConfigRead {
        /// How long it and each of its workers may boot.
        boot_max: Duration,
    },
    /// The addresses of the generation's settings are open.
    Listening {
        /// Sockets among them were handed over by somebody who has them too: what waits in those is not lost when
        /// this server fails.
        handed: bool,
    },
    /// An address of the generation's settings could not be opened.
    ListenFailed {
        /// Why.
        failure: Failure,
        /// Somebody else has it, who may be about to leave.
        in_use: bool,
    },
    /// It has read its configuration, the sockets are bound, and it can fork workers.
    Ready {
        /// The settings of its configuration.
        policy: Policy,
    },
    /// It could not get ready. It is told to leave.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It was told to leave and stays: threads that its hooks started still run.
    Stays,
    /// Its process ended.
    Exited,
}

/// What happened to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerEvent {
    /// The zygote made it.
    Forked {
        /// Its process.
        pid: u32,
    },
    /// The zygote could not make it.
    ForkFailed {
        /// The system's reason.
        message: String,
    },
    /// The zygote did not make it, because a hook raised.
    ForkRefused {
        /// What the hook raised.
        failure: Failure,
    },
    /// It calls a hook on its way to being ready, or that has returned.
    InHook {
        /// The hook's name.
        hook: Option<&'static str>,
    },
    /// It has the application loaded and waits for requests.
    Ready,
    /// It could not load the application. Its exit follows.
    BootFailed {
        /// Why.
        failure: Failure,
    },
    /// It could not load the application, and becomes ready to answer every request with why (`reload`).
    ShowsWhy {
        /// Why, one line.
        why: String,
    },
    /// What it cost to start it. It is ready now.
    BootMeasured {
        /// How long it ran.
        ran: Duration,
        /// How long it waited for a processor.
        waited: Duration,
    },
    /// It has answered its warm-up well.
    Warm,
    /// It has not, or not in time.
    WarmUpFailed {
        /// What went wrong.
        failure: Failure,
    },
    /// It was sent SIGTERM, by somebody else; it serves on until it is told to leave.
    SentTerm,
    /// The front has nothing left in it.
    Drained,
    /// It has served as many requests as one may.
    UsedUp,
    /// It was measured, and is too old or too big.
    ShouldGo {
        /// Why; it goes after its successor is ready, and at once if that cannot wait.
        reason: EndReason,
    },
    /// It uses more memory than a limit.
    Memory {
        /// How much, and what follows.
        excess: Excess,
    },
    /// A request in it has run longer than it may, and nothing else goes on there.
    RequestStuck,
    /// A request in it has run longer than it may, while others go on there.
    RequestHangs,
    /// It wrote what cannot be into its channel.
    ChannelBroken,
    /// It has closed the descriptors that it lives by.
    DescriptorsLost,
    /// It has ended its loop and can fork others: it waits to be the zygote.
    Promoted,
    /// It cannot become a zygote. Its exit follows.
    PromotionRefused {
        /// Why, in a few words.
        why: String,
    },
    /// Files that it runs were changed.
    CodeChanged {
        /// The files, and how each was changed.
        files: Vec<FileChange>,
    },
    /// Its process ended.
    Exited {
        /// With what, as far as is known.
        exit: Exit,
    },
}

/// What happened to a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolEvent {
    /// A hook wants another number of workers.
    WorkersWished {
        /// Workers wanted from now on.
        workers: u32,
    },
    /// The application of this generation is of another interface than that which serves. Said
    /// before its first worker is ready.
    InterfaceChanged {
        /// The generation whose application it is.
        generation: Generation,
    },
    /// What the generation on trial has answered since
    /// [`PoolEffect::WatchAnswers`](super::PoolEffect::WatchAnswers).
    Answered {
        /// All answers, and requests that got none.
        answers: u64,
        /// Those that say that the application failed.
        errors: u64,
    },
    /// What workers have served since they were added to the front; told from time to time where a
    /// policy wants to refork.
    Served {
        /// Requests by worker.
        counts: BTreeMap<WorkerId, u64>,
    },
    /// The signs of life of all workers that the front knows, at
    /// [`Supervisor::signs_due`](super::Supervisor::signs_due).
    Signs {
        /// By worker.
        signs: BTreeMap<WorkerId, Sign>,
    },
    /// The front refuses requests, and for want of what; `None`: not any more.
    Overloaded {
        /// What is used up.
        lacks: Option<&'static str>,
    },
    /// Something failed, and requests are served on.
    Ails {
        /// Of which kind that is.
        ailment: Ailment,
        /// What is wrong and where, one line.
        why: String,
    },
    /// The process of a zygote that a refork has replaced ended.
    OldZygoteExited,
}

/// What somebody outside wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OperatorEvent {
    /// The supervisor received a signal.
    Signal(Signal),
    /// So many workers are wanted.
    WantWorkers(u32),
    /// The same, until the settings name another number than now.
    Scale(u32),
    /// Another worker is wanted in the place of this one.
    ReplaceWorker {
        /// The worker that is to go.
        worker: WorkerId,
    },
    /// The same when it is its turn: one after the other, successor first.
    RecycleWorker {
        /// The worker that is to go.
        worker: WorkerId,
    },
    /// It does not answer: it is ended at once, and another one started.
    RestartWorker {
        /// The worker that is to go.
        worker: WorkerId,
    },
    /// Requests that come are to wait.
    HoldRequests {
        /// For so long at most.
        most: Duration,
    },
    /// They are to be served again.
    ResumeRequests,
    /// The front is to answer requests itself, or no longer.
    Maintain(bool),
}

/// What happened to the other server of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeEvent {
    /// A new server is to take this one's place as soon as it is ready.
    Wanted,
    /// The hook `pre_exec` is done, or there is none.
    PreExecDone,
    /// The process that ran the hook `pre_exec` has ended before that was done.
    PreExecLost,
    /// The process that is to take this one's place runs.
    SuccessorStarted {
        /// Its process.
        pid: u32,
    },
    /// The process that was to take this one's place could not be started.
    SuccessorFailed {
        /// The system's reason.
        message: String,
    },
    /// The process that is to take this one's place gives a sign of life.
    SuccessorLives,
    /// The process that is to take this one's place says that it serves.
    SuccessorReady,
    /// The process that was to take this one's place ended.
    SuccessorExited {
        /// With what, as far as is known.
        status: ExitStatus,
    },
    /// The server whose place this one was started to take has ended.
    PredecessorExited,
}

/// A signal the supervisor listens to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Reload: a new generation.
    Hup,
    /// Quick shutdown.
    Int,
    /// Quick shutdown.
    Quit,
    /// Graceful shutdown; the second one is quick.
    Term,
    /// One worker more.
    Ttin,
    /// One worker less.
    Ttou,
    /// Reopen the log files.
    Usr1,
    /// Start the program anew beside this one, with the same sockets.
    Usr2,
    /// Stop the workers of a daemon.
    Winch,
}

impl Signal {
    /// The lower-case name Gunicorn logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hup => "hup",
            Self::Int => "int",
            Self::Quit => "quit",
            Self::Term => "term",
            Self::Ttin => "ttin",
            Self::Ttou => "ttou",
            Self::Usr1 => "usr1",
            Self::Usr2 => "usr2",
            Self::Winch => "winch",
        }
    }
}

/// A file that was changed, and in which way: the same change reported twice is equal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileChange {
    /// Its path, as the application knows it.
    pub path: String,
    /// Its times and sizes in any form that differs when the file does.
    pub stamp: String,
}
