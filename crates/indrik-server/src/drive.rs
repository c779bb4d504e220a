//! The supervision loop: turns what happens into events for the supervisor (`indrik-core`), and
//! performs the effects it answers with.
//!
//! [`Drive::serve`] is the whole of it. It runs on the main thread, sleeps in one `poll`, and never
//! waits for anything else. `sources` is what it listens to, `timers` what it does at a certain time,
//! `children` the processes with their roles and ends, `generations` what was read of each
//! configuration. `effects` does what the supervisor decides, `zygotes` and `workers` talk to the
//! processes, `hooks` tells zygotes what hooks want to know, `open` takes a configuration into use,
//! `confine` what workers may take, `reload` changes generations, `refork` makes a zygote of a worker,
//! `logs` its logs, `listeners` holds the sockets, `upgrade` starts a successor, `service` talks to the
//! service manager and to the terminal a daemon leaves, `control` answers operators, `memory` looks at
//! what workers use, `stacks` at what stuck ones were doing, `banner` greets.

mod banner;
mod children;
mod confine;
mod control;
mod effects;
mod generations;
mod hooks;
mod listeners;
mod logs;
mod memory;
mod open;
mod refork;
mod reload;
mod service;
mod sources;
mod stacks;
mod timers;
mod upgrade;
mod workers;
mod zygotes;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::ids::{PoolId, WorkerId};
use indrik_core::settings::Launch;
use indrik_core::supervise::{Event, Exit, Level, Supervisor, WorkerEvent};
use indrik_sys::daemon::Detached;
use indrik_sys::process::End;

use crate::boot::{PidFile, ServiceManager, word};
use crate::front::{Front, FrontEvent};
use crate::log::Log;
use children::{Children, status_of};
use confine::Confinement;
use generations::Generations;
use listeners::Listeners;
use logs::Logs;
use service::{Leaving, Service};
use sources::Sources;
use timers::{Timer, Timers};
use upgrade::{Heritage, Neighbours};

/// There is one.
const POOL: PoolId = PoolId::FIRST;

/// Runs the server as `launch` asks, until a signal ends it.
///
/// To be called on the process's main thread, before it has other threads: signals are blocked for
/// those that are started from here, and children die with the thread that starts them.
#[must_use]
pub fn run(launch: Launch) -> Outcome {
    let log = Arc::new(Log::new());
    let heritage = Arc::new(Heritage::gather());
    match serve(launch.clone(), &heritage, &log, None) {
        Ending::Exit(code) => Outcome::Exit(code),
        Ending::CheckOnly => Outcome::CheckOnly,
        Ending::Detach { keep_output } => {
            Outcome::Exit(detach(launch, &heritage, &log, keep_output))
        }
    }
}

/// How [`run`] ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The process's exit code.
    Exit(i32),
    /// Nothing was served: the configuration file asks for `check_config` or `print_config`.
    CheckOnly,
}

/// How a supervision loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// The server has ended.
    Exit(i32),
    /// See [`Outcome::CheckOnly`].
    CheckOnly,
    /// It is to begin anew as a daemon: nothing has been opened yet.
    Detach {
        /// Output that goes to no terminal stays.
        keep_output: bool,
    },
}

fn serve(
    launch: Launch,
    heritage: &Arc<Heritage>,
    log: &Arc<Log>,
    leaving: Option<Leaving>,
) -> Ending {
    match Drive::new(launch, Arc::clone(heritage), Arc::clone(log), leaving) {
        Ok(mut drive) => drive.serve(),
        Err(error) => {
            let text = format!("Cannot start: {error}");
            word::say_wrong(&text);
            log.write(Level::Critical, &text);
            Ending::Exit(1)
        }
    }
}

/// Goes on as a daemon; the process in the foreground waits until it serves, or has failed.
fn detach(launch: Launch, heritage: &Arc<Heritage>, log: &Arc<Log>, keep_output: bool) -> i32 {
    match indrik_sys::daemon::detach() {
        Ok(Detached::Foreground(Some(code))) => code,
        Ok(Detached::Foreground(None)) => {
            log.error("The daemon died while it was starting; its error log may say why");
            1
        }
        Ok(Detached::Daemon(word)) => {
            match serve(launch, heritage, log, Some(Leaving { word, keep_output })) {
                Ending::Exit(code) => indrik_sys::daemon::leave(code),
                Ending::CheckOnly | Ending::Detach { .. } => indrik_sys::daemon::leave(1),
            }
        }
        Err(error) => {
            log.write(Level::Critical, &format!("Cannot become a daemon: {error}"));
            1
        }
    }
}

struct Drive {
    launch: Launch,
    log: Arc<Log>,
    machine: Supervisor,
    events: Events,
    sources: Sources,
    timers: Timers,
    children: Children,
    generations: Generations,
    front: Option<Front>,
    service: Service,
    neighbours: Neighbours,
    places: Places,
    usage: Usage,
    logs: Logs,
    exit: Option<Ending>,
}

/// The supervisor's clock, and what it has not been told yet.
struct Events {
    started: Instant,
    /// What performing effects has brought about.
    pending: VecDeque<Event>,
}

/// What this server holds of the outside: addresses, files.
#[derive(Default)]
struct Places {
    listeners: Listeners,
    pid_file: Option<PidFile>,
    /// Of a generation in the making, if its name changes.
    coming_pid_file: Option<PidFile>,
    control: control::Control,
}

