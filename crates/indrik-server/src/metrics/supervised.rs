//! What the supervision loop last showed of the server, as families: health, generations, workers.

use std::collections::BTreeMap;

use indrik_core::ids::WorkerId;
use indrik_core::metrics::{Family, Label, generated as metrics};

use crate::front::Load;
use crate::look::Look;

/// All of it; `loads` is what the front knows of the workers.
pub(super) fn families(look: &Look, loads: &BTreeMap<WorkerId, Load>) -> Vec<Family> {
    let mut families = Vec::from(server(look));
    families.extend(workers(look));
    families.extend(by_worker(look, loads));
    families
}

fn server(look: &Look) -> [Family; 8] {
    let one = |number: f64| [([], number)];
    let is = |state: bool| one(f64::from(u8::from(state)));
    let totals = &look.totals;
    let reloads = [("done", totals.reloads_done), ("failed", totals.reloads_failed)];
    let reloads = reloads.into_iter().map(|(result, count)| ([Label::from(result)], count as f64));
    [
        metrics::START_TIME_SECONDS.family(one(look.server.started_ms as f64 / 1e3)),
        metrics::READY.family(is(look.health.ready)),
        metrics::HEALTH.family([([Label::from(look.health.state)], 1.0)]),
        metrics::PAUSED.family(is(look.census.paused)),
        metrics::BREAKER_OPEN.family(is(look.census.breaker_open)),
        metrics::GENERATION.family(one(look.census.generation as f64)),
        metrics::RELOADING.family(is(look.census.reloading)),
        metrics::RELOADS.family(reloads),
    ]
}

fn workers(look: &Look) -> [Family; 4] {
    let mut states: BTreeMap<&str, u32> = BTreeMap::new();
    look.workers.iter().for_each(|worker| *states.entry(worker.state).or_default() += 1);
    let states = states.into_iter().map(|(state, count)| ([state.into()], f64::from(count)));
    let by_reason = |counts: &BTreeMap<String, u64>| -> Vec<_> {
        let counts = counts.iter();
        counts.map(|(reason, count)| ([Label::from(reason.clone())], *count as f64)).collect()
    };
    [
        metrics::WORKERS.family(states),
        metrics::WORKERS_WANTED.family([([], f64::from(look.census.wanted))]),
        metrics::WORKER_STARTS.family(by_reason(&look.starts)),
        metrics::WORKER_ENDS.family(by_reason(&look.ends)),
    ]
}

/// While a worker is replaced, its place is shown for the younger one of the two that serve from it.
fn by_worker(look: &Look, loads: &BTreeMap<WorkerId, Load>) -> [Family; 6] {
    let youngest: BTreeMap<u32, &_> =
        look.workers.iter().map(|worker| (worker.place, worker)).collect();
    let place = |place: u32| Label::from(place.to_string());
    let states = youngest.iter().map(|(at, it)| ([place(*at), it.state.into()], 1.0));
    let loads: Vec<_> = youngest
        .iter()
        .filter_map(|(at, it)| Some((place(*at), loads.get(&WorkerId(it.id))?)))
        .collect();
    let served = loads.iter().map(|(place, load)| ([place.clone()], load.served as f64));
    let seconds = |of: fn(&Load) -> u64| -> Vec<_> {
        loads.iter().map(|(place, load)| ([place.clone()], of(load) as f64 / 1e6)).collect()
    };
    let in_flight = loads.iter().map(|(place, load)| ([place.clone()], load.in_flight as f64));
    [
        metrics::WORKER_STATE.family(states),
        metrics::WORKER_REQUESTS.family(served),
        metrics::WORKER_BUSY_SECONDS.family(seconds(|load| load.busy_us)),
        metrics::WORKER_EVENT_LOOP_BLOCKED_SECONDS.family(seconds(|load| load.blocked.loop_us)),
        metrics::WORKER_GIL_WAIT_SECONDS.family(seconds(|load| load.blocked.gil_us)),
        metrics::WORKER_REQUESTS_IN_FLIGHT.family(in_flight),
    ]
}
