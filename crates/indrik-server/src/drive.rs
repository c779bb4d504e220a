//! The supervision loop: turns what happens into events for the supervisor (`indrik-core`), and
//! performs the effects it answers with.
//!
//! [`Drive::serve`] is the whole of it. It runs on the main thread, sleeps in one `poll`, and never
//! waits for anything else. `parts` is what it has: the sources it listens to, its timers, the processes by
//! their roles, what was read of each configuration, the sockets.
//!
//! What happens goes one way. The loop hears of it, with `control` (operators, who ask at the `control_socket`),
//! `replies` (what zygotes say), `notes` (what workers say and show) and `ends` (of processes): they `feed` it to the
//! supervisor. `effects` does what that decides, with `zygotes` and `workers` (their processes), `hooks` (what zygotes
//! are told for them), `open` (takes a configuration into use), `reload` (changes generations), `refork` (makes a zygote
//! of a worker), `upgrade` (starts a successor), `service` (the service manager, and the terminal a daemon leaves),
//! `logs`, `admin` (who looks and steers over HTTP), `alerts` (what is told to whom), `look` (what they see), `confine` (what workers may take), `memory` (what they use),
//! `growth` (with what that grows), `stacks` (what stuck ones were doing), `inside` (what an operator wants to see of them) and
//! `banner`, which greets. Nothing of these calls back: what they find out is an event that they leave behind.

mod admin;
mod alerts;
mod banner;
mod confine;
mod control;
mod control_socket;
mod effects;
mod ends;
mod feed;
mod growth;
mod hooks;
mod inside;
mod logs;
mod look;
mod maintenance;
mod memory;
mod notes;
mod open;
mod orders;
mod parts;
mod refork;
mod reload;
mod replies;
mod service;
mod sight;
mod stacks;
mod steer;
mod upgrade;
mod workers;
mod zygotes;

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::ids::PoolId;
use indrik_core::logs::level::Level;
use indrik_core::settings::Launch;
use indrik_core::supervise::{Event, OperatorEvent, PoolEvent, UpgradeEvent, WorkerEvent};
use indrik_sys::daemon::Detached;
use indrik_sys::process::{Child, End};
use rustix::event::Timespec;

use crate::boot::word;
use crate::front::{Front, FrontEvent};
use crate::hearing::Hearing;
use crate::log::Log;
use ends::status_of;
use parts::{Drive, Ending, Heritage, Leaving, Registry, Role, SIGNALS, Source, Timer};

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

