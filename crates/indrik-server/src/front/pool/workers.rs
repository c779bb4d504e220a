//! The workers as the supervisor sees them: they come, are held, drained and go, and what they do is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::time::Micros;

use super::counts::{Answers, Counts, Load, Trial};
use super::io_threads::Delivered;
use super::link::{Link, Push};
use super::new_worker::NewWorker;
use super::placing::Pool;
use super::published::Published;
use crate::front::exchange::{Event, Exchange};

/// How long a request that lost its worker while it ran waits before it is told, microseconds.
/// Workers often end together (`pkill`, the kernel out of memory); started anew at once, the request
/// would be at the next one that ends, and it may be started twice only.
const LOST_PAUSE_US: Micros = 50_000;

impl Pool {
    /// A worker's channel is there; it gets clients' requests when it is opened.
    pub(crate) fn add(&self, id: WorkerId, worker: NewWorker) {
        let mut inner = self.inner.lock();
        let on_trial = inner.trial.is_some_and(|trial| trial.generation == worker.generation);
        let link = Link::new(id, worker, on_trial, (&self.buffered, &self.descriptors));
        inner.links.insert(id, link);
    }

    /// A worker gets requests from now on, for the first time or again.
    pub(crate) fn open(&self, id: WorkerId, now: Micros) {
        self.with_from_outside(|inner| {
            let Some(link) = inner.links.get_mut(&id) else { return };
            if link.fault.is_some() {
                return;
            }
            self.interface.send_replace(Some(link.interface));
            link.open();
            let slots = usize::from(link.channel.slots.count());
            inner.dispatch.worker_up(id, link.capacity, slots);
            inner.dispatch.has_others(id, link.in_use(), now);
            self.place_waiting(inner, now);
        });
    }

    /// A worker gets no requests for now, and keeps what it has started.
    pub(crate) fn hold(&self, id: WorkerId, now: Micros) {
        self.with_from_outside(|inner| {
            inner.dispatch.worker_draining(id);
            self.take_back(inner, id, usize::MAX);
            self.place_waiting(inner, now);
        });
    }

    /// A worker that was held gets requests again.
    pub(crate) fn resume(&self, id: WorkerId, now: Micros) {
        self.with_from_outside(|inner| {
            let Some(link) = inner.links.get(&id) else { return };
            if link.fault.is_some() {
                return;
            }
            self.interface.send_replace(Some(link.interface));
            inner.dispatch.worker_resumes(id);
            self.place_waiting(inner, now);
        });
    }

    /// No request goes to a worker from now on; what none has begun comes back into the queue.
    pub(crate) fn hold_all(&self, now: Micros) {
        self.with_from_outside(|inner| {
            inner.dispatch.hold(now);
            let ids: Vec<WorkerId> = inner.links.keys().copied().collect();
            ids.into_iter().for_each(|id| self.take_back(inner, id, usize::MAX));
        });
    }

    /// What waits goes to workers again.
    pub(crate) fn release_all(&self, now: Micros) {
        self.with_from_outside(|inner| {
            inner.dispatch.release(now);
            self.place_waiting(inner, now);
        });
    }

    /// Gives a request to one worker, whether or not it is open. False: that is not possible.
    pub(crate) fn submit_to(&self, id: WorkerId, exchange: &Arc<Exchange>, now: Micros) -> bool {
        self.with(|inner| {
            let Some(link) = inner.links.get_mut(&id) else { return false };
            let pushed = matches!(link.push_request(exchange, now, now), Push::Done);
            link.channel.flush();
            pushed
        })
    }

    /// From now on the answers of this generation's workers are counted, beginning with none.
    pub(crate) fn begin_trial(&self, generation: Option<Generation>) {
        let mut inner = self.inner.lock();
        inner.trial =
            generation.map(|generation| Trial { generation, answers: Answers::default() });
        for link in inner.links.values_mut() {
            link.on_trial = generation == Some(link.generation);
        }
    }

    /// What has been counted, while a generation is on trial.
    pub(crate) fn trial(&self) -> Option<Answers> {
        self.inner.lock().trial.map(|trial| trial.answers)
    }

    pub(crate) fn drain(&self, id: WorkerId, now: Micros) {
        self.with_from_outside(|inner| {
            inner.dispatch.worker_draining(id);
            self.take_back(inner, id, usize::MAX);
            let Some(link) = inner.links.get_mut(&id) else { return };
            link.draining = true;
            let sockets = link.sockets();
            inner.wakers.extend(sockets.iter().filter_map(|socket| socket.put(Event::Leaving)));
            self.place_waiting(inner, now);
            self.check_drained(inner, id);
        });
    }

    /// A worker's process has ended: what becomes of its requests is decided now. `blameless`: it ended for
    /// none of them.
    pub(crate) fn gone(&self, id: WorkerId, blameless: bool, now: Micros) {
        // What it wrote before its end still counts.
        while self.deliver(id, now, &mut Vec::new()) == Delivered::More {}
        self.with_from_outside(|inner| {
            inner.dispatch.worker_down(id);
            let Some(mut link) = inner.links.remove(&id) else { return };
            let lost = link.close(now, &mut inner.wakers);
            if !blameless {
                lost.iter().for_each(|exchange| exchange.may_have_ended_worker());
            }
            let due = now + LOST_PAUSE_US;
            inner.lost.extend(lost.into_iter().map(|exchange| (due, exchange)));
            self.place_waiting(inner, now);
        });
    }

    /// Whether no request is waiting or at a worker.
    pub(crate) fn is_idle(&self) -> bool {
        let inner = self.inner.lock();
        inner.waiting.is_empty()
            && inner.lost.is_empty()
            && inner.links.values().all(|link| link.live() == 0)
    }

    pub(crate) fn stats(&self) -> (usize, usize, Counts) {
        let inner = self.inner.lock();
        let running = inner.links.values().map(Link::in_use).sum();
        (inner.waiting.len(), running, inner.counts)
    }

    pub(crate) fn by_route(&self) -> BTreeMap<WorkerId, Vec<(u16, u64)>> {
        let inner = self.inner.lock();
        inner.links.iter().map(|(id, link)| (*id, link.by_route.all())).collect()
    }

    /// The request that kept a worker from going on, as it was seen last.
    pub(crate) fn blocked_by(&self, id: WorkerId) -> Option<String> {
        self.inner.lock().links.get(&id)?.blocked_by.clone()
    }

    /// How the pool was a moment ago, for whoever looks at the server: without its lock.
    pub(crate) fn seen(&self) -> Arc<Published> {
        self.board.seen()
    }

    /// What each worker has done and does.
    pub(crate) fn loads(&self) -> BTreeMap<WorkerId, Load> {
        let inner = self.inner.lock();
        inner.links.iter().map(|(id, link)| (*id, link.load())).collect()
    }
}
