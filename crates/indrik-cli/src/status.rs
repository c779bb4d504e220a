//! `indrik status` and `indrik requests`: how a server is, what is wrong first; and what it runs now.

use std::thread::sleep;
use std::time::Duration;

use clap::Arg;
use indrik_core::diagnose::Sight;
use indrik_core::display::{fitted, padded, safe};
use indrik_server::control::client::Connection;
use serde_json::{Value as Json, json};

use crate::alerts;
use crate::failure::Failure;
use crate::output::{pretty, print};
use crate::seen::{Told, findings, float, mebibytes, name, sight, time, vitals, whole, workers};
use crate::server::{Asked, NOT_IN_TIME, OPTIONS, failed, failure};

/// Between two looks, and how many there are.
const LOOK_PAUSE: Duration = Duration::from_millis(600);
const LOOKS: usize = 3;
/// Columns of a line.
const COLUMNS: usize = 100;
/// Of those a request's line has so many for what is no target, and the target has no fewer than that.
const OTHER_COLUMNS: usize = 63;
const TARGET_COLUMNS_MIN: usize = 12;
/// Routes that are named, and the smallest share of the time that is worth it.
const ROUTES_SHOWN: usize = 3;
const ROUTE_SHARE_MIN: f64 = 0.05;
/// Requests shown where nothing is said.
const REQUESTS_SHOWN: usize = 50;
const SORT: &str = "sort";
const LIMIT: &str = "limit";

const STATUS_HELP: &str = "\
Show how a running server is: first what is wrong, since when, whose fault it is and what to do; then its vitals, and
each worker with the request that it has had for longest. What is wrong is what the server has found, which looks at
itself every second; the vitals are those of the next 2 s.

Usage: indrik status [OPTIONS]

Exit code 4 if the server is not ready for requests.
";

const REQUESTS_HELP: &str = "\
Show the requests that the application has now, in which worker and since when.

Usage: indrik requests [--sort age|route|worker] [--limit N] [OPTIONS]
";

/// Does what the words after `status` say.
pub(crate) fn status(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let asked = Asked::parse("status", [], args)?;
    if asked.help {
        return Ok(format!("{STATUS_HELP}\n{OPTIONS}"));
    }
    let mut connection = asked.connect()?;
    let mut looks = vec![look(&mut connection)?];
    while looks.len() < LOOKS {
        sleep(LOOK_PAUSE);
        looks.push(look(&mut connection)?);
    }
    let sights: Vec<Sight> = looks.iter().map(sight).collect();
    let Some(last) = looks.last() else { return Ok(String::new()) };
    let found = findings(last, &sights);
    let text = if asked.json {
        pretty(&as_json(last, &sights, &found))
    } else {
        as_text(last, &sights, &found)
    };
    if last["health"]["ready"] == Json::Bool(true) {
        return Ok(text);
    }
    print(&text);
    let state = last["health"]["state"].as_str().unwrap_or("unknown");
    Err(failed(NOT_IN_TIME, format!("the server is not ready, it is {state}"), ""))
}

/// One look at everything.
pub(crate) fn look(connection: &mut Connection) -> Result<Json, Failure> {
    connection.call("show look").map_err(failure)
}

fn as_json(look: &Json, sights: &[Sight], found: &[Told]) -> Json {
    let vitals = pair(sights).map(|(before, now)| vitals(before, now).json());
    json!({
        "findings": found.iter().map(Told::json).collect::<Vec<_>>(),
        "health": look["health"],
        "alerts": look["alerts"],
        "vitals": vitals,
        "lately": look["lately"],
        "server": look["server"],
        "steering": look["steering"],
        "uptime_s": look["uptime"],
        "generation": look["generation"],
        "workers": look["workers"],
    })
}

fn pair(sights: &[Sight]) -> Option<(&Sight, &Sight)> {
    sights.first().zip(sights.last())
}

/// What `status` and `top --once` print.
pub(crate) fn as_text(look: &Json, sights: &[Sight], found: &[Told]) -> String {
    let mut text = String::new();
    for finding in found {
        text.push_str(&told(finding));
    }
    let has_alerts = look["alerts"]["active"].as_array().is_some_and(|active| !active.is_empty());
    if has_alerts {
        text.push_str(&alerts::listed(&look["alerts"], alerts::now_ms()));
    }
    if found.is_empty() && !has_alerts {
        text.push_str("nothing is wrong\n");
    }
    text.push_str(&format!("\n{}\n", fitted(&title(look), 2 * COLUMNS)));
    if let Some((before, now)) = pair(sights) {
        text.push_str(&format!("{}\n{}\n", vitals(before, now).line(), lately(look)));
    }
    text.push_str("WORKER  PID      GEN  STATE       UP      REQUESTS  CPU    MEMORY    RUNS\n");
    for worker in workers(look) {
        text.push_str(fitted(&worker_line(worker, sights), 2 * COLUMNS).trim_end());
        text.push('\n');
    }
    text
}

