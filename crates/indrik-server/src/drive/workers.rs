//! The workers' processes, channels and messages.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::AsFd as _;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::logs::level::Level;
use indrik_core::memory::watch::Limits;
use indrik_core::supervise::policy::requests_max;
use indrik_core::supervise::{Event, WorkerEvent};
use indrik_ring::{FrontChannel, channel_pair};
use indrik_sys::packets::PacketSocket;
use indrik_sys::process::Child;
use indrik_sys::rights;

use super::parts::{Drive, FrontEnds, Stacks, Worker};
use crate::app_metrics::Owner;
use crate::front::{Interface, NewWorker, channel_limits};
use crate::hearing::Hearing;
use crate::zygote::{Request, WorkerFds};

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
        // The front reads all its ends of the channel, and waits for none.
        for end in [front_end.worker.as_fd(), front_end.wake.as_fd()] {
            rights::refuse(end);
        }
        let front = FrontChannel::open_closing(front_end, limits, rights::close_apart)?;
        let (control, control_theirs) = PacketSocket::pair()?;
        let (stacks, stacks_theirs) = Stacks::create()?;
        let (lane, lane_theirs) = PacketSocket::pair()?;
        let bytes = usize::try_from(config.app_metrics_max).unwrap_or(usize::MAX);
        let place = self.machine.views().find(|view| view.id == id).map_or(0, |view| view.place);
        let metrics = self.outside.admin.board.app_metrics().lease(
            Owner::Worker(id, place),
            generation,
            bytes,
        )?;
        let fds = WorkerFds {
            channel,
            control: control_theirs,
            stacks: stacks_theirs,
            lane: lane_theirs,
            metrics: &metrics,
        };
        let zygote = self.children.zygotes.get(&generation);
        let zygote = zygote.ok_or_else(|| io::Error::other("its zygote has ended"))?;
        zygote.send(&Request::Fork { worker: id }, &fds.in_order())?;
        let worker = Worker {
            generation,
            child: None,
            control,
            control_open: true,
            hearing: Hearing::default(),
            flags: front.control(),
            front_ends: Some(FrontEnds { channel: front, lane: lane.into() }),
            bell,
            interface: Interface::Wsgi,
            class: config.worker_class,
            capacity: 1,
            last_words: String::new(),
            as_zygote: None,
            stacks,
            metrics,
        };
        self.children.workers.insert(id, worker);
        Ok(())
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

    pub(super) fn shut_down_worker(&self, id: WorkerId) {
        if let Some(worker) = self.children.workers.get(&id) {
            worker.flags.shut_down();
            // One that has lost its end of it is noticed by its beats.
            let _ = worker.bell.ring();
        }
    }
}
