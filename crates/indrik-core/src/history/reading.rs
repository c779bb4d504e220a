//! From what the front has counted since its start to what happens in a second.
//!
//! A [`Reading`] is what was counted until a moment; two of them, one after the other, make a [`Row`] and what each route
//! and each group of failures had in between.

use std::collections::BTreeMap;

use crate::metrics::{Distribution, Family, Sample, Value};

use super::series::{Row, Series};

/// What was counted until a moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    requests: f64,
    errors_4xx: f64,
    errors_5xx: f64,
    refused: f64,
    bytes: [f64; 2],
    /// Observations by Prometheus' native buckets; the smallest are those that count as zero.
    times: BTreeMap<i32, u64>,
    phases: BTreeMap<&'static str, Observed>,
    routes: BTreeMap<String, RouteCount>,
    failures: BTreeMap<String, u64>,
    /// Answers with a status from 500 on: all of them, and by route.
    failed: f64,
    failed_routes: BTreeMap<String, f64>,
    websockets: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Observed {
    count: f64,
    seconds: f64,
}

/// What was counted of a route.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RouteCount {
    /// Requests that are over.
    pub requests: f64,
    /// Of them with a status from 500, or none.
    pub errors: f64,
    /// The application's time, in seconds.
    pub app_seconds: f64,
}

/// Our phases, and the phase of the chart that each belongs to.
const PHASES: [(&str, Series); 6] = [
    ("head", Series::PhaseClient),
    ("body", Series::PhaseClient),
    ("queue", Series::PhaseQueue),
    ("ahead", Series::PhaseQueue),
    ("app", Series::PhaseApp),
    ("answer", Series::PhaseAnswer),
];
/// Native buckets for each doubling.
const PER_OCTAVE: f64 = 8.0;
/// Reasons of answers that were the client's doing.
const CLIENT_LEFT: &str = "client_left";

impl Reading {
    /// What these families say.
    #[must_use]
    pub fn of(families: &[Family]) -> Self {
        let mut reading = Self::default();
        for family in families {
            for sample in &family.samples {
                reading.take(&family.name, sample);
            }
        }
        reading
    }

    fn take(&mut self, family: &str, sample: &Sample) {
        match (family, &sample.value) {
            ("indrik_http_requests", Value::Number(count)) => self.take_requests(sample, *count),
            ("indrik_http_request_duration_seconds", Value::Distribution(times)) => {
                self.take_times(times)
            }
            ("indrik_http_request_phase_seconds", Value::Distribution(times)) => {
                let phase = PHASES.iter().find(|(phase, _)| *phase == label(sample, "phase"));
                let Some((phase, _)) = phase else { return };
                let observed = self.phases.entry(phase).or_default();
                observed.count += times.count() as f64;
                observed.seconds += times.sum;
            }
            ("indrik_http_route_phase_seconds", Value::Number(seconds))
                if label(sample, "phase") == "app" =>
            {
                self.routes.entry(label(sample, "route").to_owned()).or_default().app_seconds +=
                    seconds;
            }
            ("indrik_http_refused", Value::Number(count))
                if label(sample, "reason") != CLIENT_LEFT =>
            {
                self.refused += count;
            }
            ("indrik_http_io_bytes", Value::Number(count)) => {
                self.bytes[usize::from(label(sample, "direction") == "transmit")] += count;
            }
            ("indrik_websockets_open", Value::Number(count)) => self.websockets = Some(*count),
            _ => {}
        }
    }

    fn take_requests(&mut self, sample: &Sample, count: f64) {
        let (method, status) = (label(sample, "method"), label(sample, "status"));
        let route = label(sample, "route");
        self.requests += count;
        let of_route = self.routes.entry(route.to_owned()).or_default();
        of_route.requests += count;
        match label(sample, "class") {
            "4xx" => self.errors_4xx += count,
            class @ ("5xx" | "none") => {
                if class == "5xx" {
                    self.failed += count;
                    *self.failed_routes.entry(route.to_owned()).or_default() += count;
                }
                self.errors_5xx += count;
                of_route.errors += count;
                let route = if route.is_empty() { "(no route)" } else { route };
                let name = format!("{method} {route} {status}");
                *self.failures.entry(name).or_default() += whole(count);
            }
            _ => {}
        }
    }

    fn take_times(&mut self, times: &Distribution) {
        let Some(native) = &times.native else { return };
        *self.times.entry(i32::MIN).or_default() += native.zero_count;
        for (bucket, count) in &native.buckets {
            *self.times.entry(*bucket).or_default() += count;
        }
    }

