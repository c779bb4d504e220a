//! The supervision loop: turns what happens into events for the supervisor (`indrik-core`), and
//! performs the effects it answers with.
//!
//! [`Drive::serve`] is the whole of it. It runs on the main thread, sleeps in one `poll`, and never
//! waits for anything else. `effects` does what the supervisor decides, `zygotes` and `workers` hold
//! the processes and read their messages, `hooks` tells zygotes what hooks want to know, `open` takes
//! a configuration into use, `confine` what workers may take, `reload` changes generations, `refork`
//! makes a zygote of a worker, `logs` its logs, `listeners` holds the sockets, `upgrade` starts a
//! successor, `service` talks to the service manager and to the terminal a daemon leaves, `control`
//! answers operators, `memory` looks at what workers use, `stacks` at what stuck ones were doing,
//! `banner` greets.

mod banner;
mod confine;
mod control;
mod effects;
mod hooks;
mod listeners;
mod logs;
mod memory;
mod open;
mod refork;
mod reload;
mod service;
mod stacks;
mod upgrade;
mod wait;
mod workers;
mod zygotes;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::settings::{Config, Launch};
use indrik_core::supervise::{Event, Exit, ExitStatus, Level, Signal, Supervisor};
use indrik_sys::bell::Bell;
use indrik_sys::daemon::Detached;
use indrik_sys::process::{Child, End};
use indrik_sys::signals::SignalStream;
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::boot::word::{self, Words};
use crate::boot::{Identity, PidFile, ServiceManager};
use crate::front::{EventSink, Front, FrontEvent, Standing};
use crate::log::Log;
use crate::zygote::Zygote;
use confine::Confinement;
use listeners::Listeners;
use logs::Metrics;
use refork::Reforks;
use service::Leaving;
use upgrade::Heritage;
use workers::Worker;

/// Everything the supervisor listens to; [`Signal`] says what each means.
const SIGNALS: [(i32, Option<Signal>); 10] = [
    (1, Some(Signal::Hup)),
    (2, Some(Signal::Int)),
    (3, Some(Signal::Quit)),
    (15, Some(Signal::Term)),
    (21, Some(Signal::Ttin)),
    (22, Some(Signal::Ttou)),
    (10, Some(Signal::Usr1)),
    (12, Some(Signal::Usr2)),
    (28, Some(Signal::Winch)),
    (17, None),
];

/// Ends of processes nobody knows (yet) that are remembered: a worker may be killed between its
/// fork and the zygote's message about it.
const UNKNOWN_ENDS_MAX: usize = 64;

