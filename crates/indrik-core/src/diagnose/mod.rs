//! Why is it slow, since when, whose fault, and what to do: named in words from looks at a server a few seconds apart.
//!
//! A rule names a cause only when both the first and the last look show it, or what was counted between them does; so a
//! moment of load is no finding. What a rule needs and nobody knows (`None` in [`sight`]) makes it silent, never guess.

mod finding;
mod pair;
mod processes;
mod requests;
mod service;
mod sight;
mod usual;
mod watch;

pub use finding::{Cause, Finding, Whose};
use pair::Pair;
pub use sight::{Front, Machine, Pool, Running, Server, Sight, Stalled, Worker};
pub use usual::Usual;
pub use watch::{Standing, Watch};

/// Looks that are too near to each other say nothing about what goes on, seconds.
const APART_MIN_S: f64 = 0.5;
/// Looks that are older are not compared any more, seconds.
const APART_MAX_S: f64 = 60.0;
/// Findings that are told at most.
const FINDINGS_MAX: usize = 12;

/// What explains others comes first: the order of [`Cause::ALL`], with what operators have ordered before it.
fn rank(cause: Cause) -> usize {
    let is_order = matches!(cause, Cause::Paused | Cause::Maintenance);
    if is_order { 0 } else { 1 + Cause::ALL.iter().position(|it| *it == cause).unwrap_or(0) }
}

type Rule = fn(Pair<'_>) -> Vec<Finding>;

/// Those that compare the last two looks.
const RULES: [Rule; 13] = [
    service::paused,
    service::maintenance,
    processes::disk_full,
    processes::memory_near,
    processes::throttled,
    processes::disk_slow,
    requests::blocked_loop,
    requests::kept_gil,
    requests::exhausted_pool,
    requests::slow_clients,
    requests::slow_backend,
    requests::full_queue,
    service::reload_failing,
];

/// What is wrong, the cause before what follows from it. `looks`: the oldest first; at least two of them, half a
/// second apart.
#[must_use]
pub fn diagnose(looks: &[Sight]) -> Vec<Finding> {
    let Some((now, earlier)) = looks.split_last() else { return Vec::new() };
    let fits = |before: &&Sight| (APART_MIN_S..=APART_MAX_S).contains(&(now.at - before.at));
    let mut found: Vec<Finding> = match earlier.iter().rfind(fits) {
        Some(before) => {
            let pair = Pair { before, now, seconds: now.at - before.at };
            let mut found: Vec<Finding> = RULES.iter().flat_map(|rule| rule(pair)).collect();
            // What needs longer than the last step is asked of all looks.
            found.extend(service::broken_application(looks));
            found.extend(service::crash_loop(looks));
            found.extend(processes::leak(looks));
            found.sort_by_key(|finding| rank(finding.cause));
            found
        }
        None => Vec::new(),
    };
    found.extend(service::told(now, &found));
    let mut seen = Vec::new();
    found.retain(|finding| {
        let key = (finding.cause, finding.whose.clone());
        let is_new = !seen.contains(&key);
        seen.push(key);
        is_new
    });
    found.truncate(FINDINGS_MAX);
    found
}
