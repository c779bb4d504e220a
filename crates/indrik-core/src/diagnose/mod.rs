//! Why is it slow, since when, whose fault, and what to do: named in words from looks at a server a few seconds apart.
//!
//! A rule names a cause only when both the first and the last look show it, or what was counted between them does; so a
//! moment of load is no finding. What a rule needs and nobody knows (`None` in [`sight`]) makes it silent, never guess.

mod finding;
mod processes;
mod requests;
mod service;
mod sight;

pub use finding::{Cause, Finding, Whose};
pub use sight::{Front, Machine, Pool, Running, Server, Sight, Worker};

/// Looks that are too near to each other say nothing about what goes on, seconds.
const APART_MIN_S: f64 = 0.5;
/// Looks that are older are not compared any more, seconds.
const APART_MAX_S: f64 = 60.0;
/// Findings that are told at most.
const FINDINGS_MAX: usize = 12;

/// Two looks that are compared, and the time between them.
#[derive(Clone, Copy)]
struct Pair<'a> {
    before: &'a Sight,
    now: &'a Sight,
    seconds: f64,
}

impl<'a> Pair<'a> {
    /// The same worker in the look before.
    fn was(&self, worker: &Worker) -> Option<&'a Worker> {
        self.before.workers.iter().find(|was| was.pid == worker.pid)
    }

    /// How much of a second each second was used of what grows from the one to the other.
    fn share(&self, before: Option<f64>, now: Option<f64>) -> Option<f64> {
        Some(((now? - before?) / self.seconds).max(0.0))
    }

    /// How much of one processor a worker used.
    fn cpu(&self, worker: &Worker) -> Option<f64> {
        self.share(self.was(worker)?.cpu_s, worker.cpu_s)
    }

    /// How much a count has grown.
    fn grown(&self, of: impl Fn(&Sight) -> u64) -> u64 {
        of(self.now).saturating_sub(of(self.before))
    }

    /// How often requests were refused for this reason.
    fn refused(&self, reason: &str) -> u64 {
        self.grown(|sight| sight.front.refused.get(reason).copied().unwrap_or(0))
    }
}

type Rule = fn(Pair<'_>) -> Vec<Finding>;

/// In the order in which they are told: what explains others comes first.
const RULES: [Rule; 14] = [
    service::paused,
    service::maintenance,
    processes::disk_full,
    processes::memory_near,
    processes::throttled,
    service::broken_application,
    service::crash_loop,
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
            let first = earlier.iter().find(fits).unwrap_or(before);
            found.extend(service::crash_loop(Pair {
                before: first,
                now,
                seconds: now.at - first.at,
            }));
            found.extend(processes::leak(looks));
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
