//! The workers' processes, channels and messages.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::time::Instant;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::logs::level::Level;
use indrik_core::memory::watch::Limits;
use indrik_core::supervise::policy::requests_max;
use indrik_core::supervise::{EndReason, Event, Failure, FileChange, PoolEvent, Sign, WorkerEvent};
use indrik_ring::{FrontChannel, channel_pair};
use indrik_sys::packets::PacketSocket;
use indrik_sys::process::{Child, End};
use indrik_sys::signal::Signal;

use super::parts::{Drive, FrontEnds, POOL, Stacks, Worker};
use crate::front::{ChannelFault, Front, Interface, NewWorker, channel_limits};
use crate::lane::LaneFault;
use crate::zygote::{Request, Stream, WireInterface, WorkerFds, WorkerNote, receive_all};

impl Drive {
    pub(super) fn fork(&mut self, id: WorkerId, generation: Generation) {
        if let Err(error) = self.try_fork(id, generation) {
            self.children.workers.remove(&id);
            self.events
                .push(Event::Worker(id, WorkerEvent::ForkFailed { message: error.to_string() }));
        }
    }

    fn try_fork(&mut self, id: WorkerId, generation: Generation) -> io::Result<()> {
        let config = self.generations.config_of(generation);
        let config = config.ok_or_else(|| io::Error::other("the generation has no settings"))?;
        if let Some(front) = &self.front {
            // An operator may have asked for more than the settings say.
            front.keep_descriptors_for(self.machine.census().wanted);
        }
        let limits = channel_limits(&config);
        let (front_end, channel) = channel_pair(limits)?;
        let bell = front_end.worker.try_clone()?;
        let front = FrontChannel::open(front_end, limits)?;
        let (control, control_theirs) = PacketSocket::pair()?;
        let (stacks, stacks_theirs) = Stacks::create()?;
        let (lane, lane_theirs) = PacketSocket::pair()?;
        let fds = WorkerFds {
            channel,
            control: control_theirs,
            stacks: stacks_theirs,
            lane: lane_theirs,
        };
        let zygote = self.children.zygotes.get(&generation);
        let zygote = zygote.ok_or_else(|| io::Error::other("its zygote has ended"))?;
        zygote.send(&Request::Fork { worker: id }, &fds.in_order())?;
        let worker = Worker {
            generation,
            child: None,
            control,
            control_open: true,
            flags: front.control(),
            front_ends: Some(FrontEnds { channel: front, lane: lane.into() }),
            bell,
            interface: Interface::Wsgi,
            class: config.worker_class,
            capacity: 1,
            last_words: String::new(),
            as_zygote: None,
            stacks,
        };
        self.children.workers.insert(id, worker);
        Ok(())
    }

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

    pub(super) fn release(&self, id: WorkerId) {
        if let Some(worker) = self.children.workers.get(&id)
            && let Err(error) = worker.control.send(b"go", &[])
        {
            // It has been killed from outside, which will be heard.
            self.log.write(Level::Debug, &format!("Worker {id} was gone before it began: {error}"));
        }
    }

    pub(super) fn add_to_front(&mut self, id: WorkerId) {
        self.link_to_front(id);
        let Some(worker) = self.children.workers.get_mut(&id) else { return };
        let config = self.generations.config(worker.generation);
        let limits = config.map_or_else(Limits::default, |config| Self::memory_limits(config));
        if let Some(front) = &self.front {
            front.open_worker(id);
        }
        self.watch_worker(id, limits);
        let Some(worker) = self.children.workers.get(&id) else { return };
        if !self.service.greeted {
            self.service.greeted = true;
            let (interface, class, capacity, generation) =
                (worker.interface, worker.class, worker.capacity, worker.generation);
            self.greet(generation, interface, class, capacity);
        }
    }

    /// Gives the front its end of a worker's channel, once.
    pub(super) fn link_to_front(&mut self, id: WorkerId) {
        let Some(worker) = self.children.workers.get_mut(&id) else { return };
        let config = self.generations.config(worker.generation);
        let (Some(front), Some(config)) = (&self.front, config) else { return };
        let Some(FrontEnds { channel, lane }) = worker.front_ends.take() else { return };
        // The standard library seeds its hash maps from the system's randomness.
        let chance = RandomState::new().build_hasher().finish();
        let new = NewWorker {
            pid: worker.child.as_ref().map_or(0, Child::pid),
            channel,
            interface: worker.interface,
            capacity: worker.capacity,
            requests_max: requests_max(config, chance),
            generation: worker.generation,
            tells_served: Self::memory_limits(config).is_set(),
        };
        if let Err(error) = front.add_worker(id, new, lane) {
            let text = format!("Worker {id} cannot be given requests: {error}");
            self.log.write(Level::Error, &text);
            self.events.push(Event::Worker(id, WorkerEvent::ChannelBroken));
        }
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

    pub(super) fn shut_down_worker(&self, id: WorkerId) {
        if let Some(worker) = self.children.workers.get(&id) {
            worker.flags.shut_down();
            // One that has lost its end of it is noticed by its beats.
            let _ = worker.bell.ring();
        }
    }

    pub(super) fn take_messages_of(&mut self, id: WorkerId) {
        let Some(worker) = self.children.workers.get_mut(&id) else { return };
        if !worker.control_open {
            return;
        }
        let (notes, nonsense, stream) = receive_all::<WorkerNote>(&worker.control);
        // Its process may live on for a while; the end of that is heard by reaping it.
        worker.control_open = stream == Stream::Open;
        for note in notes {
            self.take_note(id, note);
        }
        if let Some(text) = nonsense {
            self.log.write(Level::Error, &format!("Worker {id} sent nonsense: {text}"));
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
            WorkerNote::BootFailed(failure) => {
                self.feed(Event::Worker(id, WorkerEvent::BootFailed { failure: failure.into() }));
            }
            WorkerNote::LoadFailed(failure) => {
                let what = "The application cannot be loaded; requests are answered with why";
                let text = Failure::from(failure).told(what);
                let pid = self.children.worker_pid(id).unwrap_or_else(std::process::id);
                self.log.write_about(Level::Error, pid, &text);
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
            WorkerNote::SentTerm => self.feed(Event::Worker(id, WorkerEvent::SentTerm)),
            WorkerNote::Promoted => self.feed(Event::Worker(id, WorkerEvent::Promoted)),
            WorkerNote::PromotionRefused { why } => {
                self.feed(Event::Worker(id, WorkerEvent::PromotionRefused { why }))
            }
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
}