    /// What happened since an earlier one, in so many seconds.
    #[must_use]
    pub fn since(&self, before: &Self, seconds: f64) -> Row {
        let mut row = Row::default();
        let mut rate = |series, now: f64, before: f64| row.set(series, (now - before) / seconds);
        rate(Series::Requests, self.requests, before.requests);
        rate(Series::Errors4xx, self.errors_4xx, before.errors_4xx);
        rate(Series::Errors5xx, self.errors_5xx, before.errors_5xx);
        rate(Series::Refused, self.refused, before.refused);
        rate(Series::BytesIn, self.bytes[0], before.bytes[0]);
        rate(Series::BytesOut, self.bytes[1], before.bytes[1]);
        self.websockets.into_iter().for_each(|count| row.set(Series::WebSockets, count));
        let times = self.times_since(before);
        for (series, part) in [(Series::P50, 0.5), (Series::P95, 0.95), (Series::P99, 0.99)] {
            quantile(&times, part).into_iter().for_each(|time| row.set(series, time));
        }
        self.phases_since(before, &mut row);
        row
    }

    fn times_since(&self, before: &Self) -> Vec<(i32, u64)> {
        let had = |bucket: &i32| before.times.get(bucket).copied().unwrap_or_default();
        let more =
            self.times.iter().map(|(bucket, count)| (*bucket, count.saturating_sub(had(bucket))));
        more.filter(|(_, count)| *count > 0).collect()
    }

    fn phases_since(&self, before: &Self, row: &mut Row) {
        let requests = self.requests - before.requests;
        if requests <= 0.0 {
            return;
        }
        let mut sums: BTreeMap<&str, (Series, f64)> = BTreeMap::new();
        for (phase, series) in PHASES {
            let now = self.phases.get(phase).copied().unwrap_or_default();
            let then = before.phases.get(phase).copied().unwrap_or_default();
            sums.entry(series.name()).or_insert((series, 0.0)).1 += now.seconds - then.seconds;
        }
        for (series, seconds) in sums.values() {
            row.set(*series, seconds / requests);
        }
    }

    /// What each route had since an earlier reading, those that had nothing left out.
    #[must_use]
    pub fn routes_since(&self, before: &Self) -> Vec<(&str, RouteCount)> {
        let more = self.routes.iter().map(|(route, now)| {
            let then = before.routes.get(route).copied().unwrap_or_default();
            let more = RouteCount {
                requests: now.requests - then.requests,
                errors: now.errors - then.errors,
                app_seconds: now.app_seconds - then.app_seconds,
            };
            (route.as_str(), more)
        });
        more.filter(|(_, more)| more.requests > 0.0 || more.app_seconds > 0.0).collect()
    }

    /// Answers until this moment, and those of them that are errors (5xx); of both so many are not the application's.
    #[must_use]
    pub fn answers(&self, not_its_own: u64) -> (u64, u64) {
        let own = |count: f64| whole(count).saturating_sub(not_its_own);
        (own(self.requests), own(self.failed))
    }

    /// The same of the routes with the most errors, so many at most.
    #[must_use]
    pub fn failing(&self, most: usize) -> BTreeMap<String, (u64, u64)> {
        let mut failed: Vec<(&String, &f64)> =
            self.failed_routes.iter().filter(|(route, _)| !route.is_empty()).collect();
        failed.sort_by(|one, other| other.1.total_cmp(one.1));
        let of = |route: &String| self.routes.get(route).map_or(0.0, |count| count.requests);
        let shown = failed.into_iter().take(most);
        shown.map(|(route, errors)| (route.clone(), (whole(of(route)), whole(*errors)))).collect()
    }

    /// How many failures of each group there were since an earlier reading.
    #[must_use]
    pub fn failures_since(&self, before: &Self) -> Vec<(&str, u64)> {
        let had = |name: &str| before.failures.get(name).copied().unwrap_or_default();
        let more = self.failures.iter();
        let more = more.map(|(name, count)| (name.as_str(), count.saturating_sub(had(name))));
        more.filter(|(_, count)| *count > 0).collect()
    }

    /// The front has begun anew: its counts went back.
    #[must_use]
    pub fn is_behind(&self, before: &Self) -> bool {
        self.requests < before.requests
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
const fn whole(count: f64) -> u64 {
    count as u64
}

fn label<'a>(sample: &'a Sample, name: &str) -> &'a str {
    sample.labels.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
}

