//! From the settings to the rules of the table.

use std::time::Duration;

use super::condition::{Conditions, PathIs};
use super::rule::{Probe, Rule, Source, Then};
use crate::settings::{Config, read_time_limit};
use crate::time::Micros;

/// The rules that the settings make, in the order in which they count.
#[must_use]
pub fn rules(config: &Config) -> Vec<Rule> {
    let mut rules = Vec::new();
    let probes = [
        ("readiness_path", &config.readiness_path, Probe::Readiness),
        ("liveness_path", &config.liveness_path, Probe::Liveness),
        ("metrics_path", &config.metrics_path, Probe::Metrics),
    ];
    for (setting, path, probe) in probes {
        if let Some(path) = path {
            let conditions = Conditions::path(PathIs::Exactly(path.clone()));
            let source = Source { setting, entry: path.clone() };
            rules.push(Rule { conditions, then: Then::Probe(probe), source });
        }
    }
    let (all, paths) = (config.request_timeout, &config.request_timeout_paths);
    rules.extend(by_path(
        ["request_timeout", "request_timeout_paths"],
        Then::TimeLimit,
        all,
        paths,
    ));
    let (all, paths) = (config.slow_request_log, &config.slow_request_paths);
    rules.extend(by_path(["slow_request_log", "slow_request_paths"], Then::Slow, all, paths));
    for pattern in &config.access_log_exclude {
        let conditions = Conditions::path(PathIs::like(pattern));
        let source = Source { setting: "access_log_exclude", entry: pattern.clone() };
        rules.push(Rule { conditions, then: Then::Unlogged, source });
    }
    rules
}

/// The longest beginning of a path first, then what holds for all.
fn by_path(
    [for_all, for_paths]: [&'static str; 2],
    then: fn(Micros) -> Then,
    all: Duration,
    paths: &[String],
) -> Vec<Rule> {
    let mut read: Vec<_> = paths
        .iter()
        .filter_map(|entry| read_time_limit(entry).map(|(path, limit)| (path, limit, entry)))
        .collect();
    read.sort_by(|(one, ..), (other, ..)| other.len().cmp(&one.len()).then(one.cmp(other)));
    let mut rules: Vec<_> = read
        .into_iter()
        .map(|(path, limit, entry)| Rule {
            conditions: Conditions::path(PathIs::Below(path)),
            then: then(micros(limit)),
            source: Source { setting: for_paths, entry: entry.clone() },
        })
        .collect();
    // Without a limit it need not be said: no rule, no cost.
    if !all.is_zero() {
        let entry = format!("{}", all.as_secs_f64());
        rules.push(Rule {
            conditions: Conditions::default(),
            then: then(micros(all)),
            source: Source { setting: for_all, entry },
        });
    }
    rules
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::{Request, Table};
    use super::*;

    fn table(all: u64, paths: &[&str]) -> Table {
        let paths: Vec<_> = paths.iter().map(|text| (*text).to_owned()).collect();
        let names = ["request_timeout", "request_timeout_paths"];
        Table::new(by_path(names, Then::TimeLimit, Duration::from_secs(all), &paths))
    }

    fn limit(table: &Table, path: &str) -> Micros {
        table.notes(&Request::new("GET", b"a", path)).time_limit
    }

    #[test]
    fn the_longest_beginning_of_a_path_decides_and_zero_is_no_limit() {
        let table = table(10, &["/api=5s", "/api/export=0", "/api/export/small=500ms", "/x=y=2"]);
        assert_eq!(limit(&table, "/"), 10_000_000);
        assert_eq!(limit(&table, "/ap"), 10_000_000);
        assert_eq!(limit(&table, "/api"), 5_000_000);
        assert_eq!(limit(&table, "/api/exp"), 5_000_000);
        assert_eq!(limit(&table, "/api/export/big"), 0);
        assert_eq!(limit(&table, "/api/export/small/1"), 500_000);
        assert_eq!(limit(&table, "/x=y"), 2_000_000, "the last `=` parts the two");
    }

    #[test]
    fn a_client_cannot_choose_its_limit_by_writing_the_path_in_another_way() {
        let table = table(10, &["/report=1", "/%=3"]);
        assert_eq!(limit(&table, "/%72eport"), 1_000_000);
        assert_eq!(limit(&table, "/r%65Port"), 10_000_000);
        assert_eq!(limit(&table, "/%25"), 3_000_000);
        assert_eq!(limit(&table, "/%"), 3_000_000);
    }

    #[test]
    fn nobody_looks_where_no_request_has_a_limit() {
        assert!(table(0, &[]).is_empty());
        assert_eq!(table(0, &["/a=0"]).look_every(), None);
        assert_eq!(table(0, &["/a=200ms"]).look_every(), Some(Duration::from_millis(20)));
        assert_eq!(table(30, &[]).look_every(), Some(Duration::from_millis(100)));
    }
}
