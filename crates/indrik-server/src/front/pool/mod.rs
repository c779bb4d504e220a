//! The workers, seen from the front: who gets a request, and what comes back.
//!
//! One lock guards the dispatcher and all channels; it is held for the time of a decision and a
//! copy, never over a system call that can block. Tasks are woken after it is free.

mod bell;
mod bodies;
mod deliver;
mod fault;
mod link;
mod overtime;
mod pieces;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use indrik_core::dispatch::{Dispatch, DispatchLimits, Key, Micros, Placement, RequestId};
use indrik_core::ids::{Generation, WorkerId};
use indrik_core::spin::SpinBudget;
use indrik_ring::FrontChannel;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::ahead::Buffered;
use super::clock;
use super::events::{EventSink, FrontEvent, Interface};
use super::exchange::{Event, Exchange, Place};
pub(super) use bell::answer;
use link::{Link, Push};
pub(super) use overtime::Looks;
pub use overtime::Running;
pub(super) use pieces::Piece;

/// How long an io thread looks for an answer before it sleeps, if workers have another core: a
/// quick application answers within it.
const SPIN_MAX_US: u32 = 40;
/// With more requests than this at the workers an io thread does not look, but sleeps.
const SPIN_REQUESTS_MAX: usize = 2;
/// How long a request that lost its worker while it ran waits before it is settled, microseconds.
/// Workers often end together (`pkill`, the kernel out of memory); started anew at once, the request
/// would be at the next one that ends, and it may be started twice only.
const LOST_PAUSE_US: Micros = 50_000;
/// Memory that bodies have not needed for so long is given back.
const TRIM_PAUSE_US: Micros = 1_000_000;
/// Descriptors taken from one worker before others get their turn.
const BATCH_DESCRIPTORS_MAX: usize = 512;

/// A worker that is ready for requests.
pub struct NewWorker {
    /// Its process.
    pub pid: u32,
    /// The front's end of its channel.
    pub channel: FrontChannel,
    /// What it runs.
    pub interface: Interface,
    /// Requests it can run at once.
    pub capacity: usize,
    /// Requests after which it is to be replaced; 0: never.
    pub requests_max: u64,
    /// Whose code it runs.
    pub generation: Generation,
    /// Whether [`FrontEvent::WorkerServed`] is wanted.
    pub tells_served: bool,
}

/// All workers.
pub(super) struct Pool {
    inner: Mutex<Inner>,
    sink: EventSink,
    /// Whether a worker can run while an io thread does.
    other_cores: bool,
    /// Rung when something is queued ahead for the first time since the last tick.
    ahead: Notify,
    /// What the workers run, once one is ready.
    interface: watch::Sender<Option<Interface>>,
    /// What the front holds of WSGI responses.
    buffered: Arc<Buffered>,
}

struct Inner {
    dispatch: Dispatch,
    links: BTreeMap<WorkerId, Link>,
    /// Requests in the central queue.
    waiting: HashMap<u64, Arc<Exchange>>,
    /// Requests whose worker ended while it ran them, and when that is told to them.
    lost: VecDeque<(Micros, Arc<Exchange>)>,
    next_number: u64,
    /// Wakers to be called when the lock is free.
    wakers: Vec<Waker>,
    counts: Counts,
    ahead_told: bool,
    /// Something was pushed since the workers were last woken.
    pushed: bool,
    spin: SpinBudget,
    /// The generation that has just taken over.
    trial: Option<Trial>,
    /// When memory for bodies was given back last.
    trimmed: Micros,
}

#[derive(Clone, Copy, Debug)]
struct Trial {
    generation: Generation,
    answers: Answers,
}

/// What a generation answered since its trial began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    /// All of them, and the requests that were never answered.
    pub all: u64,
    /// Those with a status of 500 and above, and the requests that failed or timed out.
    pub errors: u64,
}

/// What has been counted since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Counts {
    pub refused: u64,
    pub queue_timeouts: u64,
    pub reclaimed: u64,
    pub timed_out: u64,
}

/// One worker's requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Finished since it was added.
    pub served: u64,
    /// At the worker now, those queued ahead included.
    pub in_flight: usize,
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Submitted {
    /// It is on its way; events will follow.
    Accepted,
    /// The queue is full.
    Refused,
    /// No worker's channel takes it.
    TooLarge,
}

