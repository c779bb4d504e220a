//! Reforks, performed: a worker's process becomes the zygote's, and the one before leaves.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::logs::level::Level;
use indrik_core::supervise::{Event, PoolEvent, WorkerEvent};
use indrik_sys::packets::PacketSocket;
use indrik_sys::signal::Signal;

use super::parts::{Drive, POOL, Timer};
use crate::hearing::Hearing;
use crate::zygote::{Request, Zygote};

/// How often requests are counted, where that decides something.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);

/// What tells a worker that it is to be a zygote; the socket comes with it.
const ORDER: &[u8] = br#"{"op":"turn"}"#;

impl Drive {
    /// Requests are counted from time to time, as a generation wants to refork.
    pub(super) fn begin_to_count(&mut self) {
        self.timers.set(Timer::Requests, Some(Instant::now() + COUNT_INTERVAL));
    }

    /// Tells a worker to be a zygote from now on. The word comes before the flag that ends its loop.
    pub(super) fn tell_to_be_zygote(&mut self, id: WorkerId) {
        let Some(worker) = self.children.workers.get_mut(&id) else { return };
        let sent = PacketSocket::pair().and_then(|(ours, theirs)| {
            worker.control.send(ORDER, &[theirs.as_fd()])?;
            Ok(ours)
        });
        match sent {
            Ok(socket) => worker.as_zygote = Some(socket),
            Err(error) => {
                let why = format!("it cannot be told: {error}");
                self.events.push(Event::Worker(id, WorkerEvent::PromotionRefused { why }));
            }
        }
    }

    pub(super) fn change_zygote(&mut self, generation: Generation, id: WorkerId) {
        let worker = self.children.workers.remove(&id);
        let process =
            worker.and_then(|worker| Some((worker.child?, worker.as_zygote?, worker.metrics)));
        self.usage.memory.forget(id);
        let Some((child, socket, metrics)) = process else {
            // It said that it can fork, so it was told and has a process.
            self.log.write(Level::Error, &format!("Worker {id} cannot be found to be the zygote"));
            self.events.push(Event::Pool(POOL, PoolEvent::OldZygoteExited));
            return;
        };
        let pid = child.pid();
        metrics.turn_zygote();
        let zygote = Zygote {
            child,
            socket,
            hearing: Hearing::default(),
            ready: true,
            again: false,
            logs: false,
            metrics: Some(metrics),
        };
        match self.children.zygotes.insert(generation, zygote) {
            Some(old) => {
                if let Err(error) = old.send(&Request::Exit { last: false }, &[]) {
                    let text = format!("Cannot tell the old zygote to leave: {error}");
                    self.log.write(Level::Warning, &text);
                }
                self.children.old_zygote = Some(old);
            }
            None => self.events.push(Event::Pool(POOL, PoolEvent::OldZygoteExited)),
        }
        self.spare_zygote(generation, pid);
    }

    pub(super) fn kill_old_zygote(&self) {
        if let Some(old) = &self.children.old_zygote
            && let Err(error) = old.child.signal(Signal::KILL)
        {
            self.log.write(Level::Error, &format!("Cannot kill the old zygote: {error}"));
        }
    }
}
