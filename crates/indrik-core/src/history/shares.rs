//! Which routes take the application's time: rates that forget what is older than a minute or two.

use std::collections::BTreeMap;

use serde::Serialize;

use super::reading::RouteCount;

/// Routes that are kept; those with the smallest share go.
const ROUTES_MAX: usize = 500;
/// In so many seconds what was counted loses two thirds of its weight.
const FADES_SECONDS: f64 = 60.0;
/// A route with less than this of a request is forgotten.
const LEAST: f64 = 0.02;

/// The routes.
#[derive(Clone, Debug, Default)]
pub struct Shares {
    routes: BTreeMap<String, RouteCount>,
    /// The seconds that count, by their weight.
    seconds: f64,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Its name; empty where the application said none.
    pub route: String,
    /// Its part of the time of all, 0 to 1.
    pub share: f64,
    /// Requests in a second.
    pub rate: f64,
    /// Of them failed.
    pub errors: f64,
    /// The application's time for one of them, in seconds.
    pub mean_s: f64,
}

impl Shares {
    /// So many seconds have passed, with this.
    pub fn pass<'a>(
        &mut self,
        seconds: f64,
        more: impl IntoIterator<Item = (&'a str, RouteCount)>,
    ) {
        let weight = (-seconds.max(0.0) / FADES_SECONDS).exp();
        self.seconds = self.seconds * weight + seconds;
        self.routes.retain(|_, route| {
            route.requests *= weight;
            route.errors *= weight;
            route.app_seconds *= weight;
            route.requests > LEAST
        });
        for (name, more) in more {
            let route = self.routes.entry(name.to_owned()).or_default();
            route.requests += more.requests;
            route.errors += more.errors;
            route.app_seconds += more.app_seconds;
        }
        while self.routes.len() > ROUTES_MAX {
            let small =
                self.routes.iter().min_by(|a, b| a.1.app_seconds.total_cmp(&b.1.app_seconds));
            let Some(small) = small.map(|(name, _)| name.clone()) else { return };
            self.routes.remove(&small);
        }
    }

    /// The largest first, so many at most.
    #[must_use]
    pub fn largest(&self, most: usize) -> Vec<Share> {
        let all: f64 = self.routes.values().map(|route| route.app_seconds).sum();
        let mut shares: Vec<Share> =
            self.routes.iter().map(|(name, route)| self.share(name, route, all)).collect();
        shares.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| b.rate.total_cmp(&a.rate)));
        shares.truncate(most);
        shares
    }

    fn share(&self, name: &str, route: &RouteCount, all: f64) -> Share {
        let part = |value: f64, of: f64| if of > 0.0 { value / of } else { 0.0 };
        Share {
            route: name.to_owned(),
            share: part(route.app_seconds, all),
            rate: part(route.requests, self.seconds),
            errors: part(route.errors, self.seconds),
            mean_s: part(route.app_seconds, route.requests),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(requests: f64, app_seconds: f64) -> RouteCount {
        RouteCount { requests, errors: 0.0, app_seconds }
    }

    #[test]
    fn a_route_that_is_called_no_more_fades_and_is_forgotten() {
        let mut shares = Shares::default();
        for second in 0..300 {
            shares.pass(1.0, [("/slow", count(2.0, 3.0)), ("/fast", count(100.0, 1.0))]);
            let rate = shares.largest(1)[0].rate;
            assert!((rate - 2.0).abs() < 0.01, "{rate} after {second} s");
        }
        let [slow, fast] = &shares.largest(9)[..] else { panic!() };
        assert_eq!((slow.route.as_str(), fast.route.as_str()), ("/slow", "/fast"));
        assert!((slow.share - 0.75).abs() < 0.01, "{slow:?}");
        assert!((slow.mean_s - 1.5).abs() < 0.01, "{slow:?}");
        for _ in 0..900 {
            shares.pass(1.0, [("/fast", count(100.0, 1.0))]);
        }
        assert_eq!(shares.largest(9).len(), 1);
    }

    #[test]
    fn of_ten_thousand_routes_the_largest_are_kept() {
        let mut shares = Shares::default();
        for number in 0..10_000 {
            let name = format!("/{number}");
            shares.pass(0.0, [(name.as_str(), count(1.0, f64::from(number)))]);
        }
        assert_eq!(shares.routes.len(), ROUTES_MAX);
        assert_eq!(shares.largest(1)[0].route, "/9999");
    }
}
