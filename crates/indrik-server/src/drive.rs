//! The supervision loop: turns what happens into events for the supervisor (`indrik-core`), and
//! performs the effects it answers with.
//!
//! [`Drive::serve`] is the whole of it. It runs on the main thread, sleeps in one `poll`, and never
//! waits for anything else. `effects` does what the supervisor decides, `zygotes` and `workers` hold
//! the processes and read their messages, `hooks` tells zygotes what hooks want to know, `open` takes a
//! configuration into use, `control` answers operators, `banner` greets.

mod banner;
mod control;
mod effects;
mod hooks;
mod open;
mod wait;
mod workers;
mod zygotes;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::settings::{Config, Launch};
use indrik_core::supervise::{Event, ExitStatus, Level, Signal, Supervisor};
use indrik_sys::bell::Bell;
use indrik_sys::process::End;
use indrik_sys::signals::SignalStream;
use rustix::process::{Resource, Rlimit, getrlimit};

use crate::boot::{PidFile, SocketFile};
use crate::front::{EventSink, Front, FrontEvent, Listener};
use crate::log::Log;
use crate::zygote::{ListenerName, Zygote};
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
    match Drive::new(launch, Arc::clone(&log)) {
        Ok(mut drive) => {
            let code = drive.serve();
            if drive.check_only { Outcome::CheckOnly } else { Outcome::Exit(code) }
        }
        Err(error) => {
            log.write(Level::Critical, &format!("Cannot start: {error}"));
            Outcome::Exit(1)
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
    sockets: Vec<Listener>,
    shown_addresses: Vec<String>,
    listener_names: Vec<ListenerName>,
    socket_files: Vec<SocketFile>,
    pid_file: Option<PidFile>,
    /// The limit of descriptors this process was started with; what it starts gets the same.
    descriptors_at_start: Rlimit,
    front: Option<Front>,
    control: control::Control,
    greeted: bool,
    /// Remarks that were written.
    told: VecDeque<String>,
    heartbeats_due: Instant,
    exit: Option<i32>,
    check_only: bool,
}

impl Drive {
    fn new(launch: Launch, log: Arc<Log>) -> io::Result<Self> {
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
            sockets: Vec::new(),
            shown_addresses: Vec::new(),
            listener_names: Vec::new(),
            socket_files: Vec::new(),
            pid_file: None,
            descriptors_at_start: getrlimit(Resource::Nofile),
            front: None,
            control: control::Control::default(),
            greeted: false,
            told: VecDeque::new(),
            heartbeats_due: now + HEARTBEAT_INTERVAL,
            exit: None,
            check_only: false,
        })
    }

    /// The loop: wait, turn what happened into events, perform what the supervisor answers.
    fn serve(&mut self) -> i32 {
        self.feed(Event::Start);
        loop {
            if let Some(code) = self.exit {
                return code;
            }
            let woken = match self.wait() {
                Ok(woken) => woken,
                Err(error) => {
                    self.log
                        .write(Level::Critical, &format!("The supervision loop failed: {error}"));
                    return 255;
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
            self.check_heartbeats();
            if self.machine.poll_timeout().is_some_and(|at| at <= self.started.elapsed()) {
                self.feed(Event::Tick);
            }
        }
    }

    /// Hands an event to the supervisor and performs everything that follows from it.
    fn feed(&mut self, event: Event) {
        self.pending.push_back(event);
        while let Some(event) = self.pending.pop_front() {
            self.machine.handle(event, self.started.elapsed());
            while let Some(effect) = self.machine.poll_effect() {
                self.perform(effect);
            }
        }
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
                self.feed(Event::ZygoteExited { generation });
            } else {
                if self.unknown_ends.len() == UNKNOWN_ENDS_MAX {
                    self.unknown_ends.pop_front();
                }
                self.unknown_ends.push_back((pid, end));
            }
        }
    }

    fn worker_ended(&mut self, id: WorkerId, end: End) {
        let status = match end {
            End::Code(code) => ExitStatus::Code(code),
            End::Signal(signal) => ExitStatus::Signal(signal),
        };
        self.tell_child_exit(id, status);
        self.feed(Event::WorkerExited { worker: id, status });
        self.workers.remove(&id);
    }

    fn take_front_events(&mut self) {
        self.bell.clear();
        while let Ok(event) = self.front_events.try_recv() {
            match event {
                FrontEvent::WorkerDrained(worker) => self.feed(Event::WorkerDrained { worker }),
                FrontEvent::WorkerUsedUp(worker) => self.feed(Event::WorkerUsedUp { worker }),
                FrontEvent::Idle => self.feed(Event::FrontIdle),
                FrontEvent::RequestStuck(worker) => self.feed(Event::RequestStuck { worker }),
                FrontEvent::ChannelBroken(worker) => self.feed(Event::ChannelBroken { worker }),
            }
        }
    }
}