/// How long requests take, and the routes with the most time of the last minutes, in a line; none, if there is no such.
fn lately(look: &Json) -> String {
    let all = look["lately"]["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let shown = all.iter().filter_map(|route| {
        let (share, mean) = (route["share"].as_f64()?, route["mean_s"].as_f64()?);
        let name = match route["route"].as_str()? {
            "" => "no route".to_owned(),
            name => safe(name),
        };
        (share >= ROUTE_SHARE_MIN)
            .then(|| format!("{name} {:.0} % ({} each)", share * 100.0, brief(mean)))
    });
    let routes: Vec<String> = shown.take(ROUTES_SHOWN).collect();
    let p95 = look["lately"]["p95_s"].as_f64();
    let p95 = p95.map(|p95| format!("95 % of answers within {}", brief(p95)));
    let routes = (!routes.is_empty()).then(|| format!("time by route: {}", routes.join(", ")));
    let told: Vec<String> = p95.into_iter().chain(routes).collect();
    match told.is_empty() {
        true => String::new(),
        false => format!("{}\n", fitted(&told.join("; "), 2 * COLUMNS).trim_end()),
    }
}

/// A short time.
fn brief(seconds: f64) -> String {
    match seconds {
        seconds if seconds < 0.0995 => format!("{:.1} ms", seconds * 1e3),
        seconds if seconds < 0.9995 => format!("{:.0} ms", seconds * 1e3),
        seconds => format!("{seconds:.1} s"),
    }
}

/// A finding in two lines.
fn told(finding: &Told) -> String {
    format!(
        "! {}{}\n    {}: {}\n",
        safe(&finding.what),
        finding.since(),
        safe(&finding.whose),
        safe(&finding.advice)
    )
}

/// What the server is.
pub(crate) fn title(look: &Json) -> String {
    let server = &look["server"];
    let text = |field: &str| server[field].as_str().unwrap_or("?");
    let addresses = server["addresses"].as_array().into_iter().flatten().filter_map(Json::as_str);
    let addresses = addresses.collect::<Vec<_>>().join(", ");
    let up = time(look["uptime"].as_f64().unwrap_or(0.0));
    format!(
        "{} at {addresses}, pid {}, generation {}, up {up}, {} of {} workers ready",
        text("application"),
        server["pid"],
        look["generation"],
        look["workers_ready"],
        look["workers_target"]
    )
}

fn worker_line(worker: &Json, sights: &[Sight]) -> String {
    let pid = whole(&worker["pid"]);
    let seen = |sight: &Sight| sight.workers.iter().find(|it| u64::from(it.pid) == pid).cloned();
    let cpu = pair(sights).and_then(|(before, now)| {
        let used = seen(now)?.cpu_s? - seen(before)?.cpu_s?;
        Some(format!("{:.0} %", 100.0 * used.max(0.0) / (now.at - before.at).max(0.05)))
    });
    format!(
        "{:<7} {pid:<8} {:<4} {} {:<7} {:<9} {:<6} {:<9} {}",
        whole(&worker["place"]),
        whole(&worker["generation"]),
        padded(worker["state"].as_str().unwrap_or("?"), 11),
        time(worker["uptime_s"].as_f64().unwrap_or(0.0)),
        whole(&worker["requests"]),
        cpu.unwrap_or_else(|| "-".to_owned()),
        worker["rss_bytes"].as_u64().map_or_else(|| "-".to_owned(), mebibytes),
        runs(worker)
    )
}

/// The request that a worker has had for longest, and how many others it has.
pub(crate) fn runs(worker: &Json) -> String {
    let running = worker["running"].as_array().map_or(&[][..], Vec::as_slice);
    let Some(oldest) = running.iter().max_by(|one, other| age(one).total_cmp(&age(other))) else {
        return String::new();
    };
    let others = whole(&worker["in_flight"]).saturating_sub(1);
    let more = if others > 0 { format!(" (+{others})") } else { String::new() };
    format!("{} {}{more}", safe(&name(oldest)), time(age(oldest)))
}

/// For how long the application has a request.
pub(crate) fn age(request: &Json) -> f64 {
    request["age_s"].as_f64().unwrap_or(0.0)
}

/// A request in flight and its worker's place.
pub(crate) type InFlight = (u64, Json);

/// All requests of a look that are shown.
pub(crate) fn in_flight(look: &Json) -> Vec<InFlight> {
    let of = |worker: &Json| {
        let place = whole(&worker["place"]);
        let running = worker["running"].as_array().cloned().unwrap_or_default();
        running.into_iter().map(move |request| (place, request)).collect::<Vec<_>>()
    };
    workers(look).iter().flat_map(of).collect()
}

/// By what requests are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    Age,
    Route,
    Worker,
}

pub(crate) fn sort(requests: &mut [InFlight], by: Sort) {
    requests.sort_by(|(place, one), (other_place, other)| {
        let oldest = age(other).total_cmp(&age(one));
        match by {
            Sort::Age => oldest,
            Sort::Route => name(one).cmp(&name(other)).then(oldest),
            Sort::Worker => place.cmp(other_place).then(oldest),
        }
    });
}

