//! What the supervisor sees: orders of operators, code that fails, workers that die.

use super::finding::{Cause, Finding, Whose};
use super::pair::Pair;
use super::sight::Sight;

/// So many deaths in so many seconds are no accident.
const DEATHS_MIN: u64 = 3;
const DEATHS_WITHIN_S: f64 = 60.0;
/// So many of a hundred answers of the last seconds are errors, of so many at least.
const ERRORS_PERCENT: u64 = 25;
const ANSWERS_MIN: u64 = 20;
const ERRORS_WITHIN_S: f64 = 10.0;
/// The same of one route.
const ROUTE_ERRORS_PERCENT: u64 = 50;
const ROUTE_ANSWERS_MIN: u64 = 10;

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
pub(super) fn broken_application(looks: &[Sight]) -> Vec<Finding> {
    let Some(now) = looks.last() else { return Vec::new() };
    if now.why.contains("application cannot be loaded") {
        return vec![Finding {
            cause: Cause::BrokenApplication,
            what: now.why.clone(),
            whose: Whose::Application,
            for_s: None,
            advice: "mend the code and save it: indrik logs shows the traceback".to_owned(),
        }];
    }
    fails(looks).into_iter().collect()
}

/// Too many of the answers of the last seconds are errors: of all, or of one route.
fn fails(looks: &[Sight]) -> Option<Finding> {
    let now = looks.last()?;
    let window = looks.iter().position(|sight| now.at - sight.at <= ERRORS_WITHIN_S)?;
    let window = &looks[window..];
    let (before, last) = (window.first()?, window.get(window.len().checked_sub(2)?)?);
    let of_all = |sight: &Sight| sight.front.answers;
    // It goes on.
    if of_all(now)?.1 <= of_all(last)?.1 {
        return None;
    }
    let (answers, errors) = since(of_all(before)?, of_all(now)?);
    let routes = now.front.failing.iter().filter_map(|(route, counts)| {
        // It is counted from its first error on.
        let known = window.iter().find_map(|sight| sight.front.failing.get(route))?;
        let (answers, errors) = since(*known, *counts);
        Some((route, answers, errors)).filter(|_| errors > 0)
    });
    let worst = routes.max_by_key(|(_, _, errors)| *errors);
    let is_much = answers >= ANSWERS_MIN && errors * 100 >= answers * ERRORS_PERCENT;
    let is_much_of_one = |(_, answers, errors): &(&String, u64, u64)| {
        *answers >= ROUTE_ANSWERS_MIN && errors * 100 >= answers * ROUTE_ERRORS_PERCENT
    };
    let failing_route = worst.filter(is_much_of_one);
    if !is_much && failing_route.is_none() {
        return None;
    }
    let first = window
        .iter()
        .find(|sight| of_all(sight).is_some_and(|it| it.1 > of_all(before).unwrap_or_default().1));
    let (what, whose) = match (failing_route, worst) {
        (Some((route, answers, errors)), _) => (
            format!("{route} fails: {errors} of its last {answers} answers are errors (5xx)"),
            Whose::Route(route.clone()),
        ),
        (None, Some((route, _, most))) => (
            format!(
                "the application fails: {errors} of the last {answers} answers are errors (5xx), {most} of them of {route}"
            ),
            Whose::Application,
        ),
        (None, None) => (
            format!(
                "the application fails: {errors} of the last {answers} answers are errors (5xx)"
            ),
            Whose::Application,
        ),
    };
    Some(Finding {
        cause: Cause::BrokenApplication,
        what,
        whose,
        for_s: Some(now.at - first.unwrap_or(before).at),
        advice: "indrik logs shows the tracebacks; if it was the last deploy, go back to the code before: indrik reload"
            .to_owned(),
    })
}

fn since(before: (u64, u64), now: (u64, u64)) -> (u64, u64) {
    (now.0.saturating_sub(before.0), now.1.saturating_sub(before.1))
}

/// Workers die as fast as they are started.
pub(super) fn crash_loop(looks: &[Sight]) -> Vec<Finding> {
    let Some((now, earlier)) = looks.split_last() else { return Vec::new() };
    let within = |sight: &&Sight| now.at - sight.at <= DEATHS_WITHIN_S;
    let Some(before) = earlier.iter().find(within) else { return Vec::new() };
    let died = deaths(now).saturating_sub(deaths(before));
    let is_told = now.why.contains("workers keep failing");
    if died < DEATHS_MIN && !is_told {
        return Vec::new();
    }
    let first = looks.iter().find(|sight| within(sight) && deaths(sight) > deaths(before));
    let for_s = first.map(|first| now.at - first.at);
    let seconds = now.at - before.at;
    let count_of =
        |sight: &Sight, reason: &str| sight.server.ends.get(reason).copied().unwrap_or(0);
    let reasons = now.server.ends.keys().filter(|reason| is_death(reason));
    let worst = reasons.max_by_key(|reason| {
        let grown = count_of(now, reason).saturating_sub(count_of(before, reason));
        (grown, count_of(now, reason))
    });
    let how = worst.map_or(String::new(), |reason| format!(" ({reason})"));
    let (ready, wanted) = (now.server.ready, now.server.wanted);
    vec![Finding {
        cause: Cause::CrashLoop,
        what: format!(
            "workers die again and again{how}: {died} in {seconds:.0} s, {ready} of {wanted} serve"
        ),
        whose: Whose::Application,
        for_s,
        advice: match worst.map(String::as_str) {
            Some("oom") => {
                "the kernel ends them for memory: allow more, or indrik scale -1".to_owned()
            }
            _ => "indrik logs shows how they end".to_owned(),
        },
    }]
}

fn deaths(sight: &Sight) -> u64 {
    let of = sight.server.ends.iter().filter(|(reason, _)| is_death(reason));
    of.map(|(_, count)| count).sum()
}

fn is_death(reason: &str) -> bool {
    reason.starts_with("crash:")
        || reason.starts_with("exit:")
        || matches!(reason, "oom" | "boot_failed" | "boot_timeout")
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
