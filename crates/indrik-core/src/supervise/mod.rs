//! The supervisor as a pure state machine: what happens goes in, what to do comes out.
//!
//! The shell calls [`Supervisor::handle`] with everything that happens, performs every
//! [`Effect`] that [`Supervisor::poll_effect`] then yields, and calls again with [`Event::Tick`] at
//! [`Supervisor::poll_timeout`]. Performing an effect only ever produces a later event, so the
//! simulator in `tests/supervise_sim` replaces the whole operating system.
//!
//! This file holds the machine: events come in families, and each family's part of it is read on its
//! own. `zygote` (zygotes and their ends), `listen` (a zygote's way to its first worker); `worker`
//! (states of one worker), `life` (what happens to it), `leave` (making one end), `exit` (ends that were
//! seen), `liveness` (whether it lives), `warmup` (before it is ready); `pool` (wanted and had), `serving` (what belongs to the
//! generation that serves), `candidate` (a new one takes over), `settle` (and is on trial), `recycle`
//! (workers whose time has come), `refork` (a warm worker as the zygote), `breaker` (workers that keep
//! failing); `operator` (what operators ask for and see), `signals` (what a signal means), `health` (how
//! the server is); `upgrade` (a new program beside the old one); `shutdown` (escalation), `pause` (a
//! server without workers), `patience` (what a service manager waits for).
//! `ladder` and `restart` serve every child: how one is made to end, and when it is started again.
//! `policy` is made of settings, `reason` says why workers start and end, `event` and `effect` are the machine's types, `limits` its
//! limits.

mod breaker;
mod candidate;
mod effect;
mod event;
mod exit;
mod health;
mod ladder;
mod leave;
mod life;
pub mod limits;
mod listen;
mod liveness;
mod operator;
mod patience;
mod pause;
pub mod policy;
mod pool;
mod reason;
mod recycle;
mod refork;
mod restart;
mod serving;
mod settle;
mod shutdown;
mod signals;
mod upgrade;
mod warmup;
mod worker;
mod zygote;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::ids::{Generation, PoolId, WorkerId};
pub use crate::logs::entry::{FieldValue, Fields};
pub use crate::logs::level::Level;
use candidate::Candidate;
pub use candidate::{ReloadFailure, ReloadOutcome};
pub use effect::{
    Doing, Effect, FrontEffect, KillSignal, LogLine, Notice, PoolEffect, UpgradeEffect,
    WorkerEffect, ZygoteEffect,
};
pub use event::{
    Event, ExitStatus, Failure, FailureKind, OperatorEvent, Policy, PoolEvent, ReloadPolicy,
    UpgradeEvent, WorkerEvent, ZygoteEvent,
};
pub use health::{Health, HealthState};
pub use liveness::{LifeLimits, Sign};
pub use operator::{Census, FileChange, Totals, WorkerView};
use patience::Asked;
use pause::Pause;
pub use policy::Facts;
pub use reason::{Accounts, EndReason, Exit, StartReason, Tally};
use serving::Serving;
use settle::Settling;
use shutdown::Phase;
pub use signals::Signal;
use upgrade::Upgrade;
use worker::Worker;
use zygote::Zygote;

/// Monotonic time since some moment the shell chose.
pub type Now = Duration;

/// The machine. See the module's text.
#[derive(Debug)]
pub struct Supervisor {
    now: Now,
    server: Server,
    pool: Pool,
    effects: VecDeque<Effect>,
}

/// What there is once, however many pools there are.
#[derive(Debug)]
struct Server {
    phase: Phase,
    pause: Pause,
    upgrade: Upgrade,
    /// The service manager has been told that the server is ready.
    announced: bool,
    asked: Asked,
    exit_code: i32,
    /// The end has been logged.
    said_farewell: bool,
    /// When SIGTERM came first.
    first_term: Option<Now>,
    next_worker: u64,
    last_generation: Generation,
}

