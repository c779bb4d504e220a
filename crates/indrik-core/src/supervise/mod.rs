//! The supervisor as a pure state machine: what happens goes in, what to do comes out.
//!
//! The shell calls [`Supervisor::handle`] with everything that happens, performs every
//! [`Effect`] that [`Supervisor::poll_effect`] then yields, and calls again with [`Event::Tick`] at
//! [`Supervisor::poll_timeout`]. Performing an effect only ever produces a later event, so the
//! simulator in `tests/supervise_sim` replaces the whole operating system.
//!
//! This file holds the machine and the only `match` over events; `event` and `effect` are its types.
//! One concern lies in each of the other files: `worker` (states of one worker), `pool` (wanted and
//! had), `leave` (making a worker end), `exit` (ends that were seen), `reason` (why workers start and
//! end), `recycle` (workers whose time has come), `restart` (back-off), `refork` (a warm worker as the
//! zygote), `breaker` (workers that keep failing), `health` (how the server is),
//! `listen` (a zygote's way to its first worker), `reload` (zygotes), `candidate` (a new generation
//! takes over), `settle` (and is on trial), `warmup` (before a worker is ready),
//! `shutdown` (escalation), `signals` (what a signal means), `pause` (a server without workers),
//! `upgrade` (a new program beside the old one), `patience` (what a service manager waits for),
//! `operator` (what operators ask for and see), `limits`.

mod breaker;
mod candidate;
mod effect;
mod event;
mod exit;
mod health;
mod leave;
pub mod limits;
mod listen;
mod operator;
mod patience;
mod pause;
mod pool;
mod reason;
mod recycle;
mod refork;
mod reload;
mod restart;
mod settle;
mod shutdown;
mod signals;
mod upgrade;
mod warmup;
mod worker;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::ids::{Generation, WorkerId};
use breaker::Breaker;
use candidate::Candidate;
pub use candidate::{ReloadFailure, ReloadOutcome};
pub use effect::{Doing, Effect, FieldValue, Fields, KillSignal, Level, LogLine, Notice};
pub use event::{Event, ExitStatus, Failure, FailureKind, Policy, ReloadPolicy};
pub use health::{Health, HealthState};
pub use operator::{Census, FileChange, Totals, WorkerView};
use patience::Asked;
use pause::Pause;
pub use reason::{Accounts, EndReason, Exit, StartReason, Tally};
use recycle::Recycling;
use refork::Refork;
use reload::Zygote;
use restart::Restarts;
use settle::Settling;
use shutdown::Phase;
pub use signals::Signal;
use upgrade::Upgrade;
use worker::Worker;

