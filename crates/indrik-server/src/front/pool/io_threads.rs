//! What io threads do between the tasks of connections: they take what workers send, wake workers, and look at
//! every tick for what nobody else notices.

use std::task::{Context, Waker};

use indrik_core::dispatch::Expired;
use indrik_core::ids::WorkerId;
use indrik_core::time::Micros;

use super::link::Link;
use super::placing::{Inner, Pool};
use super::published::Published;
use crate::front::clock;
use crate::front::events::FrontEvent;
use crate::front::exchange::Event;

/// With more requests than this at the workers an io thread does not look, but sleeps.
const SPIN_REQUESTS_MAX: usize = 2;
/// Memory that bodies have not needed for so long is given back.
const TRIM_PAUSE_US: Micros = 1_000_000;
/// Descriptors taken from one worker before others are looked at.
const BATCH_DESCRIPTORS_MAX: usize = 512;

/// What [`Pool::deliver`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Delivered {
    /// The worker has sent nothing more.
    Nothing,
    /// There is more.
    More,
    /// The worker is gone, or not to be trusted any more.
    Gone,
}

impl Pool {
    /// Takes what a worker has sent.
    /// `wakers` is scratch space, empty before and after.
    pub(crate) fn deliver(&self, id: WorkerId, now: Micros, wakers: &mut Vec<Waker>) -> Delivered {
        let mut inner = self.inner.lock();
        let Inner { links, wakers: ready, dispatch, trial, .. } = &mut *inner;
        let Some(link) = links.get_mut(&id).filter(|link| link.fault.is_none()) else {
            return Delivered::Gone;
        };
        let wanted_room = link.wants_room;
        let batch = link.deliver(BATCH_DESCRIPTORS_MAX, now, ready);
        let has_cleared = link.tell_cleared(dispatch);
        if let (true, Some(trial)) = (link.on_trial, trial) {
            trial.answers.all += batch.answers.all;
            trial.answers.errors += batch.answers.errors;
        }
        if batch.finished != 0 {
            dispatch.finished(id, batch.finished, now);
            self.count_requests(&mut inner, id, batch.finished, now);
            self.place_waiting(&mut inner, now);
            self.check_drained(&mut inner, id);
        } else if (wanted_room && dispatch.makes_room(id)) || has_cleared {
            self.place_waiting(&mut inner, now);
        }
        if let Some(fault) = batch.fault {
            self.condemn(&mut inner, id, fault, now);
        }
        std::mem::swap(&mut inner.wakers, wakers);
        drop(inner);
        wakers.drain(..).for_each(Waker::wake);
        match (batch.fault, batch.more) {
            (Some(_), _) => Delivered::Gone,
            (None, true) => Delivered::More,
            (None, false) => Delivered::Nothing,
        }
    }

    /// Waits until a worker has sent something.
    pub(crate) fn poll_wait(&self, id: WorkerId, cx: &mut Context<'_>) {
        let mut inner = self.inner.lock();
        if let Some(link) = inner.links.get_mut(&id) {
            link.drain_waker = Some(cx.waker().clone());
        }
    }

    /// Wakes the workers that sleep and have got something.
    pub(crate) fn wake_workers(&self) {
        self.inner.lock().wake_workers();
    }

