//! Which worker gets a request, and when.
//!
//! [`Dispatch`] keeps counts and the bounded central queue; it never sees a request's content. The
//! shell asks it where a request goes, tells it when workers finish, come and go, and performs what
//! it is told. It is work-conserving: a request waits only while no worker may take it, or while the
//! worker that has what it belongs to ([`Affinity`]) may not.
//!
//! * A request goes to the worker with the lowest share of its capacity in flight; ties go to the
//!   most recently used one, whose caches are warm.
//! * Beyond its capacity a worker may hold a few requests *queued ahead* in its ring, as many as it
//!   serves in [`DispatchLimits::queue_ahead_us`]; the hand-off between processes would otherwise
//!   cost more than the work. At the only worker there is it may be more
//!   ([`DispatchLimits::queue_ahead_alone_us`]). When such a worker turns slow they are reclaimed
//!   ([`Dispatch::overdue`]) and go to whoever is free.
//! * The queue is bounded and has a deadline per request, counted from its arrival.
//! * While an operator's pause lasts ([`Dispatch::hold`]) all of them wait, and that time is counted to none.
//! * Requests that may have ended a worker are run apart from one another ([`Standing`]).

mod affinity;
mod limits;
mod line;
mod pauses;
mod queue;
mod replay;
mod standing;
mod worker;

use std::collections::BTreeMap;

use affinity::Bindings;
pub use affinity::{
    AFFINITY_COOKIE, AFFINITY_KEYS_MAX, ANNOUNCED_WITHIN_BYTES, Affinity, BadAffinity, Key,
    announced_value, cookie_value, query_value,
};
pub use limits::DispatchLimits;
pub use line::Line;
use pauses::Pauses;
pub use queue::RequestId;
use queue::{Queue, Waiting};
pub use replay::{Fate, REPLAYS_MAX, Replay};
pub use standing::Standing;
use worker::Worker;

use crate::ids::WorkerId;
use crate::overtime::INTAKE_PAUSE_MAX_US;
use crate::time::Micros;

/// Where a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Placement {
    /// To this worker, now.
    Worker(WorkerId),
    /// It waits in the central queue.
    Queued,
    /// The queue is full.
    Refused,
    /// As many wait for the worker that it belongs to as may.
    ShareFull,
    /// The queue is full of requests that a pause holds.
    HeldFull,
}

/// A request whose time in the queue is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expired {
    /// Which one.
    pub request: RequestId,
    /// Some worker took requests at some time while it waited; else there was none all the time.
    pub had_worker: bool,
}

/// The dispatcher's decisions.
#[derive(Debug)]
pub struct Dispatch {
    limits: DispatchLimits,
    workers: BTreeMap<WorkerId, Worker>,
    queue: Queue,
    bindings: Bindings,
    /// Requests queued ahead at all workers together: while it is zero nothing can be overdue.
    ahead: usize,
    /// A counter that says which worker was used last.
    uses: u64,
    /// How often a worker began to take requests when no other one did.
    openings: u64,
    pauses: Pauses,
}

impl Dispatch {
    /// A dispatcher without workers.
    #[must_use]
    pub fn new(limits: DispatchLimits) -> Self {
        Self {
            limits,
            workers: BTreeMap::new(),
            queue: Queue::default(),
            bindings: Bindings::default(),
            ahead: 0,
            uses: 0,
            openings: 0,
            pauses: Pauses::default(),
        }
    }

    /// Goes on with other limits. What waits has its deadline by them, so that the first in line stays the first
    /// to be due.
    pub fn set_limits(&mut self, limits: DispatchLimits) {
        self.limits = limits;
        self.renew_deadlines();
    }

    /// From now on everything that comes waits, and nothing that waits has its time counted.
    pub fn hold(&mut self, now: Micros) {
        self.pauses.begin(now);
    }

    /// What waits goes to workers again. Ask [`Self::next`] afterwards.
    pub fn release(&mut self, now: Micros) {
        if self.pauses.end(now) {
            self.renew_deadlines();
        }
    }

