//! What the supervision loop listens to, and the one place where it sleeps.
//!
//! Whoever has something to listen to says so in a registry, which is made anew for every turn; what
//! has spoken is handed on by its source, in the order of the registry: messages before ends, as a
//! process's last words explain its end.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::supervise::{Event, Level, OperatorEvent, Signal, UpgradeEvent};
use indrik_sys::bell::Bell;
use indrik_sys::signal::Signal as Number;
use indrik_sys::signals::SignalStream;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Drive;
use super::children::Role;
use crate::control::Token;
use crate::front::{EventSink, FrontEvent};

/// Everything the supervisor listens to; [`Signal`] says what each means.
const SIGNALS: [(Number, Option<Signal>); 10] = [
    (Number::HUP, Some(Signal::Hup)),
    (Number::INT, Some(Signal::Int)),
    (Number::QUIT, Some(Signal::Quit)),
    (Number::TERM, Some(Signal::Term)),
    (Number::TTIN, Some(Signal::Ttin)),
    (Number::TTOU, Some(Signal::Ttou)),
    (Number::USR1, Some(Signal::Usr1)),
    (Number::USR2, Some(Signal::Usr2)),
    (Number::WINCH, Some(Signal::Winch)),
    (Number::CHLD, None),
];

/// Who has something to say.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Signals,
    Zygote(Generation),
    Worker(WorkerId),
    /// A process of ours has ended.
    Ended(Role),
    /// The front, or a log's writer.
    Bell,
    Control(Token),
    /// What the successor says.
    SuccessorWords,
    /// The old server beside this one has ended.
    Predecessor,
}

/// Who is listened to in this turn.
#[derive(Default)]
pub(super) struct Registry<'a> {
    sources: Vec<Source>,
    fds: Vec<PollFd<'a>>,
}

impl<'a> Registry<'a> {
    /// Listens for something to read.
    pub(super) fn add(&mut self, source: Source, fd: BorrowedFd<'a>) {
        self.add_for(source, fd, PollFlags::IN);
    }

    pub(super) fn add_for(&mut self, source: Source, fd: BorrowedFd<'a>, flags: PollFlags) {
        self.sources.push(source);
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
    }

    /// Sleeps until one of them has something to say, or the time has come.
    fn wait(mut self, timeout: Option<&Timespec>) -> io::Result<Vec<Source>> {
        match poll(&mut self.fds, timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let spoke = self.sources.into_iter().zip(&self.fds);
        Ok(spoke.filter(|(_, fd)| !fd.revents().is_empty()).map(|(source, _)| source).collect())
    }
}

/// The sources that are there from the first moment to the last.
pub(super) struct Sources {
    signals: SignalStream,
    pub(super) bell: Arc<Bell>,
    front_events: Receiver<FrontEvent>,
    /// Where the front puts its events.
    pub(super) sink: EventSink,
}

impl Sources {
    pub(super) fn open() -> io::Result<Self> {
        let numbers: Vec<Number> = SIGNALS.iter().map(|(number, _)| *number).collect();
        let signals = SignalStream::open(&numbers)?;
        let bell = Arc::new(Bell::new()?);
        let (sender, front_events) = mpsc::channel();
        let ring = Arc::clone(&bell);
        let sink: EventSink = Arc::new(move |event| {
            // The receiver goes only with the loop, and then nobody needs to know any more.
            let _ = sender.send(event);
            ring.ring();
        });
        Ok(Self { signals, bell, front_events, sink })
    }

    /// The next of the front's events.
    pub(super) fn next_of_front(&self) -> Option<FrontEvent> {
        self.front_events.try_recv().ok()
    }
}

impl Drive {
    /// Sleeps until somebody has something to say or the next timer is due.
    pub(super) fn wait(&mut self) -> io::Result<Vec<Source>> {
        self.set_timers();
        let mut registry = Registry::default();
        registry.add(Source::Signals, self.sources.signals.as_fd());
        for (generation, zygote) in &self.children.zygotes {
            registry.add(Source::Zygote(*generation), zygote.socket.as_fd());
        }
        for (id, worker) in &self.children.workers {
            if worker.control_open {
                registry.add(Source::Worker(*id), worker.control.as_fd());
            }
        }
        self.children.register(&mut registry);
        registry.add(Source::Bell, self.sources.bell.as_fd());
        for (token, fd, flags) in self.places.control.server.watched() {
            registry.add_for(Source::Control(token), fd, flags);
        }
        self.neighbours.register(&mut registry);
        registry.wait(self.time_to_sleep().as_ref())
    }

    fn time_to_sleep(&self) -> Option<Timespec> {
        let left = self.timers.next()?.saturating_duration_since(Instant::now());
        // Rounded up: waking a moment early would only mean going round once more.
        Timespec::try_from(left + Duration::from_micros(50)).ok()
    }

    /// Hears what a source has to say.
    pub(super) fn hear(&mut self, source: Source) {
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
}
