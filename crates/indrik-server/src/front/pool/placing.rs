//! Who gets a request: the dispatcher, the channels of all workers, and the requests that wait.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use indrik_core::dispatch::{Dispatch, DispatchLimits, Key, Placement, RequestId};
use indrik_core::ids::WorkerId;
use indrik_core::spin::SpinBudget;
use indrik_core::time::Micros;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::bell;
use super::counts::{Counts, Trial};
use super::link::{Link, Push};
use super::published::Board;
use crate::front::ahead::Buffered;
use crate::front::clock;
use crate::front::descriptors::Descriptors;
use crate::front::events::{ChannelFault, EventSink, FrontEvent, Interface};
use crate::front::exchange::{Event, Exchange, Location};

/// How long an io thread looks for an answer before it sleeps, if workers have another core: a
/// quick application answers within it.
const SPIN_MAX_US: u32 = 40;

/// All workers.
pub(crate) struct Pool {
    pub(super) inner: Mutex<Inner>,
    pub(super) sink: EventSink,
    /// Whether a worker can run while an io thread does.
    pub(super) other_cores: bool,
    /// Rung when something is queued ahead for the first time since the last tick.
    pub(super) ahead: Notify,
    /// What the workers run, once one is ready.
    pub(super) interface: watch::Sender<Option<Interface>>,
    /// What the front holds of WSGI responses.
    pub(super) buffered: Arc<Buffered>,
    /// Files that applications send have their places there.
    pub(super) descriptors: Arc<Descriptors>,
    /// What others see without the lock.
    pub(super) board: Board,
}

pub(super) struct Inner {
    pub(super) dispatch: Dispatch,
    pub(super) links: BTreeMap<WorkerId, Link>,
    /// Requests in the central queue.
    pub(super) waiting: HashMap<u64, Arc<Exchange>, BuildHasherDefault<NumberHasher>>,
    /// Requests whose worker ended while it ran them, and when that is told to them.
    pub(super) lost: VecDeque<(Micros, Arc<Exchange>)>,
    pub(super) next_number: u64,
    /// Wakers to be called when the lock is free.
    pub(super) wakers: Vec<Waker>,
    pub(super) counts: Counts,
    pub(super) ahead_told: bool,
    /// Something was pushed since the workers were last woken.
    pub(super) pushed: bool,
    pub(super) spin: SpinBudget,
    /// The generation that has just taken over.
    pub(super) trial: Option<Trial>,
    /// When memory for bodies was given back last.
    pub(super) trimmed: Micros,
}

/// Hashes the numbers of requests, which are ours and no client's choice: they need no secret.
#[derive(Default)]
pub(super) struct NumberHasher(u64);

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // An odd factor: numbers in a row differ in their lowest bits, and well spread in the highest.
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// What became of a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Submitted {
    /// It is on its way; events will follow.
    Accepted,
    /// The queue is full.
    Refused,
    /// As many wait for the worker that it belongs to as may.
    ShareFull,
    /// The queue is full of requests that a pause holds.
    HeldFull,
    /// No worker's channel takes it.
    TooLarge,
}

impl Pool {
    pub(crate) fn new(
        limits: DispatchLimits,
        sink: EventSink,
        other_cores: bool,
        descriptors: &Arc<Descriptors>,
    ) -> Self {
        let inner = Inner {
            dispatch: Dispatch::new(limits),
            links: BTreeMap::new(),
            waiting: HashMap::default(),
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
            descriptors: Arc::clone(descriptors),
            board: Board::default(),
        }
    }

    /// Other limits, from the next request on.
    pub(crate) fn set_limits(&self, limits: DispatchLimits) {
        self.inner.lock().dispatch.set_limits(limits);
    }

    /// Runs `act` under the lock, then wakes whom it made ready.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
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
    pub(super) fn with_from_outside(&self, act: impl FnOnce(&mut Inner)) {
        self.with(|inner| {
            act(inner);
            inner.wake_workers();
        });
    }

    // --- a request's way

