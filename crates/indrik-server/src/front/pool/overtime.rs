//! Requests that run too long, and workers that stand still: looked for a few times a second.
//!
//! What is decided is `indrik_core::overtime`'s; here it is carried out.

use std::collections::BTreeSet;
use std::sync::Arc;

use indrik_core::ids::WorkerId;
use indrik_core::lane::RouteId;
use indrik_core::overtime::{Step, Verdict, verdict};
use indrik_core::time::Micros;
use indrik_ring::{CreditWait, Descriptor, Flags, Kind, RequestHead, STOP_OVERTIME, SlotState};

use super::super::events::{FrontEvent, Interface};
use super::super::exchange::{Event, Exchange};
use super::link::{Interrupt, Link, Slot};
use super::placing::{Inner, Pool};

/// Characters of a request's target that are shown.
const TARGET_CHARS_MAX: usize = 500;

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looks {
    /// The limit of sync workers, Gunicorn's; 0: none.
    pub(crate) timeout_us: Micros,
    /// Requests may run longer while no other one waits.
    pub(crate) only_if_queued: bool,
}

/// A request that a worker has, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// Its slot, and which use of it.
    pub place: (u16, u32),
    /// Its method.
    pub method: String,
    /// Its target, shortened.
    pub target: String,
    /// The route that the application chose, if it is known.
    pub route: Option<String>,
    /// Its client; empty for a Unix socket.
    pub client: String,
    /// For how long the application has had it, in microseconds.
    pub age_us: u64,
    /// It has been answered 504, because it ran too long.
    pub is_over: bool,
    /// Its answer has begun.
    pub is_answered: bool,
    /// Its worker goes on only when its client has taken more of the answer.
    pub waits_for_client: bool,
}

impl Pool {
    /// Looks for requests that ran longer than Gunicorn's `timeout`, where it limits them.
    pub(crate) fn check_timeouts(&self, looks: Looks, now: Micros) {
        self.with(|inner| {
            let is_queue_empty = inner.dispatch.waiting() == 0;
            let Inner { links, wakers, counts, trial, .. } = inner;
            for (id, link) in links {
                if link.interface != Interface::Wsgi || link.capacity != 1 {
                    // Threads and event loops are watched by their heartbeat, as in Gunicorn.
                    continue;
                }
                let is_alone = is_queue_empty && link.in_use() <= link.capacity;
                let spared = looks.only_if_queued && is_alone;
                let after = looks.timeout_us;
                let limit = if spared { Micros::MAX } else { after };
                for exchange in link.stuck(limit, now) {
                    counts.timed_out += 1;
                    link.counts_as_error(trial, 1);
                    exchange.was_run_for(after, now);
                    wakers.extend(exchange.put(Event::TimedOut { after }));
                    (self.sink)(FrontEvent::RequestStuck(*id));
                }
            }
        });
    }

    /// Looks for requests that ran longer than their own limit.
    pub(crate) fn look_for_overtime(&self, only_if_queued: bool, now: Micros) {
        self.with(|inner| {
            let is_queue_empty = inner.dispatch.waiting() == 0;
            let mut given_up = Vec::new();
            let Inner { links, wakers, counts, trial, .. } = inner;
            for (id, link) in links {
                if link.in_use() == 0 {
                    continue;
                }
                let is_alone = is_queue_empty && link.in_use() <= link.capacity;
                let found = link.over_time(only_if_queued && is_alone, now);
                if !found.cancelled.is_empty() {
                    counts.timed_out += found.cancelled.len() as u64;
                    link.counts_as_error(trial, found.cancelled.len() as u64);
                    let tell = |it: &Arc<Exchange>| {
                        it.was_run_for(it.limit, now);
                        it.put(Event::TimedOut { after: it.limit })
                    };
                    wakers.extend(found.cancelled.iter().filter_map(tell));
                    (self.sink)(FrontEvent::Interrupt(*id));
                }
                if let Some(verdict) = found.given_up {
                    (self.sink)(match verdict {
                        Verdict::Hangs => FrontEvent::RequestHangs(*id),
                        Verdict::Stuck => FrontEvent::RequestStuck(*id),
                    });
                    given_up.push(*id);
                }
            }
            for id in given_up {
                self.check_drained(inner, id);
            }
        });
    }

    /// A worker's main loop stands still: its started requests are answered, if they can be.
    pub(crate) fn answer_timed_out(&self, id: WorkerId, now: Micros) {
        self.with(|inner| {
            let Inner { links, wakers, counts, trial, .. } = inner;
            let Some(link) = links.get_mut(&id) else { return };
            for (exchange, since) in link.started() {
                let after = now.saturating_sub(since);
                counts.timed_out += 1;
                link.counts_as_error(trial, 1);
                exchange.was_run_for(after, now);
                wakers.extend(exchange.put(Event::TimedOut { after }));
            }
        });
    }

