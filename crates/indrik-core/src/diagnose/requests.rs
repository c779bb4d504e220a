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
const CLIENT_SLOW_S: f64 = 2.0;
/// Who waits for Python's lock looks for it every 5 ms, and goes to sleep so often in a second.
const GIL_SLEEPS_S: std::ops::RangeInclusive<f64> = 120.0..=260.0;
/// Requests of which one keeps Python's lock are named, if they are no more.
const SUSPECTS_MAX: usize = 3;
/// Who is refused nothing waits so long for a connection of a pool, where that is no moment's affair, seconds.
const POOL_WAIT_S: f64 = 0.2;
/// The first in the queue has waited so long, seconds.
const WAIT_S: f64 = 1.0;

/// Event loops that stand still.
pub(super) fn blocked_loop(pair: Pair<'_>) -> Vec<Finding> {
    let blocked = |worker: &Worker| {
        let silent = stands_still(&pair, worker)?;
        // Its main thread waits, too.
        if keeps_from_loop(&pair, worker) {
            return None;
        }
        let computes = pair.cpu(worker).map(|cpu| cpu >= BUSY_SHARE);
        let how = match computes {
            Some(true) => "something computes in it",
            Some(false) => "something waits in it that does not say await",
            None => "something runs in it that does not say await",
        };
        let (place, pid) = (worker.place, worker.pid);
        let suspects = holder(worker, silent);
        Some(Finding {
            cause: Cause::BlockedLoop,
            what: format!(
                "the event loop of worker {place} (pid {pid}) stands still: {how}{suspects}"
            ),
            whose: Whose::Worker(place, pid),
            for_s: Some(silent),
            advice: format!(
                "indrik stacks {place} shows where; move it to a thread (asyncio.to_thread)"
            ),
        })
    };
    serving(pair.now).filter_map(blocked).collect()
}

/// For how long a worker's loop has stood still at least.
fn stands_still(pair: &Pair<'_>, worker: &Worker) -> Option<f64> {
    let was = pair.was(worker)?;
    let silent = worker.silent_s.filter(|silent| *silent >= SILENT_S && worker.in_flight > 0);
    let share = pair.share(was.loop_blocked_s, worker.loop_blocked_s);
    let share = share.filter(|share| *share >= INSIDE_SHARE).map(|_| pair.seconds);
    silent.or(share).filter(|_| worker.has_loop)
}

/// Whether a loop stands still because another thread does not let go of Python's lock: that thread computes while the
/// main one does not, or the main one asks for the lock again and again.
fn keeps_from_loop(pair: &Pair<'_>, worker: &Worker) -> bool {
    let Some(main) = pair.main_cpu(worker).filter(|main| *main < IDLE_SHARE) else { return false };
    let computes = pair.cpu(worker).is_some_and(|cpu| cpu - main >= BUSY_SHARE);
    computes || pair.main_sleeps(worker).is_some_and(|sleeps| GIL_SLEEPS_S.contains(&sleeps))
}

/// For how long a thread has kept those of a worker of threads from running at least.
fn keeps_from_threads(pair: &Pair<'_>, worker: &Worker) -> Option<f64> {
    let was = pair.was(worker)?;
    let has_threads = worker.capacity.is_some_and(|capacity| capacity > 1);
    let silent =
        worker.silent_s.filter(|silent| has_threads && *silent >= SILENT_S && worker.in_flight > 0);
    let share = pair.share(was.gil_waited_s, worker.gil_waited_s);
    let share = share.filter(|share| *share >= INSIDE_SHARE).map(|_| pair.seconds);
    silent.or(share)
}

/// The requests of which one keeps the lock: they have run since before it was kept. While it is, none begins and none
/// ends.
fn keepers(worker: &Worker, for_s: f64) -> String {
    if let (Some(by), true) = (&worker.blocked_by, worker.silent_s.is_none_or(|it| it < SILENT_S)) {
        return format!("; the last time it was the request {}", path(by));
    }
    let may =
        |running: &&Running| !running.waits_for_client && running.age_s >= for_s * INSIDE_SHARE;
    let all: Vec<String> = worker
        .running
        .iter()
        .filter(may)
        .map(|running| format!("{} since {:.1} s", running.name, running.age_s))
        .collect();
    match &all[..] {
        [one] => format!("; it is the request {one}"),
        [_, ..] if all.len() <= SUSPECTS_MAX => {
            format!("; it is one of its requests {}", all.join(", "))
        }
        _ => String::new(),
    }
}

