//! What all I/O threads have counted, as families.

use std::collections::BTreeMap;
use std::sync::Arc;

use indrik_core::metrics::generated as metrics;
use indrik_core::metrics::{Family, Label};

use super::all::Metrics;
use super::count::{Count, Observed};
use super::key::Key;
use super::table::{CODES, Connections, PHASES, Requests, SIDES, Table, WebSockets};
use super::websocket::{shown_code, shown_side};

/// The only pool there is.
pub(crate) const POOL: &str = "web";
const PHASE_NAMES: [&str; PHASES] = ["head", "body", "queue", "ahead", "app", "answer"];
const PROTOCOLS: [&str; 2] = ["1.1", "2"];
const DIRECTIONS: [&str; 2] = ["receive", "transmit"];
const PROBES: [&str; 3] = ["liveness", "readiness", "metrics"];
const PROBE_STATUS: [&str; 3] = ["200", "503", "other"];
const HANDSHAKES: [&str; 3] = ["done", "failed", "late"];

impl Metrics {
    /// What all I/O threads have counted.
    pub(crate) fn families(&self) -> Vec<Family> {
        let tables = self.tables();
        let mut families = self.requests(&tables).to_vec();
        families.extend(self.phases(&tables));
        families.extend(requests(&tables));
        families.extend(connections(&tables));
        families.extend(websockets(&tables));
        families
    }

    fn requests(&self, tables: &[Arc<Table>]) -> [Family; 2] {
        let mut all: BTreeMap<Key, Observed> = BTreeMap::new();
        for series in tables.iter().flat_map(|table| table.requests.series()) {
            series.times.add_to(all.entry(series.key).or_default());
        }
        let route = |key: &Key| self.routes.shown(key.route);
        let counts = all.iter().map(|(key, observed)| {
            let [method, status, class] =
                [key.shown_method(), key.shown_status(), key.shown_class()];
            ([method, status, class, POOL.into(), route(key)], observed.count() as f64)
        });
        let counts = metrics::HTTP_REQUESTS.family(counts);
        let times = all.iter().map(|(key, observed)| {
            let labels = [key.shown_method(), key.shown_status(), POOL.into(), route(key)];
            (labels, observed.distribution())
        });
        [counts, metrics::HTTP_REQUEST_DURATION_SECONDS.family(times)]
    }

    fn phases(&self, tables: &[Arc<Table>]) -> [Family; 2] {
        let observed = |phase: usize| {
            let mut sum = Observed::default();
            tables.iter().for_each(|table| table.requests.phases[phase].add_to(&mut sum));
            sum.distribution()
        };
        let phases = PHASE_NAMES.iter().enumerate();
        let times = phases.map(|(at, phase)| ([Label::from(*phase), POOL.into()], observed(at)));
        let mut by_route: BTreeMap<u16, [u64; PHASES]> = BTreeMap::new();
        for (route, sums) in tables.iter().flat_map(|table| table.requests.routes()) {
            let all = by_route.entry(route).or_default();
            all.iter_mut().zip(sums).for_each(|(sum, more)| *sum += more.get());
        }
        let by_route = by_route.iter().flat_map(|(route, sums)| {
            let route = self.routes.shown(*route);
            PHASE_NAMES.iter().zip(sums).map(move |(phase, sum)| {
                ([Label::from(*phase), POOL.into(), route.clone()], *sum as f64 / 1e6)
            })
        });
        [
            metrics::HTTP_REQUEST_PHASE_SECONDS.family(times),
            metrics::HTTP_ROUTE_PHASE_SECONDS.family(by_route),
        ]
    }
}

/// A count over all threads.
fn sum(tables: &[Arc<Table>], of: impl Fn(&Table) -> &Count) -> u64 {
    tables.iter().map(|table| of(table).get()).sum()
}

/// What has begun and is not over. A thread may be read between the two.
fn open(begun: u64, over: u64) -> f64 {
    begun.saturating_sub(over) as f64
}

