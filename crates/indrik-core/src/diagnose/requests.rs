//! What requests wait for: a loop, a lock, a pool, something outside, their clients, or a worker.

use super::finding::{Cause, Finding, Whose};
use super::pair::Pair;
use super::sight::{Pool, Running, Sight, Worker};

/// A main thread that beats every second and was not heard for so long stands still, seconds.
const SILENT_S: f64 = 2.0;
/// So much of a second each second of what is measured inside a worker.
const INSIDE_SHARE: f64 = 0.5;
/// So much of a processor is as good as all of it, and so little as good as nothing.
const BUSY_SHARE: f64 = 0.75;
const IDLE_SHARE: f64 = 0.35;
/// A request that has run so long is slow where nothing is known of its route, seconds.
const SLOW_S: f64 = 1.0;
/// And so many times as long as its route takes as a rule.
const SLOW_TIMES: f64 = 5.0;
/// So many requests of a worker that runs as many as come are enough to say something of it.
const MANY: usize = 4;
/// An answer that has begun so long ago waits for its client, seconds.
const CLIENT_SLOW_S: f64 = 3.0;
/// The first in the queue has waited so long, seconds.
const WAIT_S: f64 = 1.0;

/// Event loops that stand still.
pub(super) fn blocked_loop(pair: Pair<'_>) -> Vec<Finding> {
    let blocked = |worker: &Worker| {
        let was = pair.was(worker)?;
        let silent = worker.silent_s.filter(|silent| *silent >= SILENT_S && worker.in_flight > 0);
        let share = pair
            .share(was.loop_blocked_s, worker.loop_blocked_s)
            .filter(|share| *share >= INSIDE_SHARE);
        if !worker.has_loop || (silent.is_none() && share.is_none()) {
            return None;
        }
        let computes = pair.cpu(worker).map(|cpu| cpu >= BUSY_SHARE);
        let how = match computes {
            Some(true) => "something computes in it",
            Some(false) => "something waits in it that does not say await",
            None => "something runs in it that does not say await",
        };
        let (place, pid) = (worker.place, worker.pid);
        let suspects = suspects(&worker.running);
        Some(Finding {
            cause: Cause::BlockedLoop,
            what: format!(
                "the event loop of worker {place} (pid {pid}) stands still: {how}{suspects}"
            ),
            whose: Whose::Worker(place, pid),
            for_s: silent.or(Some(pair.seconds)),
            advice: format!(
                "indrik stacks {place} shows where; move it to a thread (asyncio.to_thread)"
            ),
        })
    };
    serving(pair.now).filter_map(blocked).collect()
}

/// Threads that nobody else gets Python's lock from.
pub(super) fn kept_gil(pair: Pair<'_>) -> Vec<Finding> {
    let kept = |worker: &Worker| {
        let was = pair.was(worker)?;
        let has_threads = !worker.has_loop && worker.capacity.is_some_and(|capacity| capacity > 1);
        let silent = worker
            .silent_s
            .filter(|silent| has_threads && *silent >= SILENT_S && worker.in_flight > 0);
        let share = pair
            .share(was.gil_waited_s, worker.gil_waited_s)
            .filter(|share| *share >= INSIDE_SHARE);
        if silent.is_none() && share.is_none() {
            return None;
        }
        let (place, pid) = (worker.place, worker.pid);
        let suspects = suspects(&worker.running);
        Some(Finding {
            cause: Cause::KeptGil,
            what: format!(
                "one thread of worker {place} (pid {pid}) keeps Python's lock (GIL), and the others wait{suspects}"
            ),
            whose: Whose::Worker(place, pid),
            for_s: silent.or(Some(pair.seconds)),
            advice: format!(
                "indrik stacks {place} shows where; more workers with fewer threads share no lock"
            ),
        })
    };
    serving(pair.now).filter_map(kept).collect()
}