    /// An io thread is about to sleep: worker channels are told to ring, sleeping workers are
    /// woken, and what came at the last moment is not overlooked.
    pub(crate) fn before_park(&self, thread: usize, threads: usize) {
        let mut wakers = Vec::new();
        let mut inner = self.inner.lock();
        inner.wake_workers();
        if threads == 1 {
            inner.spin();
        }
        for (id, link) in &mut inner.links {
            if id.0 as usize % threads == thread {
                link.copy_out_untaken();
                if link.must_look() {
                    wakers.extend(link.drain_waker.take());
                }
            }
        }
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A task that has more to do lets others run, so that its thread does not sleep: what happens before it
    /// sleeps happens now.
    pub(crate) fn between_turns(&self) {
        let mut wakers = Vec::new();
        let mut inner = self.inner.lock();
        inner.wake_workers();
        for link in inner.links.values_mut() {
            if link.has_sent() {
                wakers.extend(link.drain_waker.take());
            }
        }
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// An io thread is awake again: its workers need not ring.
    pub(crate) fn after_unpark(&self, thread: usize, threads: usize) {
        let inner = self.inner.lock();
        for (id, link) in &inner.links {
            if id.0 as usize % threads == thread {
                link.channel.responses.awake();
            }
        }
    }

    /// Ready when something is queued ahead, so that [`Self::tick`] is due within a millisecond.
    pub(crate) async fn queued_ahead(&self) {
        self.ahead.notified().await;
    }

    /// Whether [`Self::tick`] must be called within a millisecond or so.
    pub(crate) fn needs_fine_tick(&self) -> bool {
        self.inner.lock().dispatch.has_queued_ahead()
    }

    /// Takes back what is queued ahead at workers that turned slow, ends what waited too long, and wakes
    /// workers, should an io thread not have come to sleep since.
    pub(crate) fn tick(&self, now: Micros) {
        self.with(|inner| {
            inner.ahead_told = false;
            // A worker may hold finished responses back for the end of its batch.
            for link in inner.links.values_mut() {
                link.copy_out_untaken();
                if link.has_sent() {
                    inner.wakers.extend(link.drain_waker.take());
                }
            }
            while inner.lost.front().is_some_and(|(due, _)| *due <= now) {
                let Some((_, exchange)) = inner.lost.pop_front() else { break };
                inner.wakers.extend(exchange.put(Event::WorkerLost { started: true }));
            }
            while let Some((id, ahead)) = inner.dispatch.overdue(now) {
                self.take_back(inner, id, ahead);
            }
            self.look_for_faults(inner, now);
            if now.saturating_sub(inner.trimmed) >= TRIM_PAUSE_US {
                inner.trimmed = now;
                inner.links.values_mut().for_each(Link::trim_bodies);
            }
            self.look_at_intake(inner, now);
            while let Some(Expired { request, had_worker }) = inner.dispatch.expired(now) {
                if let Some(exchange) = inner.waiting.remove(&request.0) {
                    exchange.set_nowhere();
                    inner.wakers.extend(exchange.put(Event::QueueTimeout { had_worker }));
                }
            }
            self.place_waiting(inner, now);
            inner.wake_workers();
            self.publish(inner, now);
        });
    }

    /// Shows how things are to those who look at the server, some times a second.
    fn publish(&self, inner: &mut Inner, now: Micros) {
        let Some(since) = self.board.is_due(now) else { return };
        inner.links.values_mut().for_each(|link| link.was_seen(since));
        self.board.hang(Published {
            at: now,
            waiting: inner.waiting.len(),
            at_workers: inner.links.values().map(Link::in_use).sum(),
            counts: inner.counts,
            loads: inner.links.iter().map(|(id, link)| (*id, link.load())).collect(),
            oldest: inner.waiting.values().map(|exchange| exchange.arrived()).min(),
        });
    }

    fn count_requests(&self, inner: &mut Inner, id: WorkerId, finished: usize, now: Micros) {
        let Some(link) = inner.links.get_mut(&id) else { return };
        inner.counts.finished += finished as u64;
        if link.count_requests(finished as u64) {
            (self.sink)(FrontEvent::WorkerUsedUp(id));
        }
        if let Some(served) = link.news_of_served(finished as u64, now) {
            (self.sink)(FrontEvent::WorkerServed { worker: id, served });
        }
    }
}

impl Inner {
    /// Looks for an answer for a moment if one or two are awaited: with more, there is something
    /// to do soon in any case, and with none there is nothing to come.
    fn spin(&mut self) {
        let in_flight: usize = self.links.values().map(Link::in_use).sum();
        if !(1..=SPIN_REQUESTS_MAX).contains(&in_flight) {
            return;
        }
        let budget = Micros::from(self.spin.next_us());
        if budget == 0 {
            return;
        }
        let end = clock::now() + budget;
        while clock::now() < end {
            if self.links.values_mut().any(|link| link.has_sent()) {
                return self.spin.found();
            }
            for _ in 0..16 {
                std::hint::spin_loop();
            }
        }
        self.spin.missed();
    }
}
