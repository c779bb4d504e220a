//! The supervisor as a pure state machine: what happens goes in, what to do comes out.
//!
//! The shell calls [`Supervisor::handle`] with everything that happens, performs every
//! [`Effect`] that [`Supervisor::poll_effect`] then yields, and calls again with [`Event::Tick`] at
//! [`Supervisor::poll_timeout`]. Performing an effect only ever produces a later event, so the
//! simulator in `tests/supervise_sim` replaces the whole operating system.
//!
//! This file holds the types and the only `match` over events. One concern lies in each of the
//! other files: `worker` (states of one worker), `pool` (wanted and had), `restart` (back-off),
//! `listen` (a zygote's way to its first worker), `reload` (generations), `shutdown` (escalation),
//! `signals` (what a signal means), `pause` (a server without workers), `upgrade` (a new program
//! beside the old one), `operator` (what operators ask for and see), `limits`.

pub mod limits;
mod listen;
mod operator;
mod pause;
mod pool;
mod reload;
mod restart;
mod shutdown;
mod signals;
mod upgrade;
mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::ids::{Generation, WorkerId};
pub use operator::{Census, FileChange, Totals, WorkerView};
use pause::Pause;
use reload::{Candidate, Zygote};
use restart::Restarts;
use shutdown::Phase;
pub use signals::Signal;
use upgrade::Upgrade;
use worker::Worker;

/// Monotonic time since some moment the shell chose.
pub type Now = Duration;

/// The settings the supervisor decides by. They belong to a generation: a reload may change them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Workers wanted, at least 1.
    pub workers: u32,
    /// How long requests may go on after the end of their worker or of the server was decided.
    pub graceful_timeout: Duration,
    /// Nobody's terminal is attached, so WINCH is a command.
    pub daemon: bool,
    /// The last zygote has a hook to run before it leaves.
    pub exit_hook: bool,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            workers: 1,
            graceful_timeout: Duration::from_secs(30),
            daemon: false,
            exit_hook: false,
        }
    }
}

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
            Self::Boot | Self::Lifespan => 3,
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

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The server is to start. The first event, once.
    Start {
        /// It was started by a running server, to take its place (USR2).
        successor: bool,
    },
    /// The supervisor received a signal.
    Signal(Signal),
    /// The zygote has read its configuration, and the settings are valid.
    ConfigRead {
        /// Which.
        generation: Generation,
    },
    /// The addresses of the generation's settings are open.
    Listening {
        /// Which.
        generation: Generation,
    },
    /// An address of the generation's settings could not be opened.
    ListenFailed {
        /// Which.
        generation: Generation,
        /// Why.
        failure: Failure,
        /// Somebody else has it, who may be about to leave.
        in_use: bool,
    },
    /// The zygote has read its configuration, the sockets are bound, and it can fork workers.
    ZygoteReady {
        /// Which.
        generation: Generation,
        /// The settings of its configuration.
        policy: Policy,
    },
    /// The zygote could not get ready. It is told to leave.
    ZygoteFailed {
        /// Which.
        generation: Generation,
        /// Why.
        failure: Failure,
    },
    /// The zygote was told to leave and stays: threads that its hooks started still run.
    ZygoteStays {
        /// Which.
        generation: Generation,
    },
    /// The zygote's process ended.
    ZygoteExited {
        /// Which.
        generation: Generation,
    },
    /// The zygote made the worker.
    Forked {
        /// Which.
        worker: WorkerId,
        /// Its process.
        pid: u32,
    },
    /// The zygote could not make the worker.
    ForkFailed {
        /// Which.
        worker: WorkerId,
        /// The system's reason.
        message: String,
    },
    /// The zygote did not make the worker, because a hook raised.
    ForkRefused {
        /// Which.
        worker: WorkerId,
        /// What the hook raised.
        failure: Failure,
    },
    /// A hook wants another number of workers.
    WorkersWished {
        /// How many.
        workers: u32,
    },
    /// The worker has the application loaded and waits for requests.
    WorkerReady {
        /// Which.
        worker: WorkerId,
    },
    /// The worker could not load the application. Its exit follows.
    WorkerBootFailed {
        /// Which.
        worker: WorkerId,
        /// Why.
        failure: Failure,
    },
    /// The worker began to stop of its own accord (it was sent SIGTERM from outside).
    WorkerStopping {
        /// Which.
        worker: WorkerId,
    },
    /// The worker's process ended.
    WorkerExited {
        /// Which.
        worker: WorkerId,
        /// How.
        status: ExitStatus,
    },
    /// The front has nothing left in the worker.
    WorkerDrained {
        /// Which.
        worker: WorkerId,
    },
    /// The worker has served as many requests as one may.
    WorkerUsedUp {
        /// Which.
        worker: WorkerId,
    },
    /// A request in the worker has run longer than `timeout`.
    RequestStuck {
        /// Which.
        worker: WorkerId,
    },
    /// The worker's main thread has shown no life for longer than `timeout`.
    HeartbeatStale {
        /// Which.
        worker: WorkerId,
    },
    /// The worker wrote what cannot be into its channel.
    ChannelBroken {
        /// Which.
        worker: WorkerId,
    },
    /// No request and no connection is left in the front.
    FrontIdle,
    /// An operator wants this many workers.
    WantWorkers(u32),
    /// An operator wants another worker in the place of this one.
    ReplaceWorker {
        /// Which.
        worker: WorkerId,
    },
    /// Files that the worker runs were changed.
    CodeChanged {
        /// Which.
        worker: WorkerId,
        /// What.
        files: Vec<FileChange>,
    },
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
    /// The process that was to take this one's place ended.
    SuccessorExited {
        /// How.
        status: ExitStatus,
    },
    /// The server whose place this one was started to take has ended.
    PredecessorExited,
    /// The time [`Supervisor::poll_timeout`] named has come.
    Tick,
}

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
    },
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
    /// This process is the server now: its pid file and title lose what told it from the old one.
    Promote,
    /// Tell the service manager.
    Notify(Notice),
    /// Reopen the log files.
    ReopenLogs,
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
    /// The end has begun.
    Stopping,
    /// The end of this process has begun, and another one is the server.
    HandedOver {
        /// Its process.
        to: u32,
    },
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
}