/// Pools of connections without a free one, and somebody who waits.
pub(super) fn exhausted_pool(pair: Pair<'_>) -> Vec<Finding> {
    let is_out = |pool: &Pool| pool.max > 0 && pool.in_use >= pool.max && pool.waiting > 0;
    let still = |pool: &&Pool| {
        let was =
            pair.before.pools.iter().find(|was| was.name == pool.name && was.place == pool.place);
        is_out(pool) && was.is_some_and(is_out)
    };
    let finding = |pool: &Pool| {
        Finding {
        cause: Cause::ExhaustedPool,
        what: format!(
            "the pool {} of worker {} is used up: all {} connections are in use, {} wait for one",
            pool.name, pool.place, pool.max, pool.waiting
        ),
        whose: Whose::Route(pool.name.clone()),
        for_s: Some(pair.seconds),
        advice: "make the pool larger than what a worker runs at once, or find who keeps its connections: indrik stacks"
            .to_owned(),
    }
    };
    pair.now.pools.iter().filter(still).map(finding).collect()
}

/// Workers that are full of answers which their clients do not take.
pub(super) fn slow_clients(pair: Pair<'_>) -> Vec<Finding> {
    let late = pair.refused("head_timeout") + pair.refused("body_timeout");
    let waits = |running: &&Running| running.answer_begun && running.age_s >= CLIENT_SLOW_S;
    let held: Vec<&Running> =
        limited(pair.now).flat_map(|worker| &worker.running).filter(waits).collect();
    let places: u64 = limited(pair.now).filter_map(|worker| worker.capacity).map(u64::from).sum();
    let is_held = !held.is_empty() && held.len() as u64 * 2 >= places;
    if !is_held && late < 3 {
        return Vec::new();
    }
    let what = if is_held {
        let (count, oldest) =
            (held.len(), held.iter().map(|running| running.age_s).fold(0.0, f64::max));
        let client = held.first().map_or("", |running| running.client.as_str());
        format!(
            "{count} workers' places wait for slow clients, {client} among them, for up to {oldest:.0} s"
        )
    } else {
        format!("{late} clients sent their requests too slowly in {:.0} s", pair.seconds)
    };
    vec![Finding {
        cause: Cause::SlowClients,
        what,
        whose: Whose::Clients,
        for_s: Some(pair.seconds),
        advice: "indrik requests --sort age shows them; put a proxy in front that buffers, or shorten the timeouts"
            .to_owned(),
    }]
}

/// Requests that wait while nobody computes: for a database, another service, a lock.
pub(super) fn slow_backend(pair: Pair<'_>) -> Vec<Finding> {
    if !exhausted_pool(pair).is_empty() {
        return Vec::new();
    }
    let waiting: Vec<&Worker> =
        serving(pair.now).filter(|worker| waits_outside(&pair, worker)).collect();
    let of = serving(pair.now).count();
    // One of many is its own affair.
    if waiting.is_empty() || waiting.len() * 2 < of {
        return Vec::new();
    }
    let slow: Vec<&Running> = waiting
        .iter()
        .flat_map(|worker| &worker.running)
        .filter(|running| is_slow(running))
        .collect();
    let oldest = slow.iter().map(|running| running.age_s).fold(0.0, f64::max);
    let (route, count) = most_frequent(slow.iter().map(|running| running.name.as_str()));
    let processors: f64 = waiting.iter().filter_map(|worker| pair.cpu(worker)).sum();
    vec![Finding {
        cause: Cause::SlowBackend,
        what: format!(
            "{} requests wait for something outside, a database or another service: {} of {of} workers use {:.0} % of a \
             processor together; {count} of them are {route}, the oldest runs for {oldest:.1} s",
            slow.len(),
            waiting.len(),
            processors * 100.0
        ),
        whose: Whose::Route(route.to_owned()),
        for_s: Some(oldest),
        advice: "indrik stacks shows what they wait in; look at the database's own list of queries"
            .to_owned(),
    }]
}

