//! What one I/O thread has counted.

use std::sync::OnceLock;

use super::count::{Count, Times};
use super::key::Key;

/// Combinations of method, status and route that a thread tells apart.
pub(super) const SERIES_MAX: usize = 2048;
/// Places for them; half stay free, so that one that is not there is soon known not to be.
const PLACES: usize = 2 * SERIES_MAX;
/// The last ones are kept for what is not told apart by its route any more.
const COARSE_RESERVE: usize = 256;
/// Phases of a request.
pub(super) const PHASES: usize = 6;

/// What one I/O thread has counted.
pub(super) struct Table {
    pub(super) requests: Requests,
    pub(super) connections: Connections,
    pub(super) websockets: WebSockets,
}

/// Of requests.
pub(super) struct Requests {
    pub(super) begun: Count,
    /// Of those that have begun.
    pub(super) over: Count,
    /// An open table: a combination stands at the first free place from where its hash says.
    series: Box<[OnceLock<Box<Series>>]>,
    used: Count,
    /// Requests that found no room under their own combination.
    pub(super) overflow: Count,
    /// Requests of routes that are not told apart.
    pub(super) other_routes: Count,
    pub(super) phases: [Times; PHASES],
    /// Microseconds by phase, by the number of the route.
    routes: Box<[OnceLock<Box<[Count; PHASES]>>]>,
    pub(super) broken: Count,
    pub(super) replayed: Count,
    /// By probe, and whether the answer was 200, 503 or something else.
    pub(super) probes: [[Count; 3]; 3],
}

/// Of connections.
#[derive(Default)]
pub(super) struct Connections {
    /// By protocol.
    pub(super) begun: [Count; 2],
    pub(super) over: [Count; 2],
    /// By how it came out.
    pub(super) handshakes: [Count; 3],
    pub(super) received: Count,
    pub(super) sent: Count,
}

/// Of WebSockets.
pub(super) struct WebSockets {
    pub(super) begun: Count,
    pub(super) closed: [[Count; SIDES]; CODES],
    /// Received and sent.
    pub(super) messages: [Count; 2],
    pub(super) bytes: [Count; 2],
    pub(super) times: Times,
}

/// Who may end a WebSocket: client, application, server, and nobody we know of.
pub(super) const SIDES: usize = 4;
/// The codes that are told apart: 1000 to 1015, all others, and none.
pub(super) const CODES: usize = 18;

/// Requests of one combination.
pub(super) struct Series {
    pub(super) key: Key,
    pub(super) times: Times,
}

impl Table {
    /// One for so many routes beside the two that every table has.
    pub(super) fn new(routes_max: usize) -> Self {
        Self {
            requests: Requests {
                begun: Count::default(),
                over: Count::default(),
                series: empty(PLACES),
                used: Count::default(),
                overflow: Count::default(),
                other_routes: Count::default(),
                phases: std::array::from_fn(|_| Times::default()),
                routes: empty(routes_max + 2),
                broken: Count::default(),
                replayed: Count::default(),
                probes: Default::default(),
            },
            connections: Connections::default(),
            websockets: WebSockets {
                begun: Count::default(),
                closed: Default::default(),
                messages: Default::default(),
                bytes: Default::default(),
                times: Times::default(),
            },
        }
    }
}

fn empty<T>(len: usize) -> Box<[OnceLock<T>]> {
    (0..len).map(|_| OnceLock::new()).collect()
}

impl Requests {
    /// Where requests of a combination are counted. It may be under a coarser one.
    pub(super) fn of(&self, key: Key) -> &Series {
        let mut wanted = key;
        loop {
            if let Some(series) = self.find(wanted) {
                if wanted != key {
                    self.overflow.add(1);
                }
                return series;
            }
            wanted = wanted.coarser();
        }
    }

    /// The place of a combination, which becomes its own if there is room. `None`: there is none.
    fn find(&self, key: Key) -> Option<&Series> {
        let room = match key {
            Key::REST => SERIES_MAX,
            key if key.coarser() == Key::REST => SERIES_MAX - 1,
            _ => SERIES_MAX - COARSE_RESERVE,
        };
        let has_room = (self.used.get() as usize) < room;
        let first = key.hash();
        for at in 0..PLACES {
            let place = &self.series[(first + at) % PLACES];
            match place.get() {
                Some(series) if series.key == key => return Some(series),
                Some(_) => {}
                None if has_room => {
                    self.used.add(1);
                    return Some(
                        place.get_or_init(|| Box::new(Series { key, times: Times::default() })),
                    );
                }
                None => return None,
            }
        }
        None
    }

    /// All combinations that have occurred.
    pub(super) fn series(&self) -> impl Iterator<Item = &Series> {
        self.series.iter().filter_map(OnceLock::get).map(|series| &**series)
    }

    /// Where the time of a route's requests is summed up, by phase.
    pub(super) fn phases_of(&self, route: u16) -> Option<&[Count; PHASES]> {
        let place = self.routes.get(usize::from(route))?;
        Some(place.get_or_init(Box::default))
    }

    /// The routes that have occurred, by number.
    pub(super) fn routes(&self) -> impl Iterator<Item = (u16, &[Count; PHASES])> {
        self.routes
            .iter()
            .enumerate()
            .filter_map(|(at, place)| Some((u16::try_from(at).ok()?, &**place.get()?)))
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use proptest::prelude::*;

    use super::*;

    fn key(status: u16, route: u16) -> Key {
        Key::new(0, StatusCode::from_u16(status).ok(), route)
    }

    fn count(table: &Table, key: Key) {
        table.requests.of(key).times.observe(1);
    }

    fn counted(series: &Series) -> u64 {
        let mut sum = super::super::count::Observed::default();
        series.times.add_to(&mut sum);
        sum.count()
    }

    #[test]
    fn a_table_that_is_full_loses_no_request_and_says_how_many_it_does_not_tell_apart() {
        let table = Table::new(4);
        for status in (100..1000).chain(100..1000) {
            (2..6).for_each(|route| count(&table, key(status, route)));
        }
        let all: u64 = table.requests.series().map(counted).sum();
        assert_eq!(all, 2 * 900 * 4);
        let used = table.requests.series().count();
        assert_eq!(used, SERIES_MAX);
        let apart: u64 = table.requests.series().filter(|it| it.key.route > 1).map(counted).sum();
        assert_eq!(all - apart, table.requests.overflow.get());
        assert!(counted(table.requests.of(Key::REST)) > 0);
    }

    proptest! {
        #[test]
        fn every_combination_is_counted_under_its_own_while_there_is_room(
            seen in prop::collection::vec((100u16..600, 0u16..6), 0..600),
        ) {
            let table = Table::new(4);
            for (status, route) in &seen {
                count(&table, key(*status, *route));
            }
            for series in table.requests.series() {
                let times = seen.iter().filter(|(status, route)| key(*status, *route) == series.key);
                prop_assert_eq!(counted(series), times.count() as u64);
            }
            prop_assert_eq!(table.requests.overflow.get(), 0);
        }
    }
}