impl Pool {
    pub(super) fn new(limits: DispatchLimits, sink: EventSink, other_cores: bool) -> Self {
        let inner = Inner {
            dispatch: Dispatch::new(limits),
            links: BTreeMap::new(),
            waiting: HashMap::new(),
            lost: VecDeque::new(),
            next_number: 0,
            wakers: Vec::new(),
            counts: Counts::default(),
            ahead_told: false,
            pushed: false,
            spin: SpinBudget::new(if other_cores { SPIN_MAX_US } else { 0 }),
            trial: None,
            trimmed: 0,
        };
        Self {
            inner: Mutex::new(inner),
            sink,
            other_cores,
            ahead: Notify::new(),
            interface: watch::Sender::new(None),
            buffered: Arc::default(),
        }
    }

    /// Other limits, from the next request on.
    pub(super) fn set_limits(&self, limits: DispatchLimits) {
        self.inner.lock().dispatch.set_limits(limits);
    }

    /// Runs `act` under the lock, then wakes whom it made ready.
    fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock();
        let result = act(&mut inner);
        if inner.wakers.is_empty() {
            return result;
        }
        let mut wakers = std::mem::take(&mut inner.wakers);
        drop(inner);
        for waker in wakers.drain(..) {
            waker.wake();
        }
        // Give the allocation back; what came in between is in the other one.
        let mut inner = self.inner.lock();
        if inner.wakers.is_empty() {
            inner.wakers = wakers;
        }
        result
    }

    /// The same on a thread that does not come to [`Self::before_park`].
    fn with_from_outside(&self, act: impl FnOnce(&mut Inner)) {
        self.with(|inner| {
            act(inner);
            inner.wake_workers();
        });
    }

    // --- a request's way

    /// Submits a request: to a worker, or into the queue.
    pub(super) fn submit(&self, exchange: &Arc<Exchange>, now: Micros) -> Submitted {
        self.with(|inner| {
            let number = inner.next_number;
            inner.next_number += 1;
            match inner.dispatch.arrive(RequestId(number), exchange.outgoing.key, now) {
                Placement::Worker(id) => {
                    let Some(link) = inner.links.get_mut(&id) else {
                        return Submitted::Refused;
                    };
                    match link.push_request(exchange, now, now) {
                        Push::Done => self.after_push(inner),
                        Push::Later => inner.wait_for(id, number, exchange, now),
                        Push::Broken(fault) => {
                            inner.wait_for(id, number, exchange, now);
                            self.condemn(inner, id, fault, now);
                        }
                        Push::TooLarge => {
                            inner.dispatch.reclaimed(id);
                            return Submitted::TooLarge;
                        }
                        Push::Foreign => inner.turn_away(id, exchange, Event::QueueTimeout),
                    }
                    Submitted::Accepted
                }
                Placement::Queued => {
                    inner.wait(number, exchange, now);
                    Submitted::Accepted
                }
                Placement::Refused => {
                    inner.counts.refused += 1;
                    Submitted::Refused
                }
            }
        })
    }

    /// Submits a request again that lost its worker: first in line, with its own deadline.
    pub(super) fn submit_again(&self, exchange: &Arc<Exchange>, arrived: Micros, now: Micros) {
        self.with(|inner| {
            let number = inner.next_number;
            inner.next_number += 1;
            inner.dispatch.wait_again(RequestId(number), exchange.outgoing.key, arrived);
            inner.wait(number, exchange, arrived);
            self.place_waiting(inner, now);
        });
    }

    /// The answer to a request says under which key those come that belong to it.
    pub(super) fn announced(&self, key: Key, exchange: &Exchange) {
        self.inner.lock().dispatch.announced(key, exchange.worker_id());
    }

    /// The client's side has lost interest in a request.
    pub(super) fn abandon(&self, exchange: &Arc<Exchange>) {
        self.with(|inner| match exchange.abandon() {
            Place::Nowhere => {}
            Place::Queue(number) => {
                inner.waiting.remove(&number);
                inner.dispatch.forget(RequestId(number));
                exchange.set_nowhere();
            }
            Place::Worker { id, slot, generation } => {
                let Some(link) = inner.links.get_mut(&id) else { return };
                if link.reclaim(slot, generation) {
                    inner.dispatch.reclaimed(id);
                    let now = clock::coarse();
                    self.place_waiting(inner, now);
                    self.check_drained(inner, id);
                } else {
                    link.tell_gone(slot, generation);
                }
            }
        });
    }

    // --- the supervisor's side

    /// A worker's channel is there; it gets clients' requests when it is opened.
    pub(super) fn add(&self, id: WorkerId, worker: NewWorker) {
        let mut inner = self.inner.lock();
        let on_trial = inner.trial.is_some_and(|trial| trial.generation == worker.generation);
        inner.links.insert(id, Link::new(id, worker, on_trial, &self.buffered));
    }

    /// A worker gets requests from now on, for the first time or again.
    pub(super) fn open(&self, id: WorkerId, now: Micros) {
        self.with_from_outside(|inner| {
            let Some(link) = inner.links.get_mut(&id) else { return };
            if link.fault.is_some() {
                return;
            }
            self.interface.send_replace(Some(link.interface));
            link.open();
            let slots = usize::from(link.channel.slots.count());
            inner.dispatch.worker_up(id, link.capacity, slots);
            self.place_waiting(inner, now);
        });
    }

    /// A worker gets no requests for now, and keeps what it has started.
    pub(super) fn hold(&self, id: WorkerId, now: Micros) {
        self.with_from_outside(|inner| {
            inner.dispatch.worker_draining(id);
            self.take_back(inner, id, usize::MAX);
            self.place_waiting(inner, now);
        });
    }

    /// A worker that was held gets requests again.
    pub(super) fn resume(&self, id: WorkerId, now: Micros) {
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

    /// Gives a request to one worker, whether or not it is open. False: that is not possible.
    pub(super) fn submit_to(&self, id: WorkerId, exchange: &Arc<Exchange>, now: Micros) -> bool {
        self.with(|inner| {
            let Some(link) = inner.links.get_mut(&id) else { return false };
            let pushed = matches!(link.push_request(exchange, now, now), Push::Done);
            link.channel.flush();
            pushed
        })
    }

    /// From now on the answers of this generation's workers are counted, beginning with none.
    pub(super) fn begin_trial(&self, generation: Option<Generation>) {
        let mut inner = self.inner.lock();
        inner.trial =
            generation.map(|generation| Trial { generation, answers: Answers::default() });
        for link in inner.links.values_mut() {
            link.on_trial = generation == Some(link.generation);
        }
    }

    /// What has been counted, while a generation is on trial.
    pub(super) fn trial(&self) -> Option<Answers> {
        self.inner.lock().trial.map(|trial| trial.answers)
    }

    pub(super) fn drain(&self, id: WorkerId, now: Micros) {
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

    /// A worker's process has ended: everything it had is settled now.
    pub(super) fn gone(&self, id: WorkerId, now: Micros) {
        // What it wrote before its end still counts.
        while self.deliver(id, now, &mut Vec::new()) == Delivered::More {}
        self.with_from_outside(|inner| {
            inner.dispatch.worker_down(id);
            let Some(mut link) = inner.links.remove(&id) else { return };
            let lost = link.close(&mut inner.wakers);
            let due = now + LOST_PAUSE_US;
            inner.lost.extend(lost.into_iter().map(|exchange| (due, exchange)));
            self.place_waiting(inner, now);
        });
    }

    /// Whether no request is waiting or at a worker.
    pub(super) fn is_idle(&self) -> bool {
        let inner = self.inner.lock();
        inner.waiting.is_empty()
            && inner.lost.is_empty()
            && inner.links.values().all(|link| link.live() == 0)
    }

    pub(super) fn stats(&self) -> (usize, usize, Counts) {
        let inner = self.inner.lock();
        let running = inner.links.values().map(Link::in_use).sum();
        (inner.waiting.len(), running, inner.counts)
    }

    pub(super) fn loads(&self) -> BTreeMap<WorkerId, Load> {
        let inner = self.inner.lock();
        inner.links.iter().map(|(id, link)| (*id, link.load())).collect()
    }

    // --- the io threads' side

    /// Takes what a worker has sent.
    /// `wakers` is scratch space, empty before and after.
    pub(super) fn deliver(&self, id: WorkerId, now: Micros, wakers: &mut Vec<Waker>) -> Delivered {
        let mut inner = self.inner.lock();
        let Inner { links, wakers: ready, dispatch, trial, .. } = &mut *inner;
        let Some(link) = links.get_mut(&id).filter(|link| link.fault.is_none()) else {
            return Delivered::Gone;
        };
        let batch = link.deliver(BATCH_DESCRIPTORS_MAX, now, ready, &self.buffered);
        if let (true, Some(trial)) = (link.on_trial, trial) {
            trial.answers.all += batch.answers.all;
            trial.answers.errors += batch.answers.errors;
        }
        if batch.finished != 0 {
            dispatch.finished(id, batch.finished, now);
            self.count_requests(&mut inner, id, batch.finished, now);
            self.place_waiting(&mut inner, now);
            self.check_drained(&mut inner, id);
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
    pub(super) fn poll_wait(&self, id: WorkerId, cx: &mut Context<'_>) {
        let mut inner = self.inner.lock();
        if let Some(link) = inner.links.get_mut(&id) {
            link.drain_waker = Some(cx.waker().clone());
        }
    }

    /// Wakes the workers that sleep and have got something.
    pub(super) fn wake_workers(&self) {
        self.inner.lock().wake_workers();
    }

    /// An io thread is about to sleep: worker channels are told to ring, sleeping workers are
    /// woken, and what came at the last moment is not overlooked.
    pub(super) fn before_park(&self, thread: usize, threads: usize) {
        let mut wakers = Vec::new();
        let mut inner = self.inner.lock();
        inner.wake_workers();
        if threads == 1 {
            inner.spin();
        }
        for (id, link) in &mut inner.links {
            if id.0 as usize % threads == thread && link.must_look() {
                wakers.extend(link.drain_waker.take());
            }
        }
        drop(inner);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A task that has more to do lets others run, so that its thread does not sleep: what happens before it
    /// sleeps happens now.
    pub(super) fn between_turns(&self) {
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
    pub(super) fn after_unpark(&self, thread: usize, threads: usize) {
        let inner = self.inner.lock();
        for (id, link) in &inner.links {
            if id.0 as usize % threads == thread {
                link.channel.responses.awake();
            }
        }
    }

    /// Ready when something is queued ahead, so that [`Self::tick`] is due within a millisecond.
    pub(super) async fn queued_ahead(&self) {
        self.ahead.notified().await;
    }

    /// What the workers run; waits for the first one to be ready. What a body or an upgrade means
    /// depends on it. `None`: none was ready in time.
    pub(super) async fn interface(&self, limit: Duration) -> Option<Interface> {
        if let Some(interface) = *self.interface.borrow() {
            return Some(interface);
        }
        let mut interface = self.interface.subscribe();
        let known = interface.wait_for(Option::is_some);
        if limit.is_zero() {
            return *known.await.ok()?;
        }
        *tokio::time::timeout(limit, known).await.ok()?.ok()?
    }

    /// What the workers run, if one has been ready.
    pub(super) fn known_interface(&self) -> Option<Interface> {
        *self.interface.borrow()
    }

    /// Whether [`Self::tick`] must be called within a millisecond or so.
    pub(super) fn needs_fine_tick(&self) -> bool {
        self.inner.lock().dispatch.has_queued_ahead()
    }

    /// Takes back what is queued ahead at workers that turned slow, ends what waited too long, and wakes
    /// workers, should an io thread not have come to sleep since.
    pub(super) fn tick(&self, now: Micros) {
        self.with(|inner| {
            inner.ahead_told = false;
            // A worker may hold finished responses back for the end of its batch.
            for link in inner.links.values_mut() {
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
            while let Some(RequestId(number)) = inner.dispatch.expired(now) {
                inner.counts.queue_timeouts += 1;
                if let Some(exchange) = inner.waiting.remove(&number) {
                    exchange.set_nowhere();
                    inner.wakers.extend(exchange.put(Event::QueueTimeout));
                }
            }
            self.place_waiting(inner, now);
            inner.wake_workers();
        });
    }

    // --- under the lock

    /// A descriptor was pushed. The worker is woken at the end of the turn, if it sleeps.
    fn after_push(&self, inner: &mut Inner) {
        if !inner.ahead_told && inner.dispatch.has_queued_ahead() {
            inner.ahead_told = true;
            self.ahead.notify_one();
        }
        let first = !std::mem::replace(&mut inner.pushed, true);
        // On the only core the worker would only interrupt the thread: that sleeps first.
        if first && self.other_cores {
            bell::ring();
        }
    }

    /// Gives waiting requests to workers that may take them.
    fn place_waiting(&self, inner: &mut Inner, now: Micros) {
        while let Some((RequestId(number), id)) = inner.dispatch.next(now) {
            let Some(exchange) = inner.waiting.remove(&number) else {
                inner.dispatch.reclaimed(id);
                continue;
            };
            let Some(link) = inner.links.get_mut(&id) else { continue };
            match link.push_request(&exchange, exchange.arrived(), now) {
                Push::Done => self.after_push(inner),
                Push::Later => {
                    // The worker makes room with its next answer; that asks here again.
                    inner.wait_for(id, number, &exchange, exchange.arrived());
                    break;
                }
                Push::Broken(fault) => {
                    inner.wait_for(id, number, &exchange, exchange.arrived());
                    // It places what waits at the others.
                    return self.condemn(inner, id, fault, now);
                }
                Push::TooLarge => inner.turn_away(id, &exchange, Event::TooLarge),
                Push::Foreign => inner.turn_away(id, &exchange, Event::QueueTimeout),
            }
        }
    }

    /// Takes back up to `most` requests that lie unstarted in a worker's ring.
    fn take_back(&self, inner: &mut Inner, id: WorkerId, most: usize) {
        let Some(link) = inner.links.get_mut(&id) else { return };
        // Newest first, so that each goes in front of the one that came after it.
        for exchange in link.take_back(most) {
            inner.dispatch.reclaimed(id);
            inner.counts.reclaimed += 1;
            // Its task still has the request and submits it again, in front of the queue.
            inner.wakers.extend(exchange.put(Event::WorkerLost { started: false }));
        }
    }

    fn count_requests(&self, inner: &mut Inner, id: WorkerId, finished: usize, now: Micros) {
        let Some(link) = inner.links.get_mut(&id) else { return };
        if link.count_requests(finished as u64) {
            (self.sink)(FrontEvent::WorkerUsedUp(id));
        }
        if let Some(served) = link.news_of_served(finished as u64, now) {
            (self.sink)(FrontEvent::WorkerServed { worker: id, served });
        }
    }

    fn check_drained(&self, inner: &mut Inner, id: WorkerId) {
        let Some(link) = inner.links.get_mut(&id) else { return };
        if link.draining && link.live() == 0 && !link.drained {
            link.drained = true;
            (self.sink)(FrontEvent::WorkerDrained(id));
        }
    }
}

impl Inner {
    /// Wakes the workers that sleep and have got something.
    fn wake_workers(&mut self) {
        self.pushed = false;
        for link in self.links.values() {
            link.channel.flush();
        }
    }

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

    /// A request that the worker it was placed at cannot take, now or ever: it is told why.
    fn turn_away(&mut self, id: WorkerId, exchange: &Exchange, why: Event) {
        self.dispatch.reclaimed(id);
        exchange.set_nowhere();
        self.wakers.extend(exchange.put(why));
    }

    /// A request that the worker it was placed at has no room for waits in its place in the queue.
    fn wait_for(&mut self, id: WorkerId, number: u64, exchange: &Arc<Exchange>, arrived: Micros) {
        self.dispatch.reclaimed(id);
        self.dispatch.wait_again(RequestId(number), exchange.outgoing.key, arrived);
        self.wait(number, exchange, arrived);
    }

    fn wait(&mut self, number: u64, exchange: &Arc<Exchange>, arrived: Micros) {
        exchange.set_in_queue(number, arrived);
        self.waiting.insert(number, Arc::clone(exchange));
    }
}

/// What [`Pool::deliver`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Delivered {
    /// The worker has sent nothing more.
    Nothing,
    /// There is more.
    More,
    /// The worker is gone, or not to be trusted any more.
    Gone,
}