    /// Takes back what a worker leaves lying that could run it: its loop is blocked, or a thread keeps
    /// the interpreter's lock.
    pub(super) fn look_at_intake(&self, inner: &mut Inner, now: Micros) {
        let mut stalled = Vec::new();
        for (id, link) in &mut inner.links {
            let (taken, is_empty) = link.channel.requests.taken();
            if link.intake.look(taken, is_empty, now) {
                // What is queued ahead of the only request of a worker is looked at elsewhere.
                if !link.runs_its_only_request() {
                    stalled.push(*id);
                }
            } else if is_empty {
                inner.dispatch.goes_on(*id);
            }
        }
        for id in stalled {
            if inner.dispatch.stalls(id, now) {
                self.take_back(inner, id, usize::MAX);
            }
        }
    }

    /// Ends what lies in a worker's ring unstarted although its time to wait is over: nobody else would
    /// take it, or it would not be there.
    pub(crate) fn expire_in_rings(&self, now: Micros) {
        self.with(|inner| {
            let Inner { links, dispatch, wakers, .. } = inner;
            for (id, link) in links {
                let taken = link.take_back_waited(|arrived| dispatch.has_waited(arrived, now));
                link.tell_cleared(dispatch);
                for exchange in taken {
                    dispatch.reclaimed(*id);
                    wakers.extend(exchange.put(Event::QueueTimeout { had_worker: true }));
                }
            }
            self.place_waiting(inner, now);
        });
    }

    /// Workers that run the only request they can.
    pub(crate) fn with_their_only_request(&self) -> BTreeSet<WorkerId> {
        let inner = self.inner.lock();
        inner
            .links
            .iter()
            .filter(|(_, link)| link.runs_its_only_request())
            .map(|(id, _)| *id)
            .collect()
    }

    /// The requests that the application has in a worker, at most `most`. `name`: of a route.
    pub(crate) fn running(
        &self,
        id: WorkerId,
        most: usize,
        now: Micros,
        name: impl Fn(RouteId) -> Option<String>,
    ) -> Vec<Running> {
        let inner = self.inner.lock();
        let link = inner.links.get(&id);
        link.map_or_else(Vec::new, |link| link.running(most, now, name))
    }
}

/// Where a request is that a worker has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    /// Since when: it was sent to the worker, or was seen running.
    pub(crate) since: Micros,
    /// The application has it.
    pub(crate) runs: bool,
    /// Its answer has begun.
    pub(crate) answered: bool,
}

impl Pool {
    /// How a request stands that a worker has in a slot; `None`: it does not have it any more.
    pub(crate) fn at(&self, id: WorkerId, slot: u16, generation: u32) -> Option<At> {
        let inner = self.inner.lock();
        let link = inner.links.get(&id).filter(|link| link.holds(slot, generation))?;
        let entry = link.slots.get(usize::from(slot))?;
        Some(At {
            since: entry.overtime.began().unwrap_or(entry.since),
            runs: link.channel.slots.state(slot, generation) == SlotState::Running,
            answered: entry.answered,
        })
    }
}

/// What [`Link::over_time`] found.
struct Found {
    cancelled: Vec<Arc<Exchange>>,
    /// Some requests did not stop; what that says of the worker.
    given_up: Option<Verdict>,
}

impl Link {
    /// Whether it can run one request at a time, and runs one.
    fn runs_its_only_request(&self) -> bool {
        let runs = |(slot, entry): (u16, &Slot)| {
            entry.exchange.is_some()
                && self.channel.slots.state(slot, entry.generation) == SlotState::Running
        };
        self.capacity == 1 && self.in_use() > 0 && (0u16..).zip(&self.slots).any(runs)
    }

    /// Takes back unstarted requests that have waited long enough, by when they arrived.
    fn take_back_waited(&mut self, is_over: impl Fn(Micros) -> bool) -> Vec<Arc<Exchange>> {
        if self.in_use() == 0 {
            return Vec::new();
        }
        let over = |entry: &Slot| entry.exchange.as_ref().is_some_and(|it| is_over(it.arrived()));
        let slots = (0u16..).zip(&self.slots).filter(|(_, entry)| over(entry));
        let slots: Vec<(u16, u32)> = slots.map(|(slot, entry)| (slot, entry.generation)).collect();
        let mut taken = Vec::new();
        for (slot, generation) in slots {
            if self.channel.slots.reclaim(slot, generation)
                && let Some(exchange) = self.free_slot(slot)
            {
                exchange.set_nowhere();
                taken.push(exchange);
            }
        }
        taken
    }

    /// Requests that run longer than allowed and were not reported yet.
    fn stuck(&mut self, timeout: Micros, now: Micros) -> Vec<Arc<Exchange>> {
        let mut stuck = Vec::new();
        for (slot, entry) in (0u16..).zip(&mut self.slots) {
            let Some(exchange) = &entry.exchange else { continue };
            if entry.overtime.is_over() {
                continue;
            }
            let looked_at = std::mem::replace(&mut entry.looked_at, now);
            // Time in which the worker waits for the client is not the application's. The worker's word alone
            // is not enough: it would never be late.
            if entry.seen_running
                && self.channel.slots.waits_for_credit(slot)
                && exchange.holds_worker_up()
            {
                entry.since += now.saturating_sub(looked_at);
                continue;
            }
            if !entry.seen_running {
                if self.channel.slots.state(slot, entry.generation) == SlotState::Running {
                    entry.seen_running = true;
                    entry.since = now;
                }
            } else if !entry.stuck && now.saturating_sub(entry.since) >= timeout {
                entry.stuck = true;
                stuck.push(Arc::clone(exchange));
            }
        }
        stuck
    }