/// The machine. See the module's text.
#[derive(Debug)]
pub struct Supervisor {
    now: Now,
    phase: Phase,
    policy: Policy,
    /// Workers wanted: the policy's number, changed by TTIN and TTOU.
    wanted: u32,
    /// A worker has been ready at some time: from then on no boot failure ends the server.
    ever_ready: bool,
    /// Workers ended by a signal before any was ready.
    start_crashes: u32,
    workers: BTreeMap<WorkerId, Worker>,
    next_worker: u64,
    zygotes: BTreeMap<Generation, Zygote>,
    current: Generation,
    candidate: Option<Candidate>,
    /// A reload was asked for while one was under way.
    reload_again: bool,
    /// Changes of files that the generation in the making, or the one after it, will have read.
    changes_seen: BTreeSet<FileChange>,
    totals: Totals,
    pause: Pause,
    upgrade: Upgrade,
    /// The service manager has been told that the server is ready.
    announced: bool,
    last_generation: Generation,
    restarts: Restarts,
    exit_code: i32,
    /// The end has been logged.
    said_farewell: bool,
    effects: VecDeque<Effect>,
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor that has not begun; the first event is [`Event::Start`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            now: Now::ZERO,
            phase: Phase::Starting,
            policy: Policy::default(),
            wanted: 1,
            ever_ready: false,
            start_crashes: 0,
            workers: BTreeMap::new(),
            next_worker: 1,
            zygotes: BTreeMap::new(),
            current: Generation::FIRST,
            candidate: None,
            reload_again: false,
            changes_seen: BTreeSet::new(),
            totals: Totals::default(),
            pause: Pause::No,
            upgrade: Upgrade::None,
            announced: false,
            last_generation: Generation::FIRST,
            restarts: Restarts::default(),
            exit_code: 0,
            said_farewell: false,
            effects: VecDeque::new(),
        }
    }

    /// Takes in what happened at `now`. A clock that goes back is taken as standing still.
    pub fn handle(&mut self, event: Event, now: Now) {
        self.now = self.now.max(now);
        match event {
            Event::Start { successor } => self.start(successor),
            Event::Signal(signal) => self.signal_received(signal),
            Event::ConfigRead { generation } => self.config_read(generation),
            Event::Listening { generation } => self.listening(generation),
            Event::ListenFailed { generation, failure, in_use } => {
                self.listen_failed(generation, &failure, in_use);
            }
            Event::ZygoteReady { generation, policy } => self.zygote_ready(generation, policy),
            Event::ZygoteFailed { generation, failure } => self.zygote_failed(generation, &failure),
            Event::ZygoteStays { generation } => self.zygote_stays(generation),
            Event::ZygoteExited { generation } => self.zygote_exited(generation),
            Event::Forked { worker, pid } => self.forked(worker, pid),
            Event::ForkFailed { worker, message } => self.fork_failed(worker, &message),
            Event::ForkRefused { worker, failure } => self.fork_refused(worker, &failure),
            Event::WorkersWished { workers } => self.set_wanted(workers),
            Event::WorkerReady { worker } => self.worker_ready(worker),
            Event::WorkerBootFailed { worker, failure } => self.boot_failed(worker, &failure),
            Event::WorkerStopping { worker } => self.worker_stopping(worker),
            Event::WorkerExited { worker, status } => self.worker_exited(worker, status),
            Event::WorkerDrained { worker } => self.worker_drained(worker),
            Event::WorkerUsedUp { worker } => self.worker_used_up(worker),
            Event::RequestStuck { worker } | Event::HeartbeatStale { worker } => {
                self.worker_stuck(worker);
            }
            Event::ChannelBroken { worker } => self.channel_broken(worker),
            Event::FrontIdle => self.front_idle(),
            Event::WantWorkers(wanted) => self.change_wanted(wanted),
            Event::ReplaceWorker { worker } => self.replace_worker(worker),
            Event::CodeChanged { worker, files } => self.code_changed(worker, files),
            Event::SuccessorStarted { pid } => self.successor_started(pid),
            Event::SuccessorFailed { message } => self.successor_failed(&message),
            Event::SuccessorExited { status } => self.successor_exited(status),
            Event::PredecessorExited => self.predecessor_exited(),
            Event::Tick => {}
        }
        self.expire_workers();
        self.expire_zygotes();
        self.expire_phase();
        self.expire_pause();
        self.reconcile();
        self.announce();
        self.retire_idle_zygotes();
        self.finish_if_empty();
    }

    /// The next thing to do. Call until `None` after each [`Supervisor::handle`].
    #[must_use = "an effect must be performed"]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Event::Tick`] is due at the latest. May change with each `handle`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Now> {
        let workers = self.workers.values().filter_map(Worker::deadline);
        let zygotes = self.zygotes.values().filter_map(Zygote::deadline);
        let phases = self.phase.deadline().into_iter().chain(self.pause.deadline());
        workers.chain(zygotes).chain(phases).chain(self.next_refill()).min()
    }

    fn start(&mut self, successor: bool) {
        if successor {
            self.upgrade = Upgrade::Successor;
        }
        self.spawn_zygote(Generation::FIRST);
    }

    /// Says once that the server is ready: every place has a worker that takes requests, or one that
    /// has failed and is waited for no longer.
    fn announce(&mut self) {
        if self.announced || self.phase != Phase::Serving {
            return;
        }
        let has_ready = |slot: u32| {
            let is = |worker: &Worker| worker.slot == slot && worker.is_ready();
            self.workers.values().any(is)
        };
        let settled =
            (0..self.wanted).all(|slot| has_ready(slot) || self.restarts.failures(slot) > 0);
        if settled {
            self.announced = true;
            self.notify_ready();
        }
    }

    /// Says, again, that the server serves.
    fn notify_ready(&mut self) {
        let workers = self.census().ready;
        self.notify(Notice::Ready { workers });
    }

    /// While another process is the service's main one, it speaks.
    fn notify(&mut self, notice: Notice) {
        if self.upgrade != Upgrade::Successor {
            self.push(Effect::Notify(notice));
        }
    }

    fn push(&mut self, effect: Effect) {
        self.count(&effect);
        self.effects.push_back(effect);
    }

    fn log(&mut self, level: Level, text: impl Into<String>) {
        self.push(Effect::Log(LogLine { level, pid: None, text: text.into() }));
    }

    fn log_worker(&mut self, level: Level, pid: Option<u32>, text: impl Into<String>) {
        self.push(Effect::Log(LogLine { level, pid, text: text.into() }));
    }
}
