//! What workers say, and what the front and their channels show of them.

use std::time::Instant;

use indrik_core::ids::WorkerId;
use indrik_core::logs::level::Level;
use indrik_core::memory::process;
use indrik_core::supervise::policy::{may_run_reforked, paces_starts};
use indrik_core::supervise::{
    EndReason, Event, Failure, FailureKind, FileChange, PoolEvent, Sign, WorkerEvent, awaited_hook,
};
use indrik_sys::memory;
use indrik_sys::process::{Child, End};
use indrik_sys::signal::Signal;

use super::parts::{Drive, POOL};
use crate::front::{ChannelFault, Front, Interface};
use crate::hearing::{Heard, Stream};
use crate::lane::LaneFault;
use crate::zygote::{WireInterface, WorkerNote};

const HINT: &str =
    "every path in warmup must be answered 2xx or 3xx, all of them within warmup_timeout";

impl Drive {
    pub(super) fn worker_forked(&mut self, id: WorkerId, pid: u32) {
        let Some(worker) = self.children.workers.get_mut(&id) else { return };
        // One that has ended since has not been reaped: the number is still its own.
        match Child::open(pid) {
            Ok(child) => {
                worker.child = Some(child);
                let generation = worker.generation;
                self.confine(generation, pid);
                self.usage.memory.note_group(id, pid, self.events.now());
                self.feed(Event::Worker(id, WorkerEvent::Forked { pid }));
            }
            Err(_) => {
                self.feed(Event::Worker(id, WorkerEvent::Forked { pid }));
                self.worker_ended(id, End::Signal(Signal::KILL.number()));
            }
        }
    }

    pub(super) fn take_messages_of(&mut self, id: WorkerId) {
        let Some(worker) = self.children.workers.get_mut(&id) else { return };
        if !worker.control_open {
            return;
        }
        let heard = worker.hearing.turn(&worker.control, Instant::now());
        self.take_heard_of(id, heard);
    }

    /// It has ended, or is to be judged: what it said before counts.
    pub(super) fn take_last_words_of(&mut self, id: WorkerId) {
        let Some(worker) = self.children.workers.get_mut(&id) else { return };
        if !worker.control_open {
            return;
        }
        let heard = worker.hearing.last_words(&worker.control, Instant::now());
        self.take_heard_of(id, heard);
    }

    fn take_heard_of(&mut self, id: WorkerId, heard: Heard<WorkerNote>) {
        if let Some(worker) = self.children.workers.get_mut(&id) {
            // Its process may live on for a while; the end of that is heard by reaping it.
            worker.control_open = heard.stream != Stream::Closed;
        }
        for note in heard.messages {
            self.take_note(id, note);
        }
        if let Some(text) = heard.nonsense {
            self.log.write(Level::Error, &format!("Worker {id} sent nonsense: {text}"));
        }
        if heard.is_flood {
            let pid = self.children.worker_pid(id).unwrap_or_else(std::process::id);
            let text =
                "This worker says more to the supervisor than one may; it is heard more slowly";
            self.log.write_about(Level::Warning, pid, text);
        }
    }

    fn take_note(&mut self, id: WorkerId, note: WorkerNote) {
        match note {
            WorkerNote::Ready { interface, kind, capacity, notices } => {
                self.tell_once(notices);
                if let Some(worker) = self.children.workers.get_mut(&id) {
                    worker.interface = match interface {
                        WireInterface::Wsgi => Interface::Wsgi,
                        WireInterface::Asgi => Interface::Asgi,
                    };
                    worker.class = kind;
                    worker.capacity = capacity;
                }
                self.compare_interfaces(id);
                self.measure_boot(id);
                self.feed(Event::Worker(id, WorkerEvent::Ready));
            }
            WorkerNote::Hook { hook } => {
                let hook = hook.as_deref().and_then(awaited_hook);
                self.feed(Event::Worker(id, WorkerEvent::InHook { hook }));
            }
            WorkerNote::BootFailed(failure) => {
                self.feed(Event::Worker(id, WorkerEvent::BootFailed { failure: failure.into() }));
            }
            WorkerNote::LoadFailed(failure) => {
                let what = "The application cannot be loaded; requests are answered with why";
                let failure = Failure::from(failure);
                let text = failure.told(what);
                let pid = self.children.worker_pid(id).unwrap_or_else(std::process::id);
                self.log.write_about(Level::Error, pid, &text);
                let why = failure.message;
                self.feed(Event::Worker(id, WorkerEvent::ShowsWhy { why }));
            }
            WorkerNote::Logged { level, text, exception } => {
                let pid = self.children.worker_pid(id).unwrap_or(0);
                self.log.copy(&level, pid, &text, exception);
            }
            WorkerNote::WarmUpError { traceback } => {
                if let Some(worker) = self.children.workers.get_mut(&id) {
                    worker.last_words = traceback;
                }
            }
            WorkerNote::Inside(note) => self.hear_inside(id, note),
            WorkerNote::SentTerm => self.feed(Event::Worker(id, WorkerEvent::SentTerm)),
            WorkerNote::Promoted => self.feed(Event::Worker(id, WorkerEvent::Promoted)),
            WorkerNote::PromotionRefused { why } => {
                self.feed(Event::Worker(id, WorkerEvent::PromotionRefused { why }))
            }
            WorkerNote::MetricLost(lost) => self.tell_lost_metric(&lost),
            WorkerNote::UsedUp => self.feed(Event::Worker(id, WorkerEvent::UsedUp)),
            WorkerNote::EndsItself => {
                let reason = EndReason::Application;
                self.feed(Event::Worker(id, WorkerEvent::ShouldGo { reason }));
            }
            WorkerNote::Changed { files } => {
                let files = files.into_iter().map(|(path, stamp)| FileChange { path, stamp });
                self.feed(Event::Worker(id, WorkerEvent::CodeChanged { files: files.collect() }));
            }
        }
    }

