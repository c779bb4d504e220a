//! The supervision loop's state.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::ids::{Generation, PoolId, WorkerId};
use indrik_core::memory::growth::Growth;
use indrik_core::settings::Launch;
use indrik_core::supervise::{Event, Failure, FailureKind, Supervisor, ZygoteEvent};
use parking_lot::Mutex;
use serde_json::Value as Json;

use super::admin::AdminPart;
use super::children::Children;
use super::confinement::Confinement;
use super::control::Control;
use super::generations::Generations;
use super::listeners::Listeners;
use super::logs::Logs;
use super::memory::Memory;
use super::neighbours::{Heritage, Neighbours};
use super::service::{Leaving, Service};
use super::sources::Sources;
use super::timers::{Timer, Timers};
use crate::alerts::{Tested, Watcher};
use crate::boot::{PidFile, ServiceManager};
use crate::front::Front;
use crate::log::Log;

/// There is one.
pub(crate) const POOL: PoolId = PoolId::FIRST;

/// Everything that the loop has.
pub(crate) struct Drive {
    pub(crate) launch: Launch,
    pub(crate) log: Arc<Log>,
    pub(crate) machine: Supervisor,
    pub(crate) events: Events,
    pub(crate) sources: Sources,
    pub(crate) timers: Timers,
    pub(crate) children: Children,
    pub(crate) generations: Generations,
    pub(crate) front: Option<Front>,
    pub(crate) service: Service,
    pub(crate) neighbours: Neighbours,
    pub(crate) outside: Outside,
    pub(crate) usage: Usage,
    pub(crate) logs: Logs,
    pub(crate) exit: Option<Ending>,
}

/// How a supervision loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The server has ended.
    Exit(i32),
    /// See [`Outcome::CheckOnly`](crate::drive::Outcome::CheckOnly).
    CheckOnly,
    /// It is to begin anew as a daemon: nothing has been opened yet.
    Detach {
        /// Output that goes to no terminal stays.
        keep_output: bool,
    },
}

/// The supervisor's clock, and what it has not been told yet.
pub(crate) struct Events {
    pub(crate) started: Instant,
    /// What performing effects has brought about.
    pub(crate) pending: VecDeque<Event>,
}

/// There are no more than the watcher takes.
pub(crate) type TestsDone = Arc<Mutex<Vec<(u64, Json, Result<Tested, String>)>>>;

/// What this server holds of the outside: addresses, files.
pub(crate) struct Outside {
    pub(crate) listeners: Listeners,
    pub(crate) pid_file: Option<PidFile>,
    /// Of a generation in the making, if its name changes.
    pub(crate) coming_pid_file: Option<PidFile>,
    pub(crate) control: Control,
    pub(crate) admin: AdminPart,
    /// Started when the settings ask for alerts for the first time.
    pub(crate) alerts: Option<Watcher>,
    /// Tests of their sinks that are over: who asked, what the request is called, what came of it.
    pub(crate) tested: TestsDone,
}

/// What workers may take of the machine, and what they do.
#[derive(Default)]
pub(crate) struct Usage {
    pub(crate) confinement: Confinement,
    pub(crate) memory: Memory,
    /// What the memory of workers grows with.
    pub(crate) growth: BTreeMap<WorkerId, Growth>,
}

impl Events {
    /// As the supervisor counts.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn push(&mut self, event: Event) {
        self.pending.push_back(event);
    }

    /// Says that a generation cannot begin.
    pub(crate) fn zygote_failed(
        &mut self,
        generation: Generation,
        kind: FailureKind,
        message: String,
        hint: &str,
    ) {
        let failure = Failure { kind, message, hint: hint.to_owned(), traceback: String::new() };
        self.push(Event::Zygote(generation, ZygoteEvent::Failed { failure }));
    }
}

impl Drive {
    pub(crate) fn new(
        launch: Launch,
        heritage: Arc<Heritage>,
        log: Arc<Log>,
        leaving: Option<Leaving>,
    ) -> io::Result<Self> {
        // The first title must be set while the process has one thread. Without /proc there is none.
        let _ = indrik_sys::title::set("indrik: master");
        indrik_sys::process::become_subreaper()?;
        let sources = Sources::open()?;
        let now = Instant::now();
        let admin = AdminPart::new(&sources.bell, now);
        let manager = ServiceManager::from_environment(heritage.partner_pid());
        let mut timers = Timers::default();
        timers.set(Timer::Watchdog, manager.watchdog().map(|pause| now + pause));
        Ok(Self {
            launch,
            log,
            machine: Supervisor::new(),
            events: Events { started: now, pending: VecDeque::new() },
            sources,
            timers,
            children: Children::default(),
            generations: Generations::default(),
            front: None,
            service: Service::new(manager, leaving),
            neighbours: Neighbours::new(heritage),
            outside: Outside {
                listeners: Listeners::default(),
                pid_file: None,
                coming_pid_file: None,
                control: Control::default(),
                admin,
                alerts: None,
                tested: TestsDone::default(),
            },
            usage: Usage::default(),
            logs: Logs::default(),
            exit: None,
        })
    }
}