    /// Whether a pause holds what comes.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.pauses.is_on()
    }

    fn renew_deadlines(&mut self) {
        let Self { limits, pauses, queue, .. } = self;
        let deadline = |arrived| limits.deadline(arrived).saturating_add(pauses.since(arrived));
        queue.all_mut().for_each(|waiting| waiting.deadline = deadline(waiting.arrived));
    }

    /// Until when a request that arrived then may wait; while a pause lasts it does not matter.
    fn deadline(&self, arrived: Micros) -> Micros {
        self.limits.deadline(arrived).saturating_add(self.pauses.since(arrived))
    }

    /// A worker is ready for `capacity` requests at once; its ring has room for `slots`. Ask
    /// [`Self::next`] afterwards.
    pub fn worker_up(&mut self, id: WorkerId, capacity: usize, slots: usize) {
        self.worker_down(id);
        self.openings += u64::from(self.ready_workers() == 0);
        self.workers.insert(id, Worker::new(capacity.min(slots), slots));
    }

    /// A worker gets no new requests any more.
    pub fn worker_draining(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.draining = true;
        }
    }

    /// A worker that got no new requests gets them again. Ask [`Self::next`] afterwards.
    pub fn worker_resumes(&mut self, id: WorkerId) {
        self.openings += u64::from(self.ready_workers() == 0);
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.draining = false;
        }
    }

    /// A worker is gone, with everything it held.
    pub fn worker_down(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.remove(&id) {
            self.ahead -= worker.ahead();
        }
    }

    /// Requests at a worker: running and queued ahead. `None`: there is no such worker.
    #[must_use]
    pub fn in_flight(&self, id: WorkerId) -> Option<usize> {
        self.workers.get(&id).map(|worker| worker.in_flight)
    }

    /// A request has arrived; it is counted at the worker that it is placed at. `key`: what it has in
    /// common with others that go to the same worker.
    pub fn arrive(&mut self, request: RequestId, key: Option<Key>, now: Micros) -> Placement {
        if !self.is_held()
            && self.queue.may_be_passed()
            && let Some(id) = self.place(key, Standing::Ordinary, now)
        {
            self.assign(id, key, now);
            return Placement::Worker(id);
        }
        if self.queue.len() >= self.limits.queue_requests_max {
            return if self.is_held() { Placement::HeldFull } else { Placement::Refused };
        }
        if self.waits_in_vain(key, now) {
            return Placement::ShareFull;
        }
        let (deadline, had_worker) = (self.deadline(now), self.ready_workers() != 0);
        let (arrived, openings) = (now, self.openings);
        let standing = Standing::Ordinary;
        let waiting = Waiting { request, key, standing, arrived, deadline, had_worker, openings };
        self.queue.push(waiting);
        Placement::Queued
    }

    /// A request that was reclaimed, or lost its worker, waits again: before all that arrived after
    /// it, with the deadline that follows from its own arrival. Never refused: it was admitted before.
    pub fn wait_again(
        &mut self,
        request: RequestId,
        key: Option<Key>,
        standing: Standing,
        arrived: Micros,
    ) {
        let (deadline, openings) = (self.deadline(arrived), self.openings);
        // It was at one.
        let had_worker = true;
        let waiting = Waiting { request, key, standing, arrived, deadline, had_worker, openings };
        self.queue.push_again(waiting);
    }

    /// The answer to a request says under which key those that belong to it come.
    pub fn announced(&mut self, key: Key, id: WorkerId, now: Micros) {
        self.bindings.bind(key, id, now);
    }

    /// The request that goes to a worker now, if any. To be asked until `None` whenever a worker
    /// came up, finished something or lost what was queued ahead.
    pub fn next(&mut self, now: Micros) -> Option<(RequestId, WorkerId)> {
        if self.is_held() {
            return None;
        }
        let suspect = self.first_to_place(Standing::Suspect, now);
        let ordinary = self.first_to_place(Standing::Ordinary, now);
        let found = [suspect, ordinary].into_iter().flatten();
        let (of, at, id) = found.min_by_key(|(of, at, _)| self.queue.row(*of)[*at].arrived)?;
        let waiting = self.queue.take(of, at)?;
        self.assign(id, waiting.key, now);
        if let (Standing::Suspect, Some(worker)) = (waiting.standing, self.workers.get_mut(&id)) {
            worker.apart.begins(waiting.request);
        }
        Some((waiting.request, id))
    }

    /// A request whose time in the queue is over; ask until `None`, and before [`Self::next`].
    pub fn expired(&mut self, now: Micros) -> Option<Expired> {
        if self.is_held() {
            return None;
        }
        let Waiting { request, had_worker, openings, .. } = self.queue.pop_expired(now)?;
        Some(Expired { request, had_worker: had_worker || openings != self.openings })
    }

    /// Whether a request that arrived then has waited long enough, wherever it waits: in the queue, or
    /// unstarted in a worker's ring.
    #[must_use]
    pub fn has_waited(&self, arrived: Micros, now: Micros) -> bool {
        !self.is_held() && self.deadline(arrived) <= now
    }

    /// A waiting request's client has left. False: it was not waiting.
    pub fn forget(&mut self, request: RequestId) -> bool {
        self.queue.remove(request)
    }

    /// A worker has finished `count` requests since it was asked last.
    pub fn finished(&mut self, id: WorkerId, count: usize, now: Micros) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let before = worker.ahead();
        worker.finished(count, now);
        self.ahead = self.ahead + worker.ahead() - before;
    }

    /// A request queued ahead at a worker has been taken back before it was started.
    pub fn reclaimed(&mut self, id: WorkerId) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let before = worker.ahead();
        worker.in_flight = worker.in_flight.saturating_sub(1);
        self.ahead = self.ahead + worker.ahead() - before;
    }

    /// A worker that is up has so many requests beside those that it was given from here: of its warm-up, which are
    /// not over yet. They end by [`Self::finished`].
    pub fn has_others(&mut self, id: WorkerId, count: usize, now: Micros) {
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let before = worker.ahead();
        worker.in_flight += count;
        worker.progress_at = now;
        self.ahead += worker.ahead() - before;
    }

    /// A suspect is at a worker no longer, or its answer has begun, which it did not come to before: others may
    /// be run there. Ask [`Self::next`] afterwards. Nothing, if it is no suspect.
    pub fn cleared(&mut self, id: WorkerId, request: RequestId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.apart.ends(request);
        }
    }

    /// Whether anything is queued ahead, so that [`Self::overdue`] has to be asked before long.
    #[must_use]
    pub const fn has_queued_ahead(&self) -> bool {
        self.ahead != 0
    }

    /// A worker that turned slow while requests are queued ahead at it, with how many: they are to be
    /// reclaimed. Soon, when another worker will take them sooner (it is free, or makes progress);
    /// else when they should rather wait in the central queue, where they have their deadline. It is
    /// taken as slow until it proves otherwise, and reported once per stall.
    pub fn overdue(&mut self, now: Micros) -> Option<(WorkerId, usize)> {
        if self.ahead == 0 {
            return None;
        }
        let (soon, alone) = (self.limits.reclaim_after_us, self.limits.reclaim_alone_after_us);
        let moves = self.workers.values().any(|worker| worker.moves(now, soon));
        let after = if moves { soon } else { alone };
        let mut workers = self.workers.iter_mut();
        let (id, worker) = workers.find(|(_, worker)| worker.is_overdue(now, after))?;
        worker.turn_slow(after);
        Some((*id, worker.ahead()))
    }

    /// A worker has left what was sent to it lying for too long although it may run more. True: it
    /// gets nothing more until it goes on, and what it has not started is to be reclaimed. False:
    /// nobody else would take that, so it stays where it is.
    pub fn stalls(&mut self, id: WorkerId, now: Micros) -> bool {
        let takes = |other: &Worker| !other.draining && other.stalled.is_none();
        let others = self.workers.iter().any(|(other, worker)| *other != id && takes(worker));
        let Some(worker) = self.workers.get_mut(&id) else { return false };
        let stands = now.saturating_sub(worker.progress_at) >= INTAKE_PAUSE_MAX_US;
        let begins = others && stands && worker.stalled.is_none();
        if begins {
            worker.stalled = Some(now);
        }
        begins
    }

    /// A worker takes what is sent to it. Ask [`Self::next`] afterwards if true.
    pub fn goes_on(&mut self, id: WorkerId) -> bool {
        self.workers.get_mut(&id).is_some_and(|worker| worker.stalled.take().is_some())
    }

    /// A worker's channel has no room for a request: it gets none until it makes some, and what waits may
    /// go to others.
    pub fn lacks_room(&mut self, id: WorkerId) {
        if let Some(worker) = self.workers.get_mut(&id) {
            worker.full = true;
        }
    }

    /// There may be room in a worker's channel again. Ask [`Self::next`] afterwards if true.
    pub fn makes_room(&mut self, id: WorkerId) -> bool {
        self.workers.get_mut(&id).is_some_and(|worker| std::mem::take(&mut worker.full))
    }

    /// Requests in the central queue.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// Workers that take requests.
    #[must_use]
    pub fn ready_workers(&self) -> usize {
        self.workers.values().filter(|worker| !worker.draining).count()
    }

    /// The first waiting request of that standing that some worker takes, and which one.
    fn first_to_place(&mut self, of: Standing, now: Micros) -> Option<(Standing, usize, WorkerId)> {
        if self.queue.row(of).is_empty() {
            return None;
        }
        // Without a worker for a request that any may have, there is none for the others either: what is
        // looked through is never more than those who wait for a worker of their own.
        let any = self.choose(of)?;
        (0..self.queue.row(of).len()).find_map(|at| {
            let key = self.queue.row(of)[at].key;
            let id = if key.is_none() { Some(any) } else { self.place(key, of, now) };
            id.map(|id| (of, at, id))
        })
    }

    fn choose(&self, of: Standing) -> Option<WorkerId> {
        let ahead_us = self.ahead_us();
        let takes = |worker: &Worker| worker.takes(of, &self.limits, ahead_us);
        let takers = self.workers.iter().filter(|(_, worker)| takes(worker));
        let better = takers.reduce(|best, other| if other.1.before(best.1) { other } else { best });
        better.map(|(id, _)| *id)
    }

    fn ahead_us(&self) -> Micros {
        if self.workers.len() == 1 {
            self.limits.queue_ahead_alone_us
        } else {
            self.limits.queue_ahead_us
        }
    }

    /// Who may take a request now: the worker that has its key, while there is one that takes
    /// requests at all; else the best.
    fn place(&mut self, key: Option<Key>, of: Standing, now: Micros) -> Option<WorkerId> {
        let Some(id) = key.and_then(|key| self.keeper(key, now)) else { return self.choose(of) };
        let ahead_us = self.ahead_us();
        let takes = self.workers.get(&id)?.takes(of, &self.limits, ahead_us);
        takes.then_some(id)
    }

    /// The worker that requests with a key wait for. None that is gone or about to leave, none that has stood
    /// still for too long, and none that has done nothing since the key came to it.
    fn keeper(&mut self, key: Key, now: Micros) -> Option<WorkerId> {
        let binding = self.bindings.get(key)?;
        let worker = self.workers.get(&binding.worker)?;
        let is_lost = worker.stalled.is_some_and(|since| {
            binding.since >= worker.progress_at
                || now.saturating_sub(since) >= self.limits.affinity_patience_us
        });
        (!worker.draining && !is_lost).then_some(binding.worker)
    }

    /// Whether a request would wait for its worker behind more than may: others have the rest of the queue.
    fn waits_in_vain(&mut self, key: Option<Key>, now: Micros) -> bool {
        let Some(key) = key else { return false };
        if self.workers.len() < 2 || self.keeper(key, now).is_none() {
            return false;
        }
        let (bound, mine) = self.queue.with_key(key);
        bound >= self.limits.bound_requests_max() || mine >= self.limits.key_requests_max()
    }

    fn assign(&mut self, id: WorkerId, key: Option<Key>, now: Micros) {
        if let Some(key) = key {
            self.bindings.bind(key, id, now);
        }
        let Some(worker) = self.workers.get_mut(&id) else { return };
        let before = worker.ahead();
        self.uses += 1;
        worker.assign(now, self.uses);
        self.ahead += worker.ahead() - before;
    }
}

#[cfg(test)]
mod tests;