    /// A new generation may speak another interface than the one that serves.
    fn compare_interfaces(&mut self, id: WorkerId) {
        let Some(worker) = self.children.workers.get(&id) else { return };
        let (generation, interface) = (worker.generation, worker.interface);
        let current = self.machine.census().generation;
        let differs = self.children.workers.values().any(|other| {
            other.generation == current && other.is_linked() && other.interface != interface
        });
        if generation != current && differs {
            self.feed(Event::Pool(POOL, PoolEvent::InterfaceChanged { generation }));
        }
    }

    /// Tells the supervisor what it cost to start a worker, if it recycles by what workers have done.
    fn measure_boot(&mut self, id: WorkerId) {
        let Some(worker) = self.children.workers.get(&id) else { return };
        let Some(config) = self.generations.config(worker.generation) else { return };
        if !paces_starts(config) {
            return;
        }
        let stat = worker.child.as_ref().and_then(|child| memory::schedstat(child.pid()));
        if let Some((ran, waited)) = stat.as_deref().and_then(process::run_and_waited) {
            self.feed(Event::Worker(id, WorkerEvent::BootMeasured { ran, waited }));
        }
    }

    pub(super) fn warm_up_failed(&mut self, id: WorkerId, why: String) {
        // What it said about the exception.
        self.take_last_words_of(id);
        let worker = self.children.workers.get_mut(&id);
        let traceback = worker.map(|worker| std::mem::take(&mut worker.last_words));
        let failure = Failure {
            kind: FailureKind::WarmUp,
            message: why,
            hint: HINT.to_owned(),
            traceback: traceback.unwrap_or_default(),
        };
        self.feed(Event::Worker(id, WorkerEvent::WarmUpFailed { failure }));
    }

    /// The front found that a worker's channel cannot be used any more.
    pub(super) fn channel_broke(&mut self, id: WorkerId, fault: ChannelFault) {
        let child = self.children.workers.get(&id).and_then(|worker| worker.child.as_ref());
        let pid = child.map_or_else(std::process::id, Child::pid);
        self.log.write_about(Level::Error, pid, &format!("The channel of worker {id}: {fault}"));
        self.feed(Event::Worker(
            id,
            match fault {
                ChannelFault::FilesClosed => WorkerEvent::DescriptorsLost,
                ChannelFault::Memory(_) | ChannelFault::Flood => WorkerEvent::ChannelBroken,
            },
        ));
    }

    /// A worker sent on its lane what it must not. Its requests are not harmed: it goes when its successor is
    /// ready.
    pub(super) fn lane_was_cut(&mut self, id: WorkerId, fault: LaneFault) {
        let pid = self.children.worker_pid(id).unwrap_or_else(std::process::id);
        self.log.write_about(
            Level::Error,
            pid,
            &format!("The lane of worker {id} is cut: {fault}"),
        );
        let reason = EndReason::LaneCut;
        self.feed(Event::Worker(id, WorkerEvent::ShouldGo { reason }));
    }

    /// When signs of life are to be read.
    pub(super) fn signs_due(&self) -> Option<Instant> {
        self.machine.signs_due().map(|due| self.events.started + due)
    }

    /// Tells the supervisor what the workers' channels say of their lives.
    pub(super) fn read_signs(&mut self) {
        let busy = self.front.as_ref().map(Front::with_their_only_request).unwrap_or_default();
        let linked = self.children.workers.iter().filter(|(_, it)| it.is_linked());
        let signs = linked.map(|(id, worker)| {
            let (beats, pulses) = (worker.flags.beats(), worker.flags.pulses());
            (*id, Sign { beats, pulses, is_busy: busy.contains(id) })
        });
        let signs = signs.collect();
        self.feed(Event::Pool(POOL, PoolEvent::Signs { signs }));
    }

    pub(super) fn count_requests(&mut self) {
        self.begin_to_count();
        let Some(front) = &self.front else { return };
        let reforks = |id: &WorkerId| {
            self.children.workers.get(id).is_some_and(|worker| may_run_reforked(worker.class))
        };
        let loads = front.loads().into_iter().filter(|(id, _)| reforks(id));
        let counts = loads.map(|(id, load)| (id, load.served)).collect();
        self.feed(Event::Pool(POOL, PoolEvent::Served { counts }));
    }

    /// Tells the supervisor what the generation on trial has answered.
    pub(super) fn look_at_answers(&mut self) {
        if !self.machine.wants_answers() {
            return;
        }
        let due = self.machine.poll_timeout().is_some_and(|at| at <= self.events.now());
        let trial = self.front.as_ref().and_then(Front::trial);
        if let (true, Some(trial)) = (due, trial) {
            self.feed(Event::Pool(
                POOL,
                PoolEvent::Answered { answers: trial.all, errors: trial.errors },
            ));
        }
    }
}
