//! How long requests of a route take as a rule: learned from what was counted, the last half minute left out.
//!
//! What is slow now must not make itself usual, so nothing is learned while requests are found to be slow, for an hour at
//! most: after that it is how things are.

use std::collections::{BTreeMap, VecDeque};

use crate::history::RouteCount;

/// What is younger is not learned from yet, seconds; and it is kept in steps of so many.
const YOUNG_S: f64 = 30.0;
const STEP_S: f64 = 10.0;
/// In so many seconds what was learned loses two thirds of its weight.
const FADES_S: f64 = 1_800.0;
/// Fewer requests say nothing of what is usual.
const REQUESTS_MIN: f64 = 5.0;
/// Routes that are known; of others nothing is learned.
const ROUTES_MAX: usize = 2_000;
/// For so long what is slow is an exception, seconds.
const SICK_MAX_S: f64 = 3_600.0;

/// What is known of the routes of one server.
#[derive(Debug, Default)]
pub struct Usual {
    learned: BTreeMap<String, Sum>,
    young: VecDeque<Step>,
    sick_s: f64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    requests: f64,
    seconds: f64,
}

#[derive(Debug, Default)]
struct Step {
    lasts_s: f64,
    routes: BTreeMap<String, Sum>,
}

impl Usual {
    /// So many seconds have passed, with these requests of each route. `is_slow`: they were found to be slow.
    pub fn pass<'a>(
        &mut self,
        seconds: f64,
        more: impl IntoIterator<Item = (&'a str, RouteCount)>,
        is_slow: bool,
    ) {
        self.sick_s = if is_slow { self.sick_s + seconds } else { 0.0 };
        if is_slow && self.sick_s < SICK_MAX_S {
            // It had begun before it was found.
            self.young.clear();
            return;
        }
        if self.young.back().is_none_or(|step| step.lasts_s >= STEP_S) {
            self.young.push_back(Step::default());
        }
        if let Some(step) = self.young.back_mut() {
            step.take(seconds, more);
        }
        while self.young.iter().skip(1).map(|step| step.lasts_s).sum::<f64>() >= YOUNG_S {
            let Some(old) = self.young.pop_front() else { return };
            self.learn(old);
        }
    }

    /// Of a route that is known: seconds that the application takes for a request of it.
    #[must_use]
    pub fn of(&self, route: &str) -> Option<f64> {
        let sum = self.learned.get(route).filter(|sum| sum.requests >= REQUESTS_MIN)?;
        Some(sum.seconds / sum.requests)
    }

    fn learn(&mut self, step: Step) {
        let weight = (-step.lasts_s / FADES_S).exp();
        for sum in self.learned.values_mut() {
            *sum = Sum { requests: sum.requests * weight, seconds: sum.seconds * weight };
        }
        self.learned.retain(|_, sum| sum.requests > 0.1);
        for (route, more) in step.routes {
            if self.learned.len() < ROUTES_MAX || self.learned.contains_key(&route) {
                self.learned.entry(route).or_default().add(more);
            }
        }
    }
}

impl Step {
    fn take<'a>(&mut self, seconds: f64, more: impl IntoIterator<Item = (&'a str, RouteCount)>) {
        self.lasts_s += seconds;
        for (route, more) in more {
            // What has no name is many things.
            let is_known = self.routes.contains_key(route);
            if route.is_empty() || (!is_known && self.routes.len() >= ROUTES_MAX) {
                continue;
            }
            let more = Sum { requests: more.requests, seconds: more.app_seconds };
            self.routes.entry(route.to_owned()).or_default().add(more);
        }
    }
}

impl Sum {
    fn add(&mut self, more: Self) {
        self.requests += more.requests;
        self.seconds += more.seconds;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pass(usual: &mut Usual, seconds: usize, took: f64, is_slow: bool) {
        for _ in 0..seconds {
            let count = RouteCount { requests: 10.0, errors: 0.0, app_seconds: 10.0 * took };
            usual.pass(1.0, [("/a", count), ("", count)], is_slow);
        }
    }

    #[test]
    fn what_is_usual_is_learned_late_and_not_of_what_is_found_slow() {
        let mut usual = Usual::default();
        pass(&mut usual, 20, 0.05, false);
        assert_eq!(usual.of("/a"), None);
        pass(&mut usual, 60, 0.05, false);
        assert!((usual.of("/a").unwrap() - 0.05).abs() < 1e-9);
        assert_eq!(usual.of(""), None);
        pass(&mut usual, 20, 9.0, false);
        pass(&mut usual, 600, 9.0, true);
        assert!((usual.of("/a").unwrap() - 0.05).abs() < 1e-9);
    }

    #[test]
    fn what_is_slow_for_more_than_an_hour_becomes_usual() {
        let mut usual = Usual::default();
        pass(&mut usual, 60, 0.05, false);
        pass(&mut usual, 3 * 3_600, 9.0, true);
        assert!(usual.of("/a").unwrap() > 8.0);
    }

    #[test]
    fn ten_thousand_routes_are_bounded() {
        let mut usual = Usual::default();
        for number in 0..10_000 {
            let name = format!("/{number}");
            usual.pass(
                1.0,
                [(name.as_str(), RouteCount { requests: 9.0, errors: 0.0, app_seconds: 1.0 })],
                false,
            );
        }
        assert!(usual.learned.len() <= ROUTES_MAX);
    }
}
