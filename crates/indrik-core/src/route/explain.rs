//! The table's answer in words: what happens to a request, and which rule says so.

use std::fmt::Write as _;

use super::condition::Request;
use super::rule::{NO_LIMIT, Probe, Rule, Then};
use super::table::Table;

/// Says what happens to a request; `origin` knows where a setting's value was written.
#[must_use]
pub fn explain(
    table: &Table,
    request: &Request<'_>,
    affinity: &str,
    origin: impl Fn(&str) -> String,
) -> String {
    let mut out = format!("{} {}", request.method, request.path);
    if !request.host.is_empty() {
        push(&mut out, format_args!(" on {}", String::from_utf8_lossy(request.host)));
    }
    out.push('\n');
    let mut applying: Vec<&Rule> = table.applying(request).collect();
    let is_answered = applying.iter().any(|rule| matches!(rule.then, Then::Probe(_)));
    if is_answered {
        // The time limit is that of a request in a worker.
        applying.retain(|rule| !matches!(rule.then, Then::TimeLimit(_)));
    }
    for rule in &applying {
        let what = consequence(rule.then, request);
        push(&mut out, format_args!("\n  {what}\n    as {}\n", rule.conditions));
        let setting = rule.source.setting;
        push(&mut out, format_args!("    by {setting}: {}", rule.source.entry));
        push(&mut out, format_args!(", from {}\n", origin(setting)));
    }
    let has_limit = applying.iter().any(|rule| matches!(rule.then, Then::TimeLimit(_)));
    if !is_answered {
        out.push_str("\n  the application answers it\n");
        if !has_limit {
            out.push_str("  no limit ends it alone (request_timeout); `timeout` ends a worker that stands still\n");
        }
        if !affinity.is_empty() {
            push(
                &mut out,
                format_args!("\n  it goes to the worker that the others of its key go to\n"),
            );
            push(
                &mut out,
                format_args!("    by affinity: {affinity}, from {}\n", origin("affinity")),
            );
        }
    }
    out
}

/// Host and path of a URL, or of a target in origin form; `None` if it is neither.
#[must_use]
pub fn read_url(url: &str) -> Option<(&str, &str)> {
    let url = url.split(['?', '#']).next().unwrap_or_default();
    if url.starts_with('/') {
        return Some(("", url));
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (!host.is_empty()).then_some((host, if path.is_empty() { "/" } else { path }))
}

fn consequence(then: Then, request: &Request<'_>) -> String {
    match then {
        Then::Probe(_) if !["GET", "HEAD"].contains(&request.method) => {
            "the front answers it: 405, as a probe is asked with GET or HEAD".to_owned()
        }
        Then::Probe(Probe::Readiness) => {
            "the front answers it: 200 while traffic is welcome, else 503".to_owned()
        }
        Then::Probe(Probe::Liveness) => {
            "the front answers it: 200 unless the server should be started anew, else 503"
                .to_owned()
        }
        Then::TimeLimit(NO_LIMIT) => "it may run for as long as it likes".to_owned(),
        Then::TimeLimit(limit) => {
            format!("it may run for {} s, then it is ended with 504", limit as f64 / 1e6)
        }
        Then::Unlogged => {
            "it has no line in the access log, unless its status is 500 or above".to_owned()
        }
    }
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(text);
}

#[cfg(test)]
mod tests {
    use super::super::condition::{Conditions, PathIs};
    use super::super::rule::Source;
    use super::*;

    fn rule(path: PathIs, then: Then, setting: &'static str, entry: &str) -> Rule {
        let source = Source { setting, entry: entry.to_owned() };
        Rule { conditions: Conditions::path(path), then, source }
    }

    #[test]
    fn every_consequence_is_told_with_the_rule_that_has_it() {
        let table = Table::new(vec![
            rule(
                PathIs::Exactly("/ready".into()),
                Then::Probe(Probe::Readiness),
                "readiness_path",
                "/ready",
            ),
            rule(PathIs::like("/re*"), Then::Unlogged, "access_log_exclude", "/re*"),
        ]);
        let origin = |setting: &str| format!("conf.py ({setting})");
        let text = explain(&table, &Request::new("GET", b"a.org", "/ready"), "", origin);
        let expected = "GET /ready on a.org\n\n  the front answers it: 200 while traffic is welcome, else \
            503\n    as the path is /ready\n    by readiness_path: /ready, from conf.py (readiness_path)\n\n  \
            it has no line in the access log, unless its status is 500 or above\n    as the path is like \
            /re*\n    by access_log_exclude: /re*, from conf.py (access_log_exclude)\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn the_worker_that_an_affinity_decides_and_limits_of_workers_only_are_told_where_they_count() {
        let table = Table::new(vec![
            rule(
                PathIs::Exactly("/up".into()),
                Then::Probe(Probe::Liveness),
                "liveness_path",
                "/up",
            ),
            rule(PathIs::like("/*"), Then::TimeLimit(2_000_000), "request_timeout", "2"),
        ]);
        let told = |path: &str| {
            explain(&table, &Request::new("GET", b"", path), "ip", |_| "conf.py".to_owned())
        };
        let (probe, other) = (told("/up"), told("/x"));
        assert!(!probe.contains("it may run for") && !probe.contains("affinity"), "{probe}");
        assert!(
            other.contains("it may run for 2 s") && other.contains("by affinity: ip"),
            "{other}"
        );
    }

    #[test]
    fn a_url_has_a_host_and_a_path() {
        assert_eq!(read_url("http://a.org:80/b?c#d"), Some(("a.org:80", "/b")));
        assert_eq!(read_url("https://a.org?c"), Some(("a.org", "/")));
        assert_eq!(read_url("/b?c"), Some(("", "/b")));
        for url in ["", "b", "ftp://a/b", "http:///b", "?c"] {
            assert_eq!(read_url(url), None, "{url}");
        }
    }

    #[test]
    fn a_request_of_which_nothing_is_said_is_the_applications() {
        let text =
            explain(&Table::default(), &Request::new("PUT", b"", "/"), "", |_| String::new());
        let expected = "PUT /\n\n  the application answers it\n  no limit ends it alone \
            (request_timeout); `timeout` ends a worker that stands still\n";
        assert_eq!(text, expected);
    }
}