impl Drive {
    /// The loop: wait, turn what happened into events, perform what the supervisor answers.
    fn serve(&mut self) -> Ending {
        self.begin();
        loop {
            self.count_workers();
            self.pass_entries_on();
            if let Some(ending) = self.exit {
                if let Some(front) = &self.front {
                    front.close_traces();
                    front.end_recording();
                }
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

    /// Sleeps until somebody has something to say or the next timer is due.
    fn wait(&mut self) -> io::Result<Vec<Source>> {
        self.set_timers();
        let now = Instant::now();
        let mut registry = Registry::default();
        let mut rests_end: Option<Instant> = None;
        let mut is_heard = |hearing: &Hearing| {
            let until = hearing.rests_until(now);
            rests_end = rests_end.into_iter().chain(until).min();
            until.is_none()
        };
        registry.add(Source::Signals, self.sources.signals.as_fd());
        for (generation, zygote) in &self.children.zygotes {
            if is_heard(&zygote.hearing) {
                registry.add(Source::Zygote(*generation), zygote.socket.as_fd());
            }
        }
        for (id, worker) in &self.children.workers {
            if worker.control_open && is_heard(&worker.hearing) {
                registry.add(Source::Worker(*id), worker.control.as_fd());
            }
        }
        self.children.register(&mut registry);
        registry.add(Source::Bell, self.sources.bell.as_fd());
        for (token, fd, flags) in self.outside.control.server.watched() {
            registry.add_for(Source::Control(token), fd, flags);
        }
        self.neighbours.register(&mut registry);
        let turns = self.outside.admin.board.turns();
        turns.ends(Instant::now());
        let woken = registry.wait(self.time_to_sleep(rests_end).as_ref());
        turns.begins(Instant::now());
        woken
    }

    fn time_to_sleep(&self, rests_end: Option<Instant>) -> Option<Timespec> {
        let next = self.timers.next().into_iter().chain(rests_end).min();
        let left = next?.saturating_duration_since(Instant::now());
        // Rounded up: waking a moment early would only mean going round once more.
        Timespec::try_from(left + Duration::from_micros(50)).ok()
    }

    /// Hears what a source has to say.
    fn hear(&mut self, source: Source) {
        match source {
            Source::Signals => self.take_signals(),
            Source::Zygote(generation) => self.take_messages_from(generation),
            Source::Worker(id) => self.take_messages_of(id),
            Source::Ended(role) => self.take_end(role),
            Source::Bell => self.take_front_events(),
            Source::Control(token) => self.take_commands(token),
            Source::SuccessorWords => self.take_words(),
            Source::Predecessor => {
                self.neighbours.predecessor = None;
                self.feed(Event::Upgrade(UpgradeEvent::PredecessorExited));
            }
        }
    }

    /// A process of ours may have ended.
    fn take_end(&mut self, role: Role) {
        let ended = self.children.child(role).map(Child::reap);
        match ended {
            Some(Ok(Some(end))) => self.ended(role, end),
            // It is not our child any more: somebody in this process has reaped it.
            Some(Err(_)) => self.ended(role, End::Code(0)),
            Some(Ok(None)) | None => {}
        }
    }

    fn ended(&mut self, role: Role, end: End) {
        // Its last words explain its end.
        match role {
            Role::Worker(id) => {
                self.take_last_words_of(id);
                self.worker_ended(id, end);
            }
            Role::Zygote(generation) => {
                self.take_last_words_from(generation);
                self.zygote_ended(generation);
            }
            Role::OldZygote => self.old_zygote_ended(),
            Role::Successor => self.successor_ended(status_of(end)),
        }
    }

    /// Reads all waiting signals.
    fn take_signals(&mut self) {
        loop {
            match self.sources.signals.next() {
                Ok(Some(number)) => {
                    let known = SIGNALS.iter().find(|(known, _)| *known == number);
                    match known.and_then(|(_, signal)| *signal) {
                        Some(signal) => self.feed(Event::Operator(OperatorEvent::Signal(signal))),
                        None => self.children.some_ended(),
                    }
                }
                Ok(None) => return,
                Err(error) => {
                    return self.log.write(Level::Error, &format!("Cannot read signals: {error}"));
                }
            }
        }
    }

    /// Sets the timers whose time others decide. The rest are set where they are taken.
    fn set_timers(&mut self) {
        let machine = self.machine.poll_timeout().map(|at| self.events.started + at);
        let dues = [
            (Timer::Supervisor, machine),
            (Timer::Control, self.outside.control.server.deadline()),
            (Timer::Life, self.signs_due()),
            (Timer::Usage, self.memory_due()),
            (Timer::Stacks, self.stacks_due()),
            (Timer::Looks, self.looks_due()),
        ];
        for (timer, due) in dues {
            self.timers.set(timer, due);
        }
    }

    fn do_what_is_due(&mut self, timer: Timer) {
        match timer {
            Timer::Control => {
                self.outside.control.server.expire(Instant::now());
                self.call_off_looks();
            }
            Timer::Life => self.read_signs(),
            Timer::Usage => {
                self.watch_memory();
                self.hand_on_events();
            }
            Timer::Stacks => self.write_stacks(Instant::now()),
            Timer::Looks => self.watch_looks(Instant::now()),
            Timer::Growth => self.look_at_growth(),
            Timer::Requests => self.count_requests(),
            Timer::Watchdog => self.show_life(),
            Timer::Word => self.say_that_it_lives(),
            Timer::Logs => self.reopen_logs(),
            Timer::Backlog => self.measure_backlog(),
            Timer::Look => self.show_look(),
            Timer::Supervisor => {
                self.look_at_answers();
                if self.machine.poll_timeout().is_some_and(|at| at <= self.events.now()) {
                    self.feed(Event::Tick);
                }
            }
        }
    }

    fn take_front_events(&mut self) {
        self.sources.bell.clear();
        self.hear_of_ailments();
        self.take_orders();
        self.answer_tests();
        if self.log.take_moved() {
            self.reopen_logs();
        }
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
                FrontEvent::RequestSlow(worker, text) => self.show_slow(worker, text),
                FrontEvent::RequestHangs(worker) => {
                    self.feed(Event::Worker(worker, WorkerEvent::RequestHangs))
                }
                FrontEvent::Overloaded(lacks) => {
                    self.feed(Event::Pool(PoolId::FIRST, PoolEvent::Overloaded { lacks }));
                }
                FrontEvent::Interrupt(worker) => self.interrupt_worker(worker),
                FrontEvent::ChannelBroken(worker, fault) => self.channel_broke(worker, fault),
                FrontEvent::LaneCut(worker, fault) => self.lane_was_cut(worker, fault),
            }
        }
    }

    /// What fails while requests are served on becomes known to whoever asks how the server is.
    fn hear_of_ailments(&mut self) {
        for (ailment, why) in self.log.take_ailing() {
            self.feed(Event::Pool(PoolId::FIRST, PoolEvent::Ails { ailment, why }));
        }
    }

    /// The first event.
    fn begin(&mut self) {
        let successor = self.neighbours.heritage.partner_pid().is_some();
        self.enter_start();
        self.say_that_it_lives();
        self.feed(Event::Start { successor });
        self.take_over_maintenance();
        if successor && self.neighbours.predecessor.is_none() {
            self.feed(Event::Upgrade(UpgradeEvent::PredecessorExited));
        }
    }
}