/// Monotonic time since some moment the shell chose.
pub type Now = Duration;

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
    settling: Option<Settling>,
    last_reload: Option<ReloadOutcome>,
    /// A reload was asked for while one was under way.
    reload_again: bool,
    /// Changes of files that the generation in the making, or the one after it, will have read.
    changes_seen: BTreeSet<FileChange>,
    totals: Totals,
    accounts: Accounts,
    pause: Pause,
    upgrade: Upgrade,
    /// The service manager has been told that the server is ready.
    announced: bool,
    asked: Asked,
    last_generation: Generation,
    restarts: Restarts,
    refork: Refork,
    breaker: Breaker,
    /// How the last worker failed that had its place.
    last_failure: String,
    recycling: Recycling,
    exit_code: i32,
    /// The end has been logged.
    said_farewell: bool,
    /// When SIGTERM came first.
    first_term: Option<Now>,
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
            settling: None,
            last_reload: None,
            reload_again: false,
            changes_seen: BTreeSet::new(),
            totals: Totals::default(),
            accounts: Accounts::default(),
            pause: Pause::No,
            upgrade: Upgrade::None,
            announced: false,
            asked: Asked::default(),
            last_generation: Generation::FIRST,
            restarts: Restarts::default(),
            refork: Refork::default(),
            breaker: Breaker::default(),
            last_failure: String::new(),
            recycling: Recycling::default(),
            exit_code: 0,
            said_farewell: false,
            first_term: None,
            effects: VecDeque::new(),
        }
    }

    /// Takes in what happened at `now`. A clock that goes back is taken as standing still.
    pub fn handle(&mut self, event: Event, now: Now) {
        self.now = self.now.max(now);
        match event {
            Event::Start { successor } => self.start(successor),
            Event::Signal(signal) => self.signal_received(signal),
            Event::ConfigRead { generation, boot_max } => self.config_read(generation, boot_max),
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
            Event::WorkerWarm { worker } => self.worker_warm(worker),
            Event::WarmUpFailed { worker, failure } => self.warm_up_failed(worker, &failure),
            Event::InterfaceChanged { generation } => self.interface_changed(generation),
            Event::Answered { answers, errors } => self.answered(answers, errors),
            Event::WorkerBootFailed { worker, failure } => self.boot_failed(worker, &failure),
            Event::WorkerSentTerm { worker } => self.worker_sent_term(worker),
            Event::WorkerExited { worker, exit } => self.worker_exited(worker, exit),
            Event::WorkerDrained { worker } => self.worker_drained(worker),
            Event::WorkerUsedUp { worker } => self.recycle(worker, EndReason::MaxRequests),
            Event::WorkerShouldGo { worker, reason } => self.worker_should_go(worker, reason),
            Event::WorkerMemory { worker, excess } => self.memory_exceeded(worker, excess),
            Event::BootMeasured { worker, ran, waited } => self.boot_measured(worker, ran, waited),
            Event::RequestStuck { worker } | Event::HeartbeatStale { worker } => {
                self.stuck(worker, EndReason::Timeout);
            }
            Event::RequestHangs { worker } => self.request_hangs(worker),
            Event::Deadlocked { worker } => self.stuck(worker, EndReason::Deadlock),
            Event::ChannelBroken { worker } => self.channel_broken(worker),
            Event::WorkersServed { counts } => self.workers_served(&counts),
            Event::WorkerTurned { worker } => self.worker_turned(worker),
            Event::TurnRefused { worker, why } => self.turn_refused(worker, &why),
            Event::OldZygoteExited => self.old_zygote_exited(),
            Event::FrontIdle => self.front_idle(),
            Event::WantWorkers(wanted) => self.change_wanted(wanted),
            Event::ReplaceWorker { worker } => self.replace_worker(worker),
            Event::CodeChanged { worker, files } => self.code_changed(worker, files),
            Event::PreStopDone => self.pre_stop_done(),
            Event::Upgrade => self.upgrade(),
            Event::SuccessorReady => self.successor_ready(),
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
        self.expire_upgrade();
        self.judge_trial();
        self.expire_settling();
        self.expire_ages();
        self.advance_refork();
        self.reconcile();
        self.announce();
        self.retire_idle_zygotes();
        self.finish_if_empty();
        self.ask_for_time();
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
        let phases = [
            self.phase.deadline(),
            self.pause.deadline(),
            self.upgrade.deadline(),
            self.asked.next(),
            self.next_refill(),
            self.breaker_deadline(),
            self.settling.as_ref().map(Settling::deadline),
            self.next_recycling(),
            self.refork.deadline(),
        ];
        workers.chain(zygotes).chain(phases.into_iter().flatten()).min()
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
        let has_failed = |slot: u32| self.restarts.failures(slot) > 0 || self.breaker.is_open();
        let settled = (0..self.wanted).all(|slot| has_ready(slot) || has_failed(slot));
        if settled {
            self.announced = true;
            if self.upgrade == Upgrade::Successor {
                self.push(Effect::TellPredecessor);
            }
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
        self.log_with(level, None, text, Fields::new());
    }

    fn log_worker(&mut self, level: Level, pid: Option<u32>, text: impl Into<String>) {
        self.log_with(level, pid, text, Fields::new());
    }

    fn log_with(
        &mut self,
        level: Level,
        pid: Option<u32>,
        text: impl Into<String>,
        fields: Fields,
    ) {
        self.push(Effect::Log(LogLine { level, pid, text: text.into(), fields }));
    }
}