/// Threads that nobody else gets Python's lock from.
pub(super) fn kept_gil(pair: Pair<'_>) -> Vec<Finding> {
    let kept = |worker: &Worker| {
        let for_s = if worker.has_loop {
            stands_still(&pair, worker).filter(|_| keeps_from_loop(&pair, worker))
        } else {
            keeps_from_threads(&pair, worker)
        }?;
        let (place, pid) = (worker.place, worker.pid);
        let suspects = keepers(worker, for_s);
        Some(Finding {
            cause: Cause::KeptGil,
            what: format!(
                "one thread of worker {place} (pid {pid}) keeps Python's lock (GIL), and the others wait{suspects}"
            ),
            whose: Whose::Worker(place, pid),
            for_s: Some(for_s),
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
    let was = |pool: &Pool| {
        pair.before.pools.iter().find(|was| was.name == pool.name && was.place == pool.place)
    };
    let is_found = |pool: &&Pool| {
        let Some(was) = was(pool) else { return false };
        let refuses = pool.refused > was.refused && pool.max > 0 && was.waiting > 0;
        refuses || (is_out(pool) && is_out(was) && wait(&pair, was, pool) >= POOL_WAIT_S)
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
    pair.now.pools.iter().filter(is_found).map(finding).collect()
}

/// How long somebody waits for a connection, as those who wait and those who have stopped to tell (Little's law).
fn wait(pair: &Pair<'_>, was: &Pool, now: &Pool) -> f64 {
    let ended = u32::try_from(now.waited.saturating_sub(was.waited)).unwrap_or(u32::MAX);
    let waiting = u32::try_from(now.waiting.min(was.waiting)).unwrap_or(u32::MAX);
    f64::from(waiting) * pair.seconds / f64::from(ended.max(1))
}

/// Workers that are full of answers which their clients do not take.
pub(super) fn slow_clients<'a>(pair: Pair<'a>) -> Vec<Finding> {
    let late = pair.refused("head_timeout") + pair.refused("body_timeout");
    let waits = |running: &&Running| running.waits_for_client && running.age_s >= CLIENT_SLOW_S;
    let held_in = |sight: &'a Sight| -> Vec<&'a Running> {
        limited(sight).flat_map(|worker| &worker.running).filter(waits).collect()
    };
    let (held, were) = (held_in(pair.now), held_in(pair.before).len());
    let places: u64 = limited(pair.now).filter_map(|worker| worker.capacity).map(u64::from).sum();
    let is_held = were > 0 && held.len() as u64 * 2 >= places && !held.is_empty();
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
    // Nor are a few, while nobody waits.
    if slow.len() < MANY && pair.now.front.waiting == 0 {
        return Vec::new();
    }
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
    // Without any worker the supervisor says why, or the server begins.
    if pair.now.server.paused_s.is_some() || pair.now.server.ready == 0 {
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
    // Others on this machine may have them.
    let wanted = pair.share(pair.before.machine.cpu_wanted_s, pair.now.machine.cpu_wanted_s);
    let all_busy = (pair.now.machine.cpus > 0.0
        && processors >= BUSY_SHARE * pair.now.machine.cpus)
        || wanted.is_some_and(|share| share >= BUSY_SHARE);
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
    // Long polls are as they should be.
    let is_long = |running: &Running| running.usual_s.is_some_and(|usual| usual >= SLOW_S);
    let open: Vec<&Running> = worker
        .running
        .iter()
        .filter(|running| !running.answer_begun && (is_slow(running) || !is_long(running)))
        .collect();
    let slow = open.iter().filter(|running| is_slow(running)).count();
    let is_loaded = match worker.capacity {
        // Somebody waits for it, too: being busy is what workers are for.
        Some(_) => {
            worker.is_full() && was.is_full() && (pair.now.front.waiting > 0 || has_usual(&open))
        }
        // What waits as its own way of working is told by what is usual only.
        None => slow >= MANY && was.in_flight as usize >= MANY && has_usual(&open),
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

/// Which request has brought it about that a loop stands still.
fn holder(worker: &Worker, for_s: f64) -> String {
    let named = |how: &str, running: &Running| {
        format!("; {how} {} since {:.1} s", running.name, running.age_s)
    };
    if let Some(holder) = worker.running.iter().find(|running| running.holds_loop) {
        return named("it is the request", holder);
    }
    let is_silent = worker.silent_s.is_some_and(|silent| silent >= SILENT_S);
    if let (Some(by), false) = (&worker.blocked_by, is_silent) {
        return format!("; the last time it was the request {}", path(by));
    }
    // What came later did not begin.
    let before =
        |running: &&Running| !running.answer_begun && running.age_s >= for_s * INSIDE_SHARE;
    let first = worker.running.iter().find(before);
    first.map_or(String::new(), |first| named("the first of its requests is", first))
}

/// A request's method and path: what stands behind a question mark may be a secret.
fn path(request: &str) -> &str {
    request.split('?').next().unwrap_or(request)
}

fn most_frequent<'a>(names: impl Iterator<Item = &'a str>) -> (&'a str, usize) {
    let mut counts = std::collections::BTreeMap::<&str, usize>::new();
    for name in names {
        *counts.entry(name).or_default() += 1;
    }
    counts.into_iter().max_by_key(|(_, count)| *count).unwrap_or(("requests", 0))
}