fn requests(tables: &[Arc<Table>]) -> [Family; 5] {
    let of = |read: fn(&Requests) -> &Count| sum(tables, |table| read(&table.requests));
    let pool = |count: u64| [([Label::from(POOL)], count as f64)];
    let over = of(|it| &it.over);
    let probes = PROBES.iter().enumerate().flat_map(|(probe, name)| {
        PROBE_STATUS.iter().enumerate().map(move |(status, shown)| {
            let count = sum(tables, |table| &table.requests.probes[probe][status]);
            ([Label::from(*name), Label::from(*shown)], count as f64)
        })
    });
    [
        metrics::HTTP_REQUESTS_IN_FLIGHT
            .family([([Label::from(POOL)], open(of(|it| &it.begun), over))]),
        metrics::HTTP_ANSWERS_BROKEN.family(pool(of(|it| &it.broken))),
        metrics::HTTP_REQUESTS_REPLAYED.family(pool(of(|it| &it.replayed))),
        metrics::HTTP_PROBES.family(probes),
        metrics::METRICS_OVERFLOW.family([
            ([Label::from("requests")], of(|it| &it.overflow) as f64),
            ([Label::from("routes")], of(|it| &it.other_routes) as f64),
        ]),
    ]
}

fn connections(tables: &[Arc<Table>]) -> [Family; 4] {
    let of = |read: &dyn Fn(&Connections) -> &Count| sum(tables, |table| read(&table.connections));
    let begun: Vec<_> = (0..PROTOCOLS.len()).map(|at| of(&|it| &it.begun[at])).collect();
    let over: Vec<_> = (0..PROTOCOLS.len()).map(|at| of(&|it| &it.over[at])).collect();
    let protocols = || PROTOCOLS.iter().map(|name| [Label::from(*name)]);
    let numbers = begun.iter().zip(&over).map(|(begun, over)| open(*begun, *over));
    let handshakes = HANDSHAKES
        .iter()
        .enumerate()
        .map(|(at, name)| ([Label::from(*name)], of(&|it| &it.handshakes[at]) as f64));
    let bytes = [of(&|it| &it.received), of(&|it| &it.sent)];
    [
        metrics::CONNECTIONS_OPEN.family(protocols().zip(numbers)),
        metrics::CONNECTIONS_BEGUN.family(protocols().zip(begun.iter().map(|it| *it as f64))),
        metrics::TLS_HANDSHAKES.family(handshakes),
        metrics::HTTP_IO_BYTES.family(by_direction(bytes)),
    ]
}

fn by_direction(counts: [u64; 2]) -> impl Iterator<Item = ([Label; 1], f64)> {
    DIRECTIONS.iter().zip(counts).map(|(name, count)| ([Label::from(*name)], count as f64))
}

fn websockets(tables: &[Arc<Table>]) -> [Family; 5] {
    let of = |read: &dyn Fn(&WebSockets) -> &Count| sum(tables, |table| read(&table.websockets));
    let places = (0..CODES).flat_map(|code| (0..SIDES).map(move |side| (code, side)));
    let closed: Vec<_> = places
        .map(|(code, side)| (code, side, of(&|it| &it.closed[code][side])))
        .filter(|(_, _, count)| *count > 0)
        .collect();
    let over = closed.iter().map(|(_, _, count)| count).sum();
    let shown = closed.iter().map(|(code, side, count)| {
        ([Label::from(shown_code(*code)), shown_side(*side).into()], *count as f64)
    });
    let mut times = Observed::default();
    tables.iter().for_each(|table| table.websockets.times.add_to(&mut times));
    let messages = [0, 1].map(|at: usize| of(&|it| &it.messages[at]));
    let bytes = [0, 1].map(|at: usize| of(&|it| &it.bytes[at]));
    [
        metrics::WEBSOCKETS_OPEN.family([([], open(of(&|it| &it.begun), over))]),
        metrics::WEBSOCKETS_CLOSED.family(shown),
        metrics::WEBSOCKET_MESSAGES.family(by_direction(messages)),
        metrics::WEBSOCKET_IO_BYTES.family(by_direction(bytes)),
        metrics::WEBSOCKET_DURATION_SECONDS.family([([], times.distribution())]),
    ]
}
