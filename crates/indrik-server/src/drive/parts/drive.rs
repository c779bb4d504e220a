//! The supervision loop's state.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::ids::{Generation, PoolId};
use indrik_core::settings::Launch;
use indrik_core::supervise::{Event, Failure, FailureKind, Supervisor, ZygoteEvent};

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
use crate::boot::{PidFile, ServiceManager};
use crate::front::Front;
use crate::log::Log;

/// There is one.
pub(in crate::drive) const POOL: PoolId = PoolId::FIRST;

/// Everything that the loop has.
pub(in crate::drive) struct Drive {
    pub(in crate::drive) launch: Launch,
    pub(in crate::drive) log: Arc<Log>,
    pub(in crate::drive) machine: Supervisor,
    pub(in crate::drive) events: Events,
    pub(in crate::drive) sources: Sources,
    pub(in crate::drive) timers: Timers,
    pub(in crate::drive) children: Children,
    pub(in crate::drive) generations: Generations,
    pub(in crate::drive) front: Option<Front>,
    pub(in crate::drive) service: Service,
    pub(in crate::drive) neighbours: Neighbours,
    pub(in crate::drive) outside: Outside,
    pub(in crate::drive) usage: Usage,
    pub(in crate::drive) logs: Logs,
    pub(in crate::drive) exit: Option<Ending>,
}

/// How a supervision loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::drive) enum Ending {
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
pub(in crate::drive) struct Events {
    pub(in crate::drive) started: Instant,
    /// What performing effects has brought about.
    pub(in crate::drive) pending: VecDeque<Event>,
}

/// What this server holds of the outside: addresses, files.
#[derive(Default)]
pub(in crate::drive) struct Outside {
    pub(in crate::drive) listeners: Listeners,
    pub(in crate::drive) pid_file: Option<PidFile>,
    /// Of a generation in the making, if its name changes.
    pub(in crate::drive) coming_pid_file: Option<PidFile>,
    pub(in crate::drive) control: Control,
}

/// What workers may take of the machine, and what they do.
#[derive(Default)]
pub(in crate::drive) struct Usage {
    pub(in crate::drive) confinement: Confinement,
    pub(in crate::drive) memory: Memory,
}

impl Events {
    /// As the supervisor counts.
    pub(in crate::drive) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    pub(in crate::drive) fn push(&mut self, event: Event) {
        self.pending.push_back(event);
    }

    /// Says that a generation cannot begin.
    pub(in crate::drive) fn zygote_failed(
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
    pub(in crate::drive) fn new(
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
            outside: Outside::default(),
            usage: Usage::default(),
            logs: Logs::default(),
            exit: None,
        })
    }
}