/// The time within which this part of the observations lies, in seconds.
pub(crate) fn quantile(times: &[(i32, u64)], part: f64) -> Option<f64> {
    let all: u64 = times.iter().map(|(_, count)| count).sum();
    if all == 0 {
        return None;
    }
    let rank = part * all as f64;
    let mut below = 0.0;
    for (bucket, count) in times {
        let count = *count as f64;
        if below + count >= rank {
            // In a bucket they are taken to lie evenly on its logarithmic scale.
            let inside = ((rank - below) / count).clamp(0.0, 1.0);
            let time = ((f64::from(*bucket) - 1.0 + inside) / PER_OCTAVE).exp2();
            return Some(if *bucket == i32::MIN { 0.0 } else { time });
        }
        below += count;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Kind, Labels, Native};

    fn family(
        name: &'static str,
        samples: Vec<(Vec<(&'static str, &'static str)>, Value)>,
    ) -> Family {
        let labels = |labels: Vec<(&'static str, &'static str)>| -> Labels {
            labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
        };
        let samples =
            samples.into_iter().map(|(pairs, value)| Sample { labels: labels(pairs), value });
        Family {
            name: name.into(),
            help: "".into(),
            kind: Kind::Counter,
            unit: "".into(),
            samples: samples.collect(),
        }
    }

    fn requests(
        method: &'static str,
        status: &'static str,
        class: &'static str,
        route: &'static str,
        count: f64,
    ) -> (Vec<(&'static str, &'static str)>, Value) {
        let labels =
            vec![("method", method), ("status", status), ("class", class), ("route", route)];
        (labels, Value::Number(count))
    }

    fn times(buckets: &[(i32, u64)]) -> Value {
        let native = Native { schema: 3, buckets: buckets.to_vec(), ..Native::default() };
        Value::Distribution(Box::new(Distribution {
            native: Some(native),
            ..Distribution::default()
        }))
    }

    #[test]
    fn two_readings_make_rates_and_failures_by_group() {
        let read = |good: f64, bad: f64| {
            let counts = vec![
                requests("GET", "200", "2xx", "/a", good),
                requests("GET", "404", "4xx", "", good),
                requests("POST", "502", "5xx", "/a", bad),
            ];
            Reading::of(&[family("indrik_http_requests", counts)])
        };
        let (before, now) = (read(10.0, 1.0), read(14.0, 3.0));
        let row = now.since(&before, 2.0);
        assert_eq!(row.get(Series::Requests), Some(5.0));
        assert_eq!(row.get(Series::Errors4xx), Some(2.0));
        assert_eq!(row.get(Series::Errors5xx), Some(1.0));
        assert_eq!(row.get(Series::P95), None);
        assert_eq!(now.failures_since(&before), [("POST /a 502", 2)]);
        let routes = now.routes_since(&before);
        assert_eq!(
            routes
                .iter()
                .map(|(route, more)| (*route, more.requests, more.errors))
                .collect::<Vec<_>>(),
            [("", 4.0, 0.0), ("/a", 6.0, 2.0)]
        );
        assert!(before.is_behind(&now) && !now.is_behind(&before));
        assert_eq!((now.answers(0), now.answers(1)), ((31, 3), (30, 2)));
        assert_eq!(now.failing(9), BTreeMap::from([("/a".to_owned(), (17, 3))]));
        assert_eq!(now.failing(0), BTreeMap::new());
    }

    #[test]
    fn percentiles_are_those_of_the_time_between_two_readings() {
        let read = |buckets: &[(i32, u64)]| {
            Reading::of(&[family(
                "indrik_http_request_duration_seconds",
                vec![(vec![], times(buckets))],
            )])
        };
        // Bucket 0 ends with a second, bucket -24 with an eighth of one.
        let (before, now) = (read(&[(0, 1_000)]), read(&[(-24, 98), (0, 1_002)]));
        let row = now.since(&before, 1.0);
        let near = |series, wanted: f32| {
            let time = row.get(series).unwrap();
            assert!((time / wanted - 1.0).abs() < 0.1, "{time} is not about {wanted}");
        };
        near(Series::P50, 0.12);
        near(Series::P95, 0.125);
        near(Series::P99, 0.96);
    }

    #[test]
    fn what_is_not_known_of_an_idle_second_is_missing() {
        let reading = Reading::of(&[]);
        let row = reading.since(&reading, 1.0);
        assert_eq!(row.get(Series::Requests), Some(0.0));
        for series in [Series::P50, Series::PhaseApp, Series::WebSockets] {
            assert_eq!(row.get(series), None, "{series:?}");
        }
    }
}