    /// Submits a request: to a worker, or into the queue.
    pub(crate) fn submit(&self, exchange: &Arc<Exchange>, now: Micros) -> Submitted {
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
                        Push::NoRoom => {
                            inner.wait_for(id, number, exchange, now);
                            inner.dispatch.lacks_room(id);
                            self.place_waiting(inner, now);
                        }
                        Push::Broken(fault) => {
                            inner.wait_for(id, number, exchange, now);
                            self.condemn(inner, id, fault, now);
                        }
                        Push::TooLarge => {
                            inner.dispatch.reclaimed(id);
                            return Submitted::TooLarge;
                        }
                        Push::Foreign => inner.turn_away(id, exchange, Event::InterfaceChanged),
                    }
                    Submitted::Accepted
                }
                Placement::Queued => {
                    inner.wait(number, exchange, now);
                    Submitted::Accepted
                }
                Placement::Refused => Submitted::Refused,
                Placement::ShareFull => Submitted::ShareFull,
                Placement::HeldFull => Submitted::HeldFull,
            }
        })
    }

    /// Submits a request again that lost its worker: first in line, with its own deadline.
    pub(crate) fn submit_again(&self, exchange: &Arc<Exchange>, arrived: Micros, now: Micros) {
        self.with(|inner| {
            let number = inner.next_number;
            inner.next_number += 1;
            inner.wait_again(number, exchange, arrived);
            self.place_waiting(inner, now);
        });
    }

    /// The answer to a request says under which key those come that belong to it.
    pub(crate) fn announced(&self, key: Key, exchange: &Exchange, now: Micros) {
        self.inner.lock().dispatch.announced(key, exchange.worker_id(), now);
    }

    /// The client's side has lost interest in a request.
    pub(crate) fn abandon(&self, exchange: &Arc<Exchange>) {
        self.with(|inner| match exchange.abandon() {
            Location::Nowhere | Location::Lost => {}
            Location::Queue(number) => {
                inner.waiting.remove(&number);
                inner.dispatch.forget(RequestId(number));
                exchange.set_nowhere();
            }
            Location::Worker { id, slot, generation } => {
                let Some(link) = inner.links.get_mut(&id) else { return };
                if link.reclaim(slot, generation) {
                    link.tell_cleared(&mut inner.dispatch);
                    inner.dispatch.reclaimed(id);
                    let now = clock::coarse();
                    self.place_waiting(inner, now);
                    self.check_drained(inner, id);
                } else if link.holds(slot, generation) {
                    link.tell_gone(slot, generation);
                    link.leave_line(slot, &mut inner.wakers);
                }
            }
        });
    }

    /// What the workers run; waits for the first one to be ready. What a body or an upgrade means
    /// depends on it. `None`: none was ready in time.
    pub(crate) async fn interface(&self, limit: Duration) -> Option<Interface> {
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
    pub(crate) fn known_interface(&self) -> Option<Interface> {
        *self.interface.borrow()
    }

    // --- under the lock

    /// A descriptor was pushed. The worker is woken at the end of the turn, if it sleeps.
    pub(super) fn after_push(&self, inner: &mut Inner) {
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
    pub(super) fn place_waiting(&self, inner: &mut Inner, now: Micros) {
        while let Some((RequestId(number), id)) = inner.dispatch.next(now) {
            let Some(exchange) = inner.waiting.remove(&number) else {
                inner.dispatch.reclaimed(id);
                inner.dispatch.cleared(id, RequestId(number));
                continue;
            };
            let Some(link) = inner.links.get_mut(&id) else { continue };
            match link.push_request(&exchange, exchange.arrived(), now) {
                Push::Done => self.after_push(inner),
                Push::NoRoom => {
                    // It may go to another worker; this one tells when it has made room.
                    inner.wait_for(id, number, &exchange, exchange.arrived());
                    inner.dispatch.lacks_room(id);
                }
                Push::Broken(fault) => {
                    inner.wait_for(id, number, &exchange, exchange.arrived());
                    // It places what waits at the others.
                    return self.condemn(inner, id, fault, now);
                }
                Push::TooLarge => inner.turn_away(id, &exchange, Event::TooLarge),
                Push::Foreign => inner.turn_away(id, &exchange, Event::InterfaceChanged),
            }
        }
    }

    /// Takes back up to `most` requests that lie unstarted in a worker's ring.
    pub(super) fn take_back(&self, inner: &mut Inner, id: WorkerId, most: usize) {
        let Some(link) = inner.links.get_mut(&id) else { return };
        // Newest first, so that each goes in front of the one that came after it.
        let taken = link.take_back(most);
        link.tell_cleared(&mut inner.dispatch);
        for exchange in taken {
            inner.dispatch.reclaimed(id);
            inner.counts.reclaimed += 1;
            // Its task still has the request and submits it again, in front of the queue.
            inner.wakers.extend(exchange.put(Event::WorkerLost { started: false }));
        }
    }

    pub(super) fn check_drained(&self, inner: &mut Inner, id: WorkerId) {
        let Some(link) = inner.links.get_mut(&id) else { return };
        if link.draining && link.live() == 0 && !link.drained {
            link.drained = true;
            (self.sink)(FrontEvent::WorkerDrained(id));
        }
    }

    /// A channel was found to be broken: its worker gets nothing more, what it has not started goes to
    /// others, and the supervisor replaces it. What it has started ends with it.
    pub(super) fn condemn(
        &self,
        inner: &mut Inner,
        id: WorkerId,
        fault: ChannelFault,
        now: Micros,
    ) {
        let Some(link) = inner.links.get_mut(&id) else { return };
        if link.fault.replace(fault).is_some() {
            return;
        }
        inner.dispatch.worker_draining(id);
        self.take_back(inner, id, usize::MAX);
        let Inner { links, dispatch, wakers, counts, .. } = inner;
        let untaken = links.get_mut(&id).map_or_else(Vec::new, Link::untaken);
        links.get_mut(&id).map(|link| link.tell_cleared(dispatch));
        for exchange in untaken {
            dispatch.reclaimed(id);
            counts.reclaimed += 1;
            exchange.set_lost();
            wakers.extend(exchange.put(Event::WorkerLost { started: false }));
        }
        self.place_waiting(inner, now);
        (self.sink)(FrontEvent::ChannelBroken(id, fault));
    }
}

impl Inner {
    /// Wakes the workers that sleep and have got something.
    pub(super) fn wake_workers(&mut self) {
        self.pushed = false;
        for link in self.links.values() {
            link.channel.flush();
        }
    }

    /// A request that the worker it was placed at cannot take, now or ever: it is told why.
    fn turn_away(&mut self, id: WorkerId, exchange: &Exchange, why: Event) {
        self.take_off(id, exchange);
        exchange.set_nowhere();
        self.wakers.extend(exchange.put(why));
    }

    /// A request that the worker it was placed at has no room for waits in its place in the queue.
    fn wait_for(&mut self, id: WorkerId, number: u64, exchange: &Arc<Exchange>, arrived: Micros) {
        self.take_off(id, exchange);
        self.wait_again(number, exchange, arrived);
    }

    /// A request is not at the worker that it was placed at.
    fn take_off(&mut self, id: WorkerId, exchange: &Exchange) {
        self.dispatch.reclaimed(id);
        if let Some(suspect) = exchange.suspect() {
            self.dispatch.cleared(id, suspect);
        }
    }

    fn wait_again(&mut self, number: u64, exchange: &Arc<Exchange>, arrived: Micros) {
        let (key, standing) = (exchange.outgoing.key, exchange.standing());
        self.dispatch.wait_again(RequestId(number), key, standing, arrived);
        self.wait(number, exchange, arrived);
    }

    fn wait(&mut self, number: u64, exchange: &Arc<Exchange>, arrived: Micros) {
        exchange.set_in_queue(number, arrived);
        self.waiting.insert(number, Arc::clone(exchange));
    }
}