/// What workers may take of the machine, and what they do.
#[derive(Default)]
struct Usage {
    confinement: Confinement,
    memory: memory::Memory,
}

impl Events {
    /// As the supervisor counts.
    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn push(&mut self, event: Event) {
        self.pending.push_back(event);
    }
}

impl Drive {
    fn new(
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
            places: Places::default(),
            usage: Usage::default(),
            logs: Logs::default(),
            exit: None,
        })
    }

    /// The loop: wait, turn what happened into events, perform what the supervisor answers.
    fn serve(&mut self) -> Ending {
        self.begin();
        loop {
            self.count_workers();
            self.pass_entries_on();
            if let Some(ending) = self.exit {
                self.log.close();
                if let (Ending::Exit(code), Some(leaving)) = (ending, self.service.leaving.take()) {
                    leaving.word.give(code);
                }
                return ending;
            }
            match self.wait() {
                Ok(spoke) => spoke.into_iter().for_each(|source| self.hear(source)),
                Err(error) => {
                    self.log
                        .write(Level::Critical, &format!("The supervision loop failed: {error}"));
                    self.log.close();
                    return Ending::Exit(255);
                }
            }
            self.reap_orphans();
            for timer in self.timers.take_due(Instant::now()) {
                self.do_what_is_due(timer);
            }
        }
    }

    /// Sets the timers whose time others decide. The rest are set where they are taken.
    fn set_timers(&mut self) {
        let machine = self.machine.poll_timeout().map(|at| self.events.started + at);
        let dues = [
            (Timer::Supervisor, machine),
            (Timer::Control, self.places.control.server.deadline()),
            (Timer::Life, self.signs_due()),
            (Timer::Usage, self.memory_due()),
            (Timer::Stacks, self.stacks_due()),
        ];
        for (timer, due) in dues {
            self.timers.set(timer, due);
        }
    }

    fn do_what_is_due(&mut self, timer: Timer) {
        match timer {
            Timer::Control => self.places.control.server.expire(Instant::now()),
            Timer::Life => self.read_signs(),
            Timer::Usage => self.watch_memory(),
            Timer::Stacks => self.write_stacks(Instant::now()),
            Timer::Requests => self.count_requests(),
            Timer::Watchdog => self.show_life(),
            Timer::Backlog => self.measure_backlog(),
            Timer::Supervisor => {
                self.look_at_answers();
                if self.machine.poll_timeout().is_some_and(|at| at <= self.events.now()) {
                    self.feed(Event::Tick);
                }
            }
        }
    }

    /// Hands an event to the supervisor and performs everything that follows from it.
    fn feed(&mut self, event: Event) {
        self.events.push(event);
        self.settle();
    }

    /// Hands on the events that performing something has left behind.
    fn settle(&mut self) {
        while let Some(event) = self.events.pending.pop_front() {
            self.machine.handle(event, self.events.now());
            while let Some(effect) = self.machine.poll_effect() {
                self.perform(effect);
            }
        }
        self.show_standing();
    }

    fn worker_ended(&mut self, id: WorkerId, end: End) {
        self.write_stacks_of(id);
        self.name_requests(id);
        let status = status_of(end);
        self.tell_child_exit(id, status);
        let requests = self.front.as_ref().and_then(|front| front.loads().get(&id).copied());
        let requests = requests.map_or(0, |load| load.served);
        let exit = Exit { status, oom: self.was_oom(id, status), requests };
        self.usage.memory.forget(id);
        self.feed(Event::Worker(id, WorkerEvent::Exited { exit }));
        let worker = self.children.workers.remove(&id);
        let pid = worker.and_then(|worker| worker.child).map(|child| child.pid());
        if let Some(pid) = pid {
            self.release_group(pid);
        }
    }

    fn take_front_events(&mut self) {
        self.sources.bell.clear();
        while let Some(event) = self.sources.next_of_front() {
            match event {
                FrontEvent::WorkerDrained(worker) => {
                    self.feed(Event::Worker(worker, WorkerEvent::Drained))
                }
                FrontEvent::WorkerUsedUp(worker) => {
                    self.feed(Event::Worker(worker, WorkerEvent::UsedUp))
                }
                FrontEvent::WorkerServed { worker, served } => self.worker_served(worker, served),
                FrontEvent::Idle => {
                    // Said before the latest order, it is out of date.
                    if self.front.as_ref().is_none_or(Front::is_idle) {
                        self.feed(Event::FrontIdle);
                    }
                }
                FrontEvent::WorkerWarm(worker) => {
                    self.feed(Event::Worker(worker, WorkerEvent::Warm))
                }
                FrontEvent::WarmUpFailed(worker, why) => self.warm_up_failed(worker, why),
                FrontEvent::RequestStuck(worker) => {
                    self.feed(Event::Worker(worker, WorkerEvent::RequestStuck))
                }
                FrontEvent::RequestHangs(worker) => {
                    self.feed(Event::Worker(worker, WorkerEvent::RequestHangs))
                }
                FrontEvent::Interrupt(worker) => self.interrupt_worker(worker),
                FrontEvent::ChannelBroken(worker, fault) => self.channel_broke(worker, fault),
            }
        }
    }
}