/// What has come is more than is served.
pub(super) fn full_queue(pair: Pair<'_>) -> Vec<Finding> {
    if pair.now.server.paused_s.is_some() {
        return Vec::new();
    }
    let front = &pair.now.front;
    let refused = pair.refused("queue_full") + pair.refused("queue_timeout");
    let half = front.waiting_max.map_or(u64::MAX, |most| (most / 2).max(1));
    let is_long = front.waiting >= half && pair.before.front.waiting >= half;
    let waits_long = |sight: &Sight| {
        sight.front.oldest_wait_s.is_some_and(|wait| wait >= WAIT_S) && sight.front.waiting > 0
    };
    let grows = pair.now.front.waiting > 2 * pair.before.front.waiting
        && pair.before.front.waiting > 0
        && front.waiting >= 16;
    let lasts = waits_long(pair.now) && waits_long(pair.before);
    if !(refused > 0 || is_long || lasts || grows) {
        return Vec::new();
    }
    let processors: f64 = serving(pair.now).filter_map(|worker| pair.cpu(worker)).sum();
    let all_busy = pair.now.machine.cpus > 0.0 && processors >= BUSY_SHARE * pair.now.machine.cpus;
    let (ready, waiting) = (pair.now.server.ready, front.waiting);
    let (why, advice) = match all_busy {
        true => (
            "all processors are in use",
            "more machines, or cheaper requests: indrik profile shows what computes",
        ),
        false => {
            ("all workers are busy while processors are free", "indrik scale +1, or more threads")
        }
    };
    vec![Finding {
        cause: Cause::FullQueue,
        what: format!(
            "more comes than {ready} workers serve: {waiting} requests wait, {refused} were refused in {:.0} s; {why}",
            pair.seconds
        ),
        whose: if all_busy { Whose::Machine } else { Whose::Application },
        for_s: front.oldest_wait_s.or(Some(pair.seconds)),
        advice: advice.to_owned(),
    }]
}

fn serving(sight: &Sight) -> impl Iterator<Item = &Worker> {
    sight.workers.iter().filter(|worker| worker.serves())
}

/// Those that run a certain number of requests at once.
fn limited(sight: &Sight) -> impl Iterator<Item = &Worker> {
    serving(sight).filter(|worker| worker.capacity.is_some())
}

/// It is full, or has many, and most of them are slow while it does not compute.
fn waits_outside(pair: &Pair<'_>, worker: &Worker) -> bool {
    let Some(was) = pair.was(worker) else { return false };
    let open: Vec<&Running> =
        worker.running.iter().filter(|running| !running.answer_begun).collect();
    let slow = open.iter().filter(|running| is_slow(running)).count();
    let is_loaded = match worker.capacity {
        // Somebody waits for it, too: being busy is what workers are for.
        Some(_) => {
            worker.is_full() && was.is_full() && (pair.now.front.waiting > 0 || has_usual(&open))
        }
        // What waits as its own way of working is told by what is usual only.
        None => open.len() >= MANY && was.in_flight as usize >= MANY && has_usual(&open),
    };
    let is_alive = !worker.has_loop || worker.silent_s.is_none_or(|silent| silent < SILENT_S);
    let is_idle = pair.cpu(worker).is_some_and(|cpu| cpu < IDLE_SHARE);
    is_loaded && is_alive && is_idle && slow * 2 >= open.len() && slow > 0
}

fn has_usual(running: &[&Running]) -> bool {
    running.iter().any(|running| running.usual_s.is_some())
}

fn is_slow(running: &Running) -> bool {
    let usual = running.usual_s.map_or(0.0, |usual| usual * SLOW_TIMES);
    !running.answer_begun && running.age_s >= SLOW_S.max(usual)
}

/// What may have brought it about: the oldest requests, by name.
fn suspects(running: &[Running]) -> String {
    match running.iter().find(|running| !running.answer_begun) {
        Some(first) => {
            format!("; the first of its requests is {} since {:.1} s", first.name, first.age_s)
        }
        None => String::new(),
    }
}

fn most_frequent<'a>(names: impl Iterator<Item = &'a str>) -> (&'a str, usize) {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).unwrap_or(("requests", 0))
}