    /// Requests that the application has, and since when; each reported once.
    fn started(&mut self) -> Vec<(Arc<Exchange>, Micros)> {
        let mut started = Vec::new();
        for (slot, entry) in (0u16..).zip(&mut self.slots) {
            let Some(exchange) = &entry.exchange else { continue };
            let state = self.channel.slots.state(slot, entry.generation);
            if !entry.stuck && !entry.overtime.is_over() && state == SlotState::Running {
                entry.stuck = true;
                started.push((Arc::clone(exchange), entry.since));
            }
        }
        started
    }

    fn over_time(&mut self, spared: bool, now: Micros) -> Found {
        let mut found = Found { cancelled: Vec::new(), given_up: None };
        let mut late = Vec::new();
        let mut stop = Vec::new();
        for (slot, entry) in (0u16..).zip(&mut self.slots) {
            let Some(exchange) = &entry.exchange else { continue };
            let is_answered = entry.answered && !entry.overtime.is_over();
            if exchange.limit == 0 || is_answered || entry.stuck {
                continue;
            }
            if self.channel.slots.state(slot, entry.generation) != SlotState::Running {
                continue;
            }
            match entry.overtime.look(exchange.limit, spared, now) {
                Step::Wait => {}
                Step::Cancel => {
                    found.cancelled.push(Arc::clone(exchange));
                    stop.push((slot, entry.generation));
                }
                Step::GiveUp => late.push(entry.interrupt),
            }
        }
        for (slot, generation) in stop {
            let interrupt = self.tell_to_stop(slot, generation);
            self.slots[usize::from(slot)].interrupt = interrupt;
        }
        for interrupt in late {
            self.count_given_up();
            let verdict = verdict(self.capacity, self.has_heard(interrupt));
            if found.given_up != Some(Verdict::Stuck) {
                found.given_up = Some(verdict);
            }
        }
        found
    }

    /// Tells the application that a request shall stop: an event loop and a hub by a descriptor. For
    /// threads the flag is set; the supervisor sends the signal that has them look.
    fn tell_to_stop(&mut self, slot: u16, generation: u32) -> Interrupt {
        let wait = self.channel.slots.set_overtime(slot);
        let number = self.channel.control().interrupt();
        let flags = Flags::NONE;
        if wait == CreditWait::Descriptor && self.interface == Interface::Wsgi {
            self.control(Descriptor::new(Kind::Credit, flags, slot, generation, 0));
        }
        self.control(Descriptor::new(Kind::Disconnect, flags, slot, generation, STOP_OVERTIME));
        Interrupt { number, sent: self.channel.requests.sent() }
    }

    /// Whether the worker has heard of an interrupt: its main thread looked, or its loop took what was
    /// sent.
    fn has_heard(&mut self, interrupt: Interrupt) -> bool {
        let (taken, _) = self.channel.requests.taken();
        taken >= interrupt.sent || self.channel.control().has_looked(interrupt.number)
    }

    /// Method and target of the request in this use of a slot, if it is still there.
    pub(super) fn request_line(&self, slot: u16, generation: u32) -> Option<String> {
        let entry = self.slots.get(usize::from(slot))?;
        let exchange = entry.exchange.as_ref().filter(|_| entry.generation == generation)?;
        let head = RequestHead::decode(&exchange.outgoing.payload).ok()?;
        let target: String =
            String::from_utf8_lossy(head.target).chars().take(TARGET_CHARS_MAX).collect();
        Some(format!("{} {target}", String::from_utf8_lossy(head.method)))
    }

    fn running(
        &self,
        most: usize,
        now: Micros,
        name: impl Fn(RouteId) -> Option<String>,
    ) -> Vec<Running> {
        let mut running: Vec<Running> = (0u16..)
            .zip(&self.slots)
            .filter(|(slot, entry)| {
                self.channel.slots.state(*slot, entry.generation) == SlotState::Running
            })
            .filter_map(|(slot, entry)| {
                let exchange = entry.exchange.as_ref()?;
                let head = RequestHead::decode(&exchange.outgoing.payload).ok()?;
                let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
                let began = entry.overtime.began().unwrap_or(entry.since);
                Some(Running {
                    place: (slot, entry.generation),
                    method: text(head.method),
                    target: text(head.target).chars().take(TARGET_CHARS_MAX).collect(),
                    route: name(RouteId::new(
                        self.generation,
                        self.channel.slots.route(slot, entry.generation),
                    )),
                    client: text(head.client),
                    age_us: now.saturating_sub(began),
                    is_over: entry.stuck || entry.overtime.is_over(),
                    is_answered: entry.answered,
                    waits_for_client: self.channel.slots.waits_for_credit(slot)
                        && exchange.holds_worker_up(),
                })
            })
            .collect();
        running.sort_by_key(|running| std::cmp::Reverse(running.age_us));
        running.truncate(most);
        running
    }
}
