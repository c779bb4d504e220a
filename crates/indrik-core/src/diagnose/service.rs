//! What the supervisor sees: orders of operators, code that fails, workers that die.

use super::finding::{Cause, Finding, Whose};
use super::pair::Pair;
use super::sight::Sight;

/// So many deaths between two looks are no accident.
const DEATHS_MIN: u64 = 3;
/// So many of a hundred answers are errors, of so many at least.
const ERRORS_PERCENT: u64 = 25;
const ANSWERS_MIN: u64 = 20;

/// An operator holds requests.
pub(super) fn paused(pair: Pair<'_>) -> Vec<Finding> {
    let Some(left) = pair.now.server.paused_s else { return Vec::new() };
    let waiting = pair.now.front.waiting;
    vec![Finding {
        cause: Cause::Paused,
        what: format!("requests are held by a pause for {left:.0} s more at most; {waiting} wait"),
        whose: Whose::Operator,
        for_s: None,
        advice: "indrik resume".to_owned(),
    }]
}

/// An operator has the front answer requests.
pub(super) fn maintenance(pair: Pair<'_>) -> Vec<Finding> {
    if !pair.now.server.maintenance {
        return Vec::new();
    }
    vec![Finding {
        cause: Cause::Maintenance,
        what: "maintenance: requests are answered 503 by the front".to_owned(),
        whose: Whose::Operator,
        for_s: None,
        advice: "indrik maintenance off".to_owned(),
    }]
}

/// The application cannot be loaded, or answers errors.
pub(super) fn broken_application(pair: Pair<'_>) -> Vec<Finding> {
    if pair.now.why.contains("application cannot be loaded") {
        return vec![Finding {
            cause: Cause::BrokenApplication,
            what: pair.now.why.clone(),
            whose: Whose::Application,
            for_s: None,
            advice: "mend the code and save it: indrik logs shows the traceback".to_owned(),
        }];
    }
    let (Some((all_before, errors_before)), Some((all, errors))) =
        (pair.before.front.answers, pair.now.front.answers)
    else {
        return Vec::new();
    };
    let (answers, errors) = (all.saturating_sub(all_before), errors.saturating_sub(errors_before));
    if answers < ANSWERS_MIN || errors * 100 < answers * ERRORS_PERCENT {
        return Vec::new();
    }
    vec![Finding {
        cause: Cause::BrokenApplication,
        what: format!("the application fails: {errors} of the last {answers} answers are errors (5xx)"),
        whose: Whose::Application,
        for_s: Some(pair.seconds),
        advice: "indrik logs shows the tracebacks; if it was the last deploy, go back to the code before: indrik reload"
            .to_owned(),
    }]
}

/// Workers die as fast as they are started.
pub(super) fn crash_loop(pair: Pair<'_>) -> Vec<Finding> {
    let is_death = |reason: &str| {
        reason.starts_with("crash:")
            || reason.starts_with("exit:")
            || matches!(reason, "oom" | "boot_failed" | "boot_timeout")
    };
    let deaths = |sight: &Sight| {
        let of = sight.server.ends.iter().filter(|(reason, _)| is_death(reason));
        of.map(|(_, count)| count).sum::<u64>()
    };
    let died = pair.grown(deaths);
    let is_told = pair.now.why.contains("workers keep failing");
    if died < DEATHS_MIN && !is_told {
        return Vec::new();
    }
    let count_of =
        |sight: &Sight, reason: &str| sight.server.ends.get(reason).copied().unwrap_or(0);
    let reasons = pair.now.server.ends.keys().filter(|reason| is_death(reason));
    let worst = reasons.max_by_key(|reason| {
        let grown = count_of(pair.now, reason)
            - count_of(pair.before, reason).min(count_of(pair.now, reason));
        (grown, count_of(pair.now, reason))
    });
    let how = worst.map_or(String::new(), |reason| format!(" ({reason})"));
    let (ready, wanted) = (pair.now.server.ready, pair.now.server.wanted);
    vec![Finding {
        cause: Cause::CrashLoop,
        what: format!(
            "workers die again and again{how}: {died} in {:.0} s, {ready} of {wanted} serve",
            pair.seconds
        ),
        whose: Whose::Application,
        for_s: Some(pair.seconds),
        advice: match worst.map(String::as_str) {
            Some("oom") => {
                "the kernel ends them for memory: allow more, or indrik scale -1".to_owned()
            }
            _ => "indrik logs shows how they end".to_owned(),
        },
    }]
}

/// New code does not come into service.
pub(super) fn reload_failing(pair: Pair<'_>) -> Vec<Finding> {
    let Some(why) = &pair.now.server.reload_failed else { return Vec::new() };
    vec![Finding {
        cause: Cause::ReloadFailing,
        what: format!("the last reload failed ({why}); the code before it serves on"),
        whose: Whose::Application,
        for_s: None,
        advice: "mend it and try again: indrik reload prints the traceback".to_owned(),
    }]
}

/// What the supervisor says and no rule has named.
pub(super) fn told(now: &Sight, found: &[Finding]) -> Option<Finding> {
    let is_named = found.iter().any(|finding| finding.cause != Cause::ReloadFailing);
    let is_order = now.server.paused_s.is_some() || now.server.maintenance;
    (!now.why.is_empty() && !is_named && !is_order).then(|| Finding {
        cause: Cause::Told,
        what: now.why.clone(),
        whose: Whose::Application,
        for_s: None,
        advice: "indrik logs says more".to_owned(),
    })
}
