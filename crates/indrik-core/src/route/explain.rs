//! The table's answer in words: what happens to a request, and which rule says so.

use std::fmt::Write as _;

use super::condition::Request;
use super::rule::{NO_LIMIT, Probe, Rule, Then};
use super::table::Table;
use crate::settings::{Config, WorkerClass};
use crate::time::Micros;

/// What of the settings decides about a request beside the table.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a> {
    /// The setting `affinity`.
    pub affinity: &'a str,
    /// The worker class, as far as it is known without the application.
    pub worker_class: WorkerClass,
    /// The setting `threads`.
    pub threads: usize,
    /// The setting `timeout`; 0 is none.
    pub timeout: Micros,
    /// The setting `timeout_only_if_queued`.
    pub only_if_queued: bool,
}

impl<'a> Around<'a> {
    /// What these settings say.
    #[must_use]
    pub fn of(config: &'a Config) -> Self {
        Self {
            affinity: &config.affinity,
            worker_class: config.worker_class,
            threads: config.threads,
            timeout: Micros::try_from(config.timeout.as_micros()).unwrap_or(Micros::MAX),
            only_if_queued: config.timeout_only_if_queued,
        }
    }

    /// When `timeout` is the limit of a single request: where nothing else runs in its worker. `None`: it is
    /// that of a worker that shows no life.
    const fn limits_a_request(&self) -> Option<&'static str> {
        match self.worker_class {
            WorkerClass::Sync => Some("as a sync worker runs it (not for an ASGI application)"),
            WorkerClass::Auto if self.threads <= 1 => Some(
                "as a sync worker runs it, if the application is a WSGI one (else only request_timeout ends it)",
            ),
            WorkerClass::Custom if self.threads <= 1 => {
                Some("if the worker class is a sync one, which is known when it is loaded")
            }
            WorkerClass::Auto
            | WorkerClass::Custom
            | WorkerClass::Gthread
            | WorkerClass::Gevent
            | WorkerClass::Eventlet
            | WorkerClass::Asgi
            | WorkerClass::Aiohttp => None,
        }
    }

    fn limited_to(&self, limit: Micros) -> String {
        let when = if self.only_if_queued {
            "when that is over and another one waits (timeout_only_if_queued), "
        } else {
            "then "
        };
        format!("it may run for {} s, {when}it is ended with 504", limit as f64 / 1e6)
    }
}

/// Says what happens to a request; `origin` knows where a setting's value was written.
#[must_use]
pub fn explain(
    table: &Table,
    request: &Request<'_>,
    around: &Around<'_>,
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
        let what = consequence(rule.then, request, around);
        push(&mut out, format_args!("\n  {what}\n    as {}\n", rule.conditions));
        let setting = rule.source.setting;
        push(&mut out, format_args!("    by {setting}: {}", rule.source.entry));
        push(&mut out, format_args!(", from {}\n", origin(setting)));
    }
    if !is_answered {
        let has_limit = applying
            .iter()
            .any(|rule| matches!(rule.then, Then::TimeLimit(limit) if limit != NO_LIMIT));
        out.push_str("\n  the application answers it\n");
        tell_timeout(&mut out, around, has_limit, &origin);
        if !around.affinity.is_empty() {
            push(
                &mut out,
                format_args!("\n  it goes to the worker that the others of its key go to\n"),
            );
            push(
                &mut out,
                format_args!("    by affinity: {}, from {}\n", around.affinity, origin("affinity")),
            );
        }
    }
    out
}

/// What `timeout` is to it, which depends on the class of its worker.
fn tell_timeout(
    out: &mut String,
    around: &Around<'_>,
    has_limit: bool,
    origin: impl Fn(&str) -> String,
) {
    match around.limits_a_request() {
        _ if around.timeout == 0 && has_limit => {}
        _ if around.timeout == 0 => out.push_str("  no limit ends it (request_timeout, timeout)\n"),
        Some(where_so) => {
            let what = around.limited_to(around.timeout);
            push(out, format_args!("\n  {what}\n    {where_so}\n"));
            let seconds = around.timeout as f64 / 1e6;
            push(out, format_args!("    by timeout: {seconds}, from {}\n", origin("timeout")));
        }
        None if has_limit => {}
        None => out.push_str(
            "  no limit ends it alone (request_timeout); `timeout` ends a worker that stands still\n",
        ),
    }
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

fn consequence(then: Then, request: &Request<'_>, around: &Around<'_>) -> String {
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
        Then::Probe(Probe::Metrics) => {
            "the front answers it: what is counted, for those in metrics_allow and with a token"
                .to_owned()
        }
        Then::TimeLimit(NO_LIMIT) => "it may run for as long as it likes".to_owned(),
        Then::TimeLimit(limit) => around.limited_to(limit),
        Then::Slow(NO_LIMIT) => "it is never logged as slow".to_owned(),
        Then::Slow(limit) => {
            format!("it is logged as slow if it is not over after {} s", limit as f64 / 1e6)
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

    /// An application server of threads, without limits.
    const AROUND: Around<'_> = Around {
        affinity: "",
        worker_class: WorkerClass::Gthread,
        threads: 4,
        timeout: 30_000_000,
        only_if_queued: false,
    };

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
        let text = explain(&table, &Request::new("GET", b"a.org", "/ready"), &AROUND, origin);
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
            let around = Around { affinity: "ip", ..AROUND };
            explain(&table, &Request::new("GET", b"", path), &around, |_| "conf.py".to_owned())
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
            explain(&Table::default(), &Request::new("PUT", b"", "/"), &AROUND, |_| String::new());
        let expected = "PUT /\n\n  the application answers it\n  no limit ends it alone \
            (request_timeout); `timeout` ends a worker that stands still\n";
        assert_eq!(text, expected);
    }

    /// What is said of `/` in a server without rules.
    fn told(around: &Around<'_>) -> String {
        explain(&Table::default(), &Request::new("GET", b"", "/"), around, |_| "-t".to_owned())
    }

    #[test]
    fn timeout_is_the_limit_of_a_request_where_its_worker_runs_it_alone() {
        const LIMIT: &str = "it may run for 30 s, then it is ended with 504";
        const BY: &str = "by timeout: 30, from -t";
        for (worker_class, threads, is_limit) in [
            (WorkerClass::Sync, 1, true),
            (WorkerClass::Auto, 1, true),
            (WorkerClass::Custom, 1, true),
            (WorkerClass::Auto, 2, false),
            (WorkerClass::Custom, 2, false),
            (WorkerClass::Gthread, 1, false),
            (WorkerClass::Gevent, 1, false),
            (WorkerClass::Eventlet, 1, false),
            (WorkerClass::Asgi, 1, false),
            (WorkerClass::Aiohttp, 1, false),
        ] {
            let text = told(&Around { worker_class, threads, ..AROUND });
            assert_eq!(text.contains(LIMIT), is_limit, "{worker_class}: {text}");
            assert_eq!(text.contains(BY), is_limit, "{worker_class}: {text}");
            assert_eq!(
                text.contains("no limit ends it alone"),
                !is_limit,
                "{worker_class}: {text}"
            );
        }
    }

    #[test]
    fn a_timeout_of_zero_ends_nothing_and_one_for_a_queue_says_so() {
        let sync = Around { worker_class: WorkerClass::Sync, threads: 1, ..AROUND };
        let none = told(&Around { timeout: 0, ..sync });
        assert!(none.contains("no limit ends it (request_timeout, timeout)"), "{none}");
        let queued = told(&Around { only_if_queued: true, ..sync });
        assert!(queued.contains("another one waits (timeout_only_if_queued)"), "{queued}");
    }
}