/// How often the workers' heartbeats are looked at.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// Runs the server as `launch` asks, until a signal ends it.
///
/// To be called on the process's main thread, before it has other threads: signals are blocked for
/// those that are started from here, and children die with the thread that starts them.
#[must_use]
pub fn run(launch: Launch) -> Outcome {
    let log = Arc::new(Log::new());
    // Before the first title is set: it is written where the arguments lie.
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
    started: Instant,
    signals: SignalStream,
    bell: Arc<Bell>,
    front_events: Receiver<FrontEvent>,
    sink: EventSink,
    /// Events that performing effects produced, not yet handled.
    pending: VecDeque<Event>,
    /// Every generation's settings, from the reading of its configuration to the end of the server.
    configs: BTreeMap<Generation, Arc<Config>>,
    /// The hooks that every generation's configuration has.
    hooks: BTreeMap<Generation, Vec<String>>,
    zygotes: BTreeMap<Generation, Zygote>,
    workers: BTreeMap<WorkerId, Worker>,
    unknown_ends: VecDeque<(u32, End)>,
    heritage: Arc<Heritage>,
    listeners: Listeners,
    pid_file: Option<PidFile>,
    /// Of a generation in the making, if its name changes.
    coming_pid_file: Option<PidFile>,
    /// Whom the workers of a generation become, if not this process's user.
    identities: BTreeMap<Generation, Option<Identity>>,
    confinement: Confinement,
    reforks: Reforks,
    manager: ServiceManager,
    watchdog_due: Option<Instant>,
    /// A daemon's, until it serves.
    leaving: Option<Leaving>,
    /// The new server beside this one.
    successor: Option<Child>,
    /// The zygote that runs `pre_exec`; the successor is started when it answers.
    in_pre_exec: Option<Generation>,
    /// The zygote that runs `pre_stop`.
    in_pre_stop: Option<Generation>,
    /// What probes are answered.
    standing: Standing,
    /// What the new server has to say.
    successor_words: Words,
    /// The old server beside this one: readable when it has ended.
    predecessor: Option<OwnedFd>,
    /// The limit of descriptors this process was started with; what it starts gets the same.
    descriptors_at_start: Rlimit,
    front: Option<Front>,
    control: control::Control,
    greeted: bool,
    /// Remarks that were written.
    told: VecDeque<String>,
    /// The generation whose Python logger writes the logs, if one does.
    logging: Option<Generation>,
    metrics: Metrics,
    heartbeats_due: Instant,
    memory: memory::Memory,
    /// Workers that were asked what they are doing.
    asked: stacks::Asked,
    exit: Option<Ending>,
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
        let numbers: Vec<i32> = SIGNALS.iter().map(|(number, _)| *number).collect();
        let signals = SignalStream::open(&numbers)?;
        let bell = Arc::new(Bell::new()?);
        let (sender, front_events) = mpsc::channel();
        let ring = Arc::clone(&bell);
        let sink: EventSink = Arc::new(move |event| {
            // The receiver goes only with the loop, and then nobody needs to know any more.
            let _ = sender.send(event);
            ring.ring();
        });
        let now = Instant::now();
        let manager = ServiceManager::from_environment(heritage.partner_pid());
        Ok(Self {
            launch,
            log,
            machine: Supervisor::new(),
            started: now,
            signals,
            bell,
            front_events,
            sink,
            pending: VecDeque::new(),
            configs: BTreeMap::new(),
            hooks: BTreeMap::new(),
            zygotes: BTreeMap::new(),
            workers: BTreeMap::new(),
            unknown_ends: VecDeque::new(),
            listeners: Listeners::default(),
            pid_file: None,
            coming_pid_file: None,
            identities: BTreeMap::new(),
            confinement: Confinement::default(),
            reforks: Reforks::default(),
            watchdog_due: manager.watchdog().map(|pause| now + pause),
            manager,
            leaving,
            successor: None,
            in_pre_exec: None,
            in_pre_stop: None,
            standing: Standing::default(),
            successor_words: Words::default(),
            predecessor: heritage.watch_partner(),
            heritage,
            descriptors_at_start: getrlimit(Resource::Nofile),
            front: None,
            control: control::Control::default(),
            greeted: false,
            told: VecDeque::new(),
            logging: None,
            metrics: Metrics::default(),
            heartbeats_due: now + HEARTBEAT_INTERVAL,
            memory: memory::Memory::default(),
            asked: stacks::Asked::default(),
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
                if let (Ending::Exit(code), Some(leaving)) = (ending, self.leaving.take()) {
                    leaving.word.give(code);
                }
                return ending;
            }
            let woken = match self.wait() {
                Ok(woken) => woken,
                Err(error) => {
                    self.log
                        .write(Level::Critical, &format!("The supervision loop failed: {error}"));
                    self.log.close();
                    return Ending::Exit(255);
                }
            };
            // Messages before ends: a worker's last words explain its exit.
            let children_ended = woken.signals && self.take_signals();
            self.take_zygote_messages(&woken);
            self.take_worker_messages(&woken);
            if children_ended {
                self.reap();
            }
            if woken.bell {
                self.take_front_events();
            }
            self.take_commands(&woken);
            if woken.words {
                self.take_words();
            }
            if woken.predecessor {
                self.predecessor = None;
                self.feed(Event::PredecessorExited);
            }
            self.check_heartbeats();
            self.watch_memory();
            self.write_stacks(Instant::now());
            self.count_requests();
            self.show_life();
            self.measure_backlog();
            self.look_at_answers();
            if self.machine.poll_timeout().is_some_and(|at| at <= self.started.elapsed()) {
                self.feed(Event::Tick);
            }
        }
    }

    /// Hands an event to the supervisor and performs everything that follows from it.
    fn feed(&mut self, event: Event) {
        self.pending.push_back(event);
        self.settle();
    }

    /// Hands on the events that performing something has left behind.
    fn settle(&mut self) {
        while let Some(event) = self.pending.pop_front() {
            self.machine.handle(event, self.started.elapsed());
            while let Some(effect) = self.machine.poll_effect() {
                self.perform(effect);
            }
        }
        self.show_standing();
    }

    /// Reads all waiting signals; answers whether a child has ended.
    fn take_signals(&mut self) -> bool {
        let mut children_ended = false;
        loop {
            match self.signals.next() {
                Ok(Some(number)) => {
                    let known = SIGNALS.iter().find(|(known, _)| *known == number);
                    match known.and_then(|(_, signal)| *signal) {
                        Some(signal) => self.feed(Event::Signal(signal)),
                        None => children_ended = true,
                    }
                }
                Ok(None) => return children_ended,
                Err(error) => {
                    self.log.write(Level::Error, &format!("Cannot read signals: {error}"));
                    return children_ended;
                }
            }
        }
    }

    /// Reaps every child that has ended: zygotes, workers, and orphans of the application's own
    /// processes, which fall to the sub-reaper.
    fn reap(&mut self) {
        while let Some((pid, end)) = indrik_sys::process::reap() {
            if let Some(id) = self.worker_with(pid) {
                self.take_messages_of(id);
                self.worker_ended(id, end);
            } else if let Some(generation) = self.zygote_with(pid) {
                self.take_messages_from(generation);
                self.zygotes.remove(&generation);
                // One that was a worker has a group.
                self.release_group(pid);
                self.hook_done(generation, "pre_exec");
                self.hook_done(generation, "pre_stop");
                self.feed(Event::ZygoteExited { generation });
            } else if self.successor.as_ref().is_some_and(|child| child.pid() == pid) {
                self.successor_ended(status_of(end));
            } else if !self.old_zygote_ended(pid) {
                if self.unknown_ends.len() == UNKNOWN_ENDS_MAX {
                    self.unknown_ends.pop_front();
                }
                self.unknown_ends.push_back((pid, end));
            }
        }
    }

    fn worker_ended(&mut self, id: WorkerId, end: End) {
        self.write_stacks_of(id);
        let status = status_of(end);
        self.tell_child_exit(id, status);
        let requests = self.front.as_ref().and_then(|front| front.loads().get(&id).copied());
        let requests = requests.map_or(0, |load| load.served);
        let exit = Exit { status, oom: self.was_oom(id, status), requests };
        self.memory.forget(id);
        self.feed(Event::WorkerExited { worker: id, exit });
        let pid = self.workers.remove(&id).and_then(|worker| worker.child).map(|child| child.pid());
        if let Some(pid) = pid {
            self.release_group(pid);
        }
    }

    fn take_front_events(&mut self) {
        self.bell.clear();
        while let Ok(event) = self.front_events.try_recv() {
            match event {
                FrontEvent::WorkerDrained(worker) => self.feed(Event::WorkerDrained { worker }),
                FrontEvent::WorkerUsedUp(worker) => self.feed(Event::WorkerUsedUp { worker }),
                FrontEvent::WorkerServed { worker, served } => self.worker_served(worker, served),
                FrontEvent::Idle => {
                    // Said before the latest order, it is out of date.
                    if self.front.as_ref().is_none_or(Front::is_idle) {
                        self.feed(Event::FrontIdle);
                    }
                }
                FrontEvent::WorkerWarm(worker) => self.feed(Event::WorkerWarm { worker }),
                FrontEvent::WarmUpFailed(worker, why) => self.warm_up_failed(worker, why),
                FrontEvent::RequestStuck(worker) => self.feed(Event::RequestStuck { worker }),
                FrontEvent::RequestHangs(worker) => self.feed(Event::RequestHangs { worker }),
                FrontEvent::Interrupt(worker) => self.interrupt_worker(worker),
                FrontEvent::ChannelBroken(worker) => self.feed(Event::ChannelBroken { worker }),
            }
        }
    }
}

fn status_of(end: End) -> ExitStatus {
    match end {
        End::Code(code) => ExitStatus::Code(code),
        End::Signal(signal) => ExitStatus::Signal(signal),
    }
}