/// Does what the words after `requests` say.
pub(crate) fn requests(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let own = [
        Arg::new(SORT).long(SORT).value_parser(["age", "route", "worker"]),
        Arg::new(LIMIT).long(LIMIT).short('n').value_parser(clap::value_parser!(u16)),
    ];
    let asked = Asked::parse("requests", own, args)?;
    if asked.help {
        return Ok(format!("{REQUESTS_HELP}\n{OPTIONS}"));
    }
    let by = match asked.matches.get_one::<String>(SORT).map(String::as_str) {
        Some("route") => Sort::Route,
        Some("worker") => Sort::Worker,
        _ => Sort::Age,
    };
    let limit =
        asked.matches.get_one::<u16>(LIMIT).map_or(REQUESTS_SHOWN, |limit| usize::from(*limit));
    let mut connection = asked.connect()?;
    let look = look(&mut connection)?;
    let mut all = in_flight(&look);
    sort(&mut all, by);
    let count = whole(&look["requests_in_flight"]);
    all.truncate(limit);
    if asked.json {
        let shown = all.into_iter().map(|(place, mut request)| {
            request["worker"] = place.into();
            request
        });
        return Ok(pretty(&json!({"in_flight": count, "requests": shown.collect::<Vec<_>>()})));
    }
    let mut text = format!(
        "AGE      WORKER  METHOD   ROUTE                {} CLIENT\n",
        padded("TARGET", COLUMNS - OTHER_COLUMNS)
    );
    for (place, request) in &all {
        text.push_str(request_line(*place, request, COLUMNS).trim_end());
        text.push('\n');
    }
    let (shown, waiting) = (float(all.len() as u64), whole(&look["requests_waiting"]));
    text.push_str(&format!("{shown} of {count} requests in flight, {waiting} wait\n"));
    Ok(text)
}

/// A request in one line.
pub(crate) fn request_line(place: u64, request: &Json, columns: usize) -> String {
    let target = columns.saturating_sub(OTHER_COLUMNS).max(TARGET_COLUMNS_MIN);
    let text = |field: &str| request[field].as_str().unwrap_or("-");
    let state = match (&request["timed_out"], &request["answer_begun"]) {
        (Json::Bool(true), _) => " (timed out)",
        (_, Json::Bool(true)) => " (answering)",
        _ => "",
    };
    format!(
        "{:<8} {place:<7} {} {} {} {}{state}",
        time(age(request)),
        padded(text("method"), 8),
        padded(text("route"), 20),
        padded(text("target"), target),
        fitted(text("client"), 40)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look() -> Json {
        json!({"uptime": 75.0, "generation": 1, "workers_ready": 2, "workers_target": 2, "requests_in_flight": 3,
            "requests_waiting": 0,
            "server": {"application": "main:app", "addresses": ["127.0.0.1:1"], "pid": 9},
            "workers": [
                {"place": 1, "pid": 7, "state": "ready", "uptime_s": 70.0, "in_flight": 2, "running": [
                    {"method": "GET", "target": "/b\u{1b}[2J", "age_s": 0.5, "client": "10.0.0.1"},
                    {"method": "GET", "route": "/a/<id>", "target": "/a/1", "age_s": 2.5, "answer_begun": true}]},
                {"place": 2, "pid": 8, "state": "ready", "in_flight": 1, "running": [
                    {"method": "POST", "target": "/c", "age_s": 1.5, "timed_out": true}]}]})
    }

    #[test]
    fn a_server_that_is_well_is_told_so_first_and_every_worker_has_a_line() {
        let text = as_text(&look(), &[sight(&look())], &[]);
        assert!(
            text.starts_with(
                "nothing is wrong\n\nmain:app at 127.0.0.1:1, pid 9, generation 1, up 1 min"
            ),
            "{text}"
        );
        assert!(text.contains("GET /a/<id> 2.5 s (+1)"), "{text}");
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn requests_are_sorted_by_age_route_or_worker() {
        let order = |by: Sort| {
            let mut all = in_flight(&look());
            sort(&mut all, by);
            all.iter().map(|(_, request)| name(request)).collect::<Vec<_>>()
        };
        let (a, b, c) = ("GET /a/<id>", "GET /b\u{1b}[2J", "POST /c");
        assert_eq!(order(Sort::Age), [a, c, b]);
        assert_eq!(order(Sort::Route), [a, b, c]);
        assert_eq!(order(Sort::Worker), [a, b, c]);
        let (place, request) = &in_flight(&look())[0];
        assert!(request_line(*place, request, 100).contains("/b\\u{1b}[2J"));
    }

    #[test]
    fn how_long_requests_take_and_where_their_time_goes_is_a_line_if_it_is_known() {
        let route = |name: &str, share: f64| json!({"route": name, "share": share, "mean_s": 0.05});
        let routes = [route("/search\u{1b}", 0.6), route("", 0.36), route("/rare", 0.04)];
        let look = json!({"lately": {"p95_s": 0.25, "routes": routes}});
        assert_eq!(
            lately(&look),
            "95 % of answers within 250 ms; time by route: /search\\u{1b} 60 % (50.0 ms each), no route 36 % \
             (50.0 ms each)\n"
        );
        assert_eq!(lately(&json!({})), "");
        assert_eq!(lately(&json!({"lately": {"p95_s": null, "routes": []}})), "");
    }
}
