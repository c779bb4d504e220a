//! From what was counted to the values that thresholds are compared with.

use super::counted::Counted;
use super::row::Measure;
use super::span::Span;
use crate::history::quantile;

/// A request that waits for so long makes a queue one that is too long, seconds.
const WAIT_MIN_S: f64 = 1.0;

/// A moment, and the looks before it.
pub(super) struct Looks<'a> {
    pub(super) now: &'a Counted,
    /// Those of the rule's window.
    pub(super) span: &'a Span,
    /// The first of them, and how many seconds ago it was.
    pub(super) first: Option<(&'a Counted, f64)>,
    /// Seconds since 1970.
    pub(super) unix_s: f64,
}

/// The values of a measure, each with what it is of. What is not known has none.
pub(super) fn values(measure: Measure, looks: &Looks<'_>) -> Vec<(String, f64)> {
    let now = looks.now;
    let one = |value: Option<f64>| value.map(|value| (String::new(), value)).into_iter().collect();
    let share = |part: Option<f64>, of: Option<f64>| {
        part.zip(of).filter(|(_, of)| *of > 0.0).map(|(part, of)| part / of)
    };
    let rate = |of: fn(&Counted) -> Option<f64>| {
        let (then, seconds) = looks.first?;
        // The time of a process that ends is missing until it is reaped.
        Some((of(now)? - of(then)?).max(0.0) / seconds)
    };
    let grown = |of: fn(&Counted) -> f64| looks.first.map(|(then, _)| of(now) - of(then));
    match measure {
        Measure::Cpu => one(share(rate(|it| it.cpu_s), now.cpu_allowed)),
        Measure::Memory => one(share(now.memory_used, now.memory_allowed)),
        Measure::RouteErrors => looks.first.map_or_else(Vec::new, |(then, _)| of_routes(then, now)),
        Measure::Success => one(looks.first.and_then(|(then, _)| success(then, now))),
        Measure::P95 => one(looks.first.and_then(|(then, _)| quantile(&times(then, now), 0.95))),
        Measure::Mean => one(looks.first.and_then(|(then, _)| mean(then, now))),
        Measure::Queue => one(queue(looks)),
        Measure::Refused => looks.first.map_or_else(Vec::new, |(then, seconds)| {
            let more = now.refused.iter().map(|(reason, count)| {
                let before = then.refused.get(reason).copied().unwrap_or_default();
                (reason.clone(), (count - before) / seconds)
            });
            more.collect()
        }),
        Measure::WorkerEnds => one(grown(|it| it.worker_ends)),
        Measure::ReloadFailed => one(grown(|it| it.reloads_failed)),
        Measure::Breaker => one(now.breaker),
        Measure::Ready => one(now.ready),
        Measure::Throttled => one(rate(|it| it.throttled_s)),
        Measure::Disk => {
            let disks = now.disks.iter().filter(|(_, (_, size))| *size > 0.0);
            disks.map(|(name, (free, size))| (name.clone(), free / size)).collect()
        }
        Measure::Certificate => one(now.certificate_ends.map(|ends| ends - looks.unix_s)),
    }
}

/// What no worker had has no route; of that an operator's wish is no failure.
fn of_routes(then: &Counted, now: &Counted) -> Vec<(String, f64)> {
    let on_purpose = now.on_purpose - then.on_purpose;
    let shares = now.routes.iter().filter_map(|(route, (all, errors))| {
        let (all_before, errors_before) = then.routes.get(route).copied().unwrap_or_default();
        let (all, errors) = (all - all_before, errors - errors_before);
        let wanted = if route.is_empty() { on_purpose } else { 0.0 };
        (all > 0.0).then(|| (route.clone(), (errors - wanted).max(0.0) / all))
    });
    shares.collect()
}

fn success(then: &Counted, now: &Counted) -> Option<f64> {
    let all = now.requests - then.requests;
    let failed = (now.failed - then.failed) - (now.on_purpose - then.on_purpose);
    (all > 0.0).then(|| 1.0 - failed.max(0.0) / all)
}

fn times(then: &Counted, now: &Counted) -> Vec<(i32, u64)> {
    let had = |bucket: &i32| then.times.get(bucket).copied().unwrap_or_default();
    let more = now.times.iter().map(|(bucket, count)| (*bucket, count.saturating_sub(had(bucket))));
    more.filter(|(_, count)| *count > 0).collect()
}

fn mean(then: &Counted, now: &Counted) -> Option<f64> {
    let count: u64 = times(then, now).iter().map(|(_, count)| count).sum();
    (count > 0).then(|| (now.time_sum - then.time_sum) / count as f64)
}

/// How many wait, if one waits for long and they become more.
fn queue(looks: &Looks<'_>) -> Option<f64> {
    let waiting = looks.now.waiting.filter(|_| looks.now.oldest_wait_s > WAIT_MIN_S)?;
    (looks.span.slope(|it| it.waiting)? > 0.0).then_some(waiting)
}
