//! A request as it is counted: begun once, and over once.

use http::{Method, StatusCode};
use indrik_core::route::Probe;
use indrik_core::time::Micros;

use super::exemplars::Traceable;
use super::key::{self, Key, NO_ROUTE, OTHER_ROUTE};
use super::own;
use super::table::{PHASES, Table};
use crate::front::clock;
use crate::front::served::Served;

/// A request that has begun. It is to be given to exactly one of the functions that end it.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct Begun {
    method: u8,
    probe: Option<Probe>,
    /// When its head was there.
    arrived: Micros,
    /// For how long its head came.
    head_us: Micros,
}

impl Begun {
    /// A request whose head is there.
    pub(crate) fn new(method: &Method, arrived: Micros, head_us: Micros) -> Self {
        let method = key::method(method);
        own::with(|own| own.table.requests.begun.add(1));
        Self { method, probe: None, arrived, head_us }
    }

    /// What the routes say of it: it is for a probe, or not.
    pub(crate) const fn is_for(&mut self, probe: Option<Probe>) {
        self.probe = probe;
    }

    /// It is over, as is its answer. `None`: there was none.
    /// `trace`: where it can be looked up, of an answer with this status that took so long.
    pub(crate) fn over(
        self,
        status: Option<StatusCode>,
        served: &Served,
        is_broken: bool,
        trace: impl FnOnce(u16, Micros) -> Option<Traceable>,
    ) {
        own::with(|own| {
            let requests = &own.table.requests;
            requests.over.add(1);
            if let Some(probe) = self.probe {
                return count_probe(&own.table, probe, status);
            }
            let total = clock::coarse().saturating_sub(self.arrived);
            let route = own.route(served.route);
            let times = &requests.of(Key::new(self.method, status, route)).times;
            times.observe(total);
            let phases = self.phases(total, served);
            for (times, time) in requests.phases.iter().zip(phases) {
                times.observe(time);
            }
            if let Some(trace) = trace(status.map_or(0, |it| it.as_u16()), total) {
                times.exemplify(trace, total);
                let phases = requests.phases.iter().zip(phases);
                phases.for_each(|(times, time)| times.exemplify(trace, time));
            }
            if let Some(sums) = requests.phases_of(route) {
                sums.iter().zip(phases).for_each(|(sum, time)| sum.add(time));
            }
            if route == OTHER_ROUTE {
                requests.other_routes.add(1);
            }
            if is_broken {
                requests.broken.add(1);
            }
        });
    }

    /// It has become a WebSocket.
    pub(crate) fn is_upgraded(self) {
        own::with(|own| own.table.requests.over.add(1));
    }

    /// Where the time went: head, body, queue, ahead, app, answer.
    fn phases(&self, total: Micros, served: &Served) -> [Micros; PHASES] {
        let mut left = total;
        let mut take = |time: Micros| {
            let time = time.min(left);
            left -= time;
            time
        };
        let waited = Micros::from(served.queue_us);
        let ahead = Micros::from(served.ahead_us).min(waited);
        // What never came to wait for a worker waited for its client.
        let body = match served.submitted {
            0 if served.is_nobody() => total.saturating_sub(waited),
            submitted => submitted.saturating_sub(self.arrived),
        };
        let (body, queue, ahead) = (take(body), take(waited - ahead), take(ahead));
        let app = match served.app_us {
            0 if served.is_nobody() => 0,
            // It has not said; what comes behind cannot be told from it.
            0 => take(Micros::MAX),
            app => take(app.into()),
        };
        [self.head_us, body, queue, ahead, app, left]
    }
}

fn count_probe(table: &Table, probe: Probe, status: Option<StatusCode>) {
    let status = match status {
        Some(StatusCode::OK) => 0,
        Some(StatusCode::SERVICE_UNAVAILABLE) => 1,
        _ => 2,
    };
    let probe = match probe {
        Probe::Liveness => 0,
        Probe::Readiness => 1,
        Probe::Metrics => 2,
    };
    table.requests.probes[probe][status].add(1);
}

/// A request was answered by us that nobody could read: it counts with its status alone.
pub(crate) fn refused_unread(method: &Method, status: StatusCode) {
    own::with(|own| {
        let key = Key::new(key::method(method), Some(status), NO_ROUTE);
        own.table.requests.of(key).times.observe(0);
    });
}

/// A request is run again.
pub(crate) fn replayed() {
    own::with(|own| own.table.requests.replayed.add(1));
}

#[cfg(test)]
mod tests {
    use indrik_core::lane::RouteId;
    use proptest::prelude::*;

    use super::*;

    fn begun(arrived: Micros) -> Begun {
        Begun { method: 0, probe: None, arrived, head_us: 7 }
    }

    #[test]
    fn the_time_of_a_request_is_told_by_phase() {
        let served = Served {
            pid: 1,
            app_us: 400,
            queue_us: 300,
            ahead_us: 100,
            submitted: 1_050,
            route: RouteId::UNKNOWN,
        };
        assert_eq!(begun(1_000).phases(1_000, &served), [7, 50, 200, 100, 400, 250]);
        let silent = Served { app_us: 0, ..served };
        assert_eq!(begun(1_000).phases(1_000, &silent), [7, 50, 200, 100, 650, 0]);
        let refused = Served::NOBODY;
        assert_eq!(begun(1_000).phases(500, &refused), [7, 500, 0, 0, 0, 0]);
        let waited = Served::nobody_after(400);
        assert_eq!(begun(1_000).phases(500, &waited), [7, 100, 400, 0, 0, 0]);
    }

    proptest! {
        #[test]
        fn the_phases_are_the_whole_time(
            (pid, app_us, queue_us, ahead_us) in (0u32..2, any::<u32>(), any::<u32>(), any::<u32>()),
            (submitted, arrived, total) in (any::<u64>(), any::<u64>(), any::<u64>()),
        ) {
            let route = RouteId::UNKNOWN;
            let served = Served { pid, app_us, queue_us, ahead_us, submitted, route };
            let phases = begun(arrived).phases(total, &served);
            prop_assert_eq!(phases[1..].iter().sum::<u64>(), total);
        }
    }
}
