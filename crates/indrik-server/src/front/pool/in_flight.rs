//! The requests that wait or are with workers, for whoever looks at the server.
//!
//! Nothing is kept for it while requests are served: what the pool knows of them anyway is collected when somebody
//! looks. Under the lock only references are taken; texts are made of them when it is free.

use std::sync::Arc;

use indrik_core::ids::WorkerId;
use indrik_core::lane::RouteId;
use indrik_core::redact;
use indrik_core::time::Micros;
use indrik_ring::{RequestHead, SlotState};
use serde::Serialize;

use super::link::Link;
use super::placing::Pool;
use crate::front::exchange::Exchange;
use crate::front::printable::{METHOD_BYTES_MAX, TARGET_BYTES_MAX, printable};

/// Where a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Where {
    /// It waits for a worker.
    Queue,
    /// It lies in a worker's ring.
    Ahead,
    /// The application has it.
    App,
    /// Its answer has begun.
    Answer,
}

/// A request in flight.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InFlight {
    /// Its method.
    pub method: String,
    /// Its target, shortened, with what is no printable character escaped.
    pub target: String,
    /// Its client; empty for a Unix socket.
    pub client: String,
    /// Where it is.
    pub phase: Where,
    /// How long ago it came, in microseconds.
    pub age_us: u64,
    /// For how long the application has had it, in microseconds.
    pub app_us: Option<u64>,
    /// The worker that has it, by its number.
    pub worker: Option<u64>,
    /// The worker's process.
    pub pid: Option<u32>,
    /// The route that the application chose, if it is known.
    pub route: Option<String>,
    /// It ran too long and has been answered 504.
    pub is_over: bool,
    /// Its worker goes on only when its client has taken more of the answer.
    pub waits_for_client: bool,
    /// Its coroutine has been on the event loop all the time for a while, without an await.
    pub holds_loop: bool,
}

impl InFlight {
    /// For whoever may look, and not at what is private.
    pub(crate) fn hide_secrets(&mut self) {
        self.target = redact::target(&self.target);
    }
}

/// What is taken while the lock is held.
struct Found {
    exchange: Arc<Exchange>,
    place: Option<WorkerId>,
    phase: Where,
    began: Option<Micros>,
    route: RouteId,
    is_over: bool,
    waits_for_client: bool,
    holds_loop: bool,
}

impl Pool {
    /// The requests that wait or are with workers, at most `most`, the oldest first. `name`: of a route.
    pub(crate) fn in_flight(
        &self,
        most: usize,
        now: Micros,
        name: impl Fn(RouteId) -> Option<String>,
    ) -> Vec<InFlight> {
        let mut found = Vec::new();
        {
            let inner = self.inner.lock();
            // The queue is first, in the order in which they came; then each worker has its share of what is left, so
            // that none hides another.
            let waiting = inner.waiting.values().take(most / 2);
            found.extend(waiting.map(|exchange| Found {
                exchange: Arc::clone(exchange),
                place: None,
                phase: Where::Queue,
                began: None,
                route: RouteId::UNKNOWN,
                is_over: false,
                waits_for_client: false,
                holds_loop: false,
            }));
            for (at, (id, link)) in inner.links.iter().enumerate() {
                let share = (most - found.len()) / (inner.links.len() - at);
                link.find_in_flight(*id, found.len() + share, &mut found);
            }
        }
        let mut shown: Vec<InFlight> =
            found.iter().filter_map(|found| found.show(now, &name)).collect();
        shown.sort_by_key(|request| std::cmp::Reverse(request.age_us));
        shown
    }
}

impl Link {
    fn find_in_flight(&self, id: WorkerId, most: usize, found: &mut Vec<Found>) {
        let holder = self.long_step();
        for (slot, entry) in (0u16..).zip(&self.slots) {
            if found.len() >= most {
                return;
            }
            let Some(exchange) = &entry.exchange else { continue };
            let runs = self.channel.slots.state(slot, entry.generation) == SlotState::Running;
            let phase = match (runs, entry.answered) {
                (_, true) => Where::Answer,
                (true, false) => Where::App,
                (false, false) => Where::Ahead,
            };
            let began = runs.then(|| entry.overtime.began().unwrap_or(entry.since));
            found.push(Found {
                exchange: Arc::clone(exchange),
                place: Some(id),
                phase,
                began,
                route: RouteId::new(
                    self.generation,
                    self.channel.slots.route(slot, entry.generation),
                ),
                is_over: entry.stuck || entry.overtime.is_over(),
                waits_for_client: runs
                    && self.channel.slots.waits_for_credit(slot)
                    && exchange.holds_worker_up(),
                holds_loop: holder == Some((slot, entry.generation)),
            });
        }
    }
}

impl Found {
    fn show(&self, now: Micros, name: &impl Fn(RouteId) -> Option<String>) -> Option<InFlight> {
        let head = RequestHead::decode(&self.exchange.outgoing.payload).ok()?;
        Some(InFlight {
            method: printable(head.method, METHOD_BYTES_MAX),
            target: printable(head.target, TARGET_BYTES_MAX),
            client: String::from_utf8_lossy(head.client).into_owned(),
            phase: self.phase,
            age_us: now.saturating_sub(self.exchange.arrived()),
            app_us: self.began.map(|began| now.saturating_sub(began)),
            worker: self.place.map(|id| id.0),
            pid: self.place.map(|_| self.exchange.worker_pid()).filter(|pid| *pid != 0),
            route: name(self.route),
            is_over: self.is_over,
            waits_for_client: self.waits_for_client,
            holds_loop: self.holds_loop,
        })
    }
}