/// A pool: its processes, and the generations that come and go.
#[derive(Debug)]
struct Pool {
    id: PoolId,
    serving: Serving,
    candidate: Option<Candidate>,
    settling: Option<Settling>,
    workers: BTreeMap<WorkerId, Worker>,
    zygotes: BTreeMap<Generation, Zygote>,
    /// A zygote that a refork has replaced was told to leave, and has until then.
    old_zygote_until: Option<Now>,
    /// A worker has been ready at some time: from then on no boot failure ends the server.
    ever_ready: bool,
    /// A worker has finished a request, or lived for long.
    ever_of_use: bool,
    /// Workers ended by a signal before any was ready.
    start_crashes: u32,
    /// When signs of life were read last.
    signs_at: Option<Now>,
    reloads: Reloads,
    totals: Totals,
    accounts: Accounts,
}

/// What is remembered of reloads.
#[derive(Debug, Default)]
struct Reloads {
    last: Option<ReloadOutcome>,
    /// One was asked for while one was under way.
    again: bool,
    /// Changes of files that the generation in the making, or the one after it, will have read.
    changes_seen: BTreeSet<FileChange>,
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
        let server = Server {
            phase: Phase::Starting,
            pause: Pause::No,
            upgrade: Upgrade::None,
            announced: false,
            asked: Asked::default(),
            exit_code: 0,
            said_farewell: false,
            first_term: None,
            next_worker: 1,
            last_generation: Generation::FIRST,
        };
        let pool = Pool {
            id: PoolId::FIRST,
            serving: Serving::new(Generation::FIRST, Policy::default()),
            candidate: None,
            settling: None,
            workers: BTreeMap::new(),
            zygotes: BTreeMap::new(),
            old_zygote_until: None,
            ever_ready: false,
            ever_of_use: false,
            start_crashes: 0,
            signs_at: None,
            reloads: Reloads::default(),
            totals: Totals::default(),
            accounts: Accounts::default(),
        };
        Self { now: Now::ZERO, server, pool, effects: VecDeque::new() }
    }

    /// Takes in what happened at `now`. A clock that goes back is taken as standing still.
    pub fn handle(&mut self, event: Event, now: Now) {
        self.now = self.now.max(now);
        self.look_whether_of_use();
        match event {
            Event::Start { successor } => self.start(successor),
            Event::Zygote(generation, event) => self.zygote_event(generation, event),
            Event::Worker(worker, event) => self.worker_event(worker, event),
            Event::Pool(pool, event) if pool == self.pool.id => self.pool_event(event),
            // One that is not there (any more).
            Event::Pool(..) => {}
            Event::Operator(event) => self.operator_event(event),
            Event::Upgrade(event) => self.upgrade_event(event),
            Event::FrontIdle => self.front_idle(),
            Event::PreStopDone => self.pre_stop_done(),
            Event::Tick => {}
        }
        self.go_on();
    }

    /// What follows from the state alone, in this order.
    fn go_on(&mut self) {
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
        let workers = self.pool.workers.values().filter_map(Worker::deadline);
        let zygotes = self.pool.zygotes.values().filter_map(Zygote::deadline);
        let phases = [
            self.server.phase.deadline(),
            self.server.pause.deadline(),
            self.server.upgrade.deadline(),
            self.server.asked.next(),
            self.next_refill(),
            self.breaker_deadline(),
            self.pool.settling.as_ref().map(Settling::deadline),
            self.next_recycling(),
            self.pool.old_zygote_until,
        ];
        workers.chain(zygotes).chain(phases.into_iter().flatten()).min()
    }

    fn start(&mut self, successor: bool) {
        if successor {
            self.server.upgrade = Upgrade::Successor;
        }
        self.spawn_zygote(Generation::FIRST);
    }

    /// Says once that the server is ready: every place has a worker that takes requests, or one that
    /// has failed and is waited for no longer.
    fn announce(&mut self) {
        if self.server.announced || self.server.phase != Phase::Serving {
            return;
        }
        let has_ready = |slot: u32| {
            let is = |worker: &Worker| worker.slot == slot && worker.is_ready();
            self.pool.workers.values().any(is)
        };
        let has_failed = |slot: u32| {
            self.pool.serving.restarts.failures(slot) > 0 || self.pool.serving.breaker.is_open()
        };
        let settled = (0..self.pool.serving.wanted).all(|slot| has_ready(slot) || has_failed(slot));
        if settled {
            self.server.announced = true;
            if self.server.upgrade == Upgrade::Successor {
                self.push(Effect::Upgrade(UpgradeEffect::TellPredecessor));
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
        if self.server.upgrade != Upgrade::Successor {
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
