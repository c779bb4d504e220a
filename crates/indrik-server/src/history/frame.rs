//! One second of the server as the dashboard shows it.

use std::collections::BTreeMap;

use bytes::Bytes;
use indrik_core::chronicle::Entry;
use indrik_core::diagnose::Standing;
use indrik_core::history::{Failure, History, Row, Series, Share};
use serde::Serialize;

use super::workers::WorkerNow;
use crate::front::InFlight;
use crate::look::Look;

/// Requests in flight that are shown; /requests has more.
const REQUESTS_MAX: usize = 200;
/// Failures that are shown.
const FAILURES_MAX: usize = 100;
/// Events that are shown.
const EVENTS_MAX: usize = 100;
/// Routes that are shown.
pub(super) const ROUTES_MAX: usize = 100;

/// What a frame is made of.
pub(super) struct Parts<'a> {
    pub(super) at_ms: u64,
    pub(super) look: &'a Look,
    pub(super) row: &'a Row,
    pub(super) limits: BTreeMap<&'static str, f64>,
    pub(super) history: &'a History,
    pub(super) findings: &'a [Standing],
    pub(super) workers: &'a [WorkerNow],
    pub(super) in_flight: &'a [InFlight],
    pub(super) routes: Vec<Share>,
    pub(super) events: Vec<std::sync::Arc<Entry>>,
}

#[derive(Serialize)]
struct Frame<'a> {
    headline: Headline,
    #[serde(flatten)]
    look: &'a Look,
    now: BTreeMap<&'static str, f32>,
    peak: BTreeMap<&'static str, f32>,
    limit: BTreeMap<&'static str, f64>,
    workers: &'a [WorkerNow],
    generations: Vec<GenerationNow>,
    requests: &'a [InFlight],
    is_cut: bool,
    routes: Vec<Share>,
    failures: Vec<Group<'a>>,
    events: Vec<&'a Entry>,
}

/// What is wrong, first and in words.
#[derive(Serialize)]
struct Headline {
    level: &'static str,
    text: String,
    findings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    what: String,
    since_ms: Option<u64>,
    whose: Option<String>,
    todo: Option<String>,
}

#[derive(Serialize)]
struct Group<'a> {
    name: &'a str,
    #[serde(flatten)]
    failure: &'a Failure,
}

/// One generation while another one settles.
#[derive(Default, Serialize)]
struct GenerationNow {
    generation: u64,
    workers: usize,
    ready: usize,
    rate: f64,
    busy: f64,
    rss_mean: Option<f64>,
    /// Processor seconds for one request.
    cpu_request: Option<f64>,
}

/// The frame as JSON.
pub(super) fn frame(parts: Parts<'_>) -> Bytes {
    let Parts { at_ms, look, row, limits, history, workers, in_flight, routes, events, .. } = parts;
    let of = |value: &dyn Fn(Series) -> Option<f32>| {
        Series::ALL.into_iter().filter_map(|it| Some((it.name(), value(it)?))).collect()
    };
    let failures = history.failures().newest_first().into_iter().take(FAILURES_MAX);
    let frame = Frame {
        headline: headline(look, parts.findings),
        look,
        now: of(&|series| row.get(series)),
        peak: of(&|series| history.peak(series)),
        limit: limits,
        workers,
        generations: generations(workers),
        requests: &in_flight[..in_flight.len().min(REQUESTS_MAX)],
        is_cut: in_flight.len() > REQUESTS_MAX,
        routes,
        failures: failures.map(|(name, failure)| Group { name, failure }).collect(),
        events: events.iter().rev().take(EVENTS_MAX).map(|entry| &**entry).collect(),
    };
    let mut value = serde_json::to_value(&frame).unwrap_or_default();
    value["at_ms"] = at_ms.into();
    value.to_string().into()
}

/// What was found first; what the supervisor says where nothing was, or not yet.
fn headline(look: &Look, found: &[Standing]) -> Headline {
    let wrong = |what: String| Finding { what, since_ms: None, whose: None, todo: None };
    let mut findings: Vec<Finding> = found.iter().map(shown).collect();
    if findings.is_empty() && !look.health.why.is_empty() {
        findings.push(wrong(look.health.why.clone()));
    } else if !look.health.ready {
        findings.push(wrong(format!("the server is {}", look.health.state)));
    }
    let level = match (findings.is_empty(), look.health.ready) {
        (true, _) => "ok",
        (false, true) => "warn",
        (false, false) => "bad",
    };
    Headline { level, text: "nothing is wrong".to_owned(), findings }
}

fn shown(Standing { finding, since_ms }: &Standing) -> Finding {
    Finding {
        what: finding.what.clone(),
        since_ms: Some(*since_ms),
        whose: Some(finding.whose.to_string()),
        todo: Some(finding.advice.clone()),
    }
}

fn generations(workers: &[WorkerNow]) -> Vec<GenerationNow> {
    let mut all: BTreeMap<u64, Vec<&WorkerNow>> = BTreeMap::new();
    workers.iter().for_each(|worker| all.entry(worker.generation).or_default().push(worker));
    all.iter().map(|(generation, workers)| generation_now(*generation, workers)).collect()
}

fn generation_now(generation: u64, workers: &[&WorkerNow]) -> GenerationNow {
    let rate: f64 = workers.iter().map(|worker| worker.rate).sum();
    let cpu: f64 = workers.iter().filter_map(|worker| worker.cpu).sum();
    let count = workers.len() as f64;
    let rss: Vec<u64> = workers.iter().filter_map(|worker| worker.rss_bytes).collect();
    GenerationNow {
        generation,
        workers: workers.len(),
        ready: workers.iter().filter(|worker| worker.is_ready()).count(),
        rate,
        busy: workers.iter().map(|worker| worker.busy).sum::<f64>() / count,
        rss_mean: (!rss.is_empty()).then(|| rss.iter().sum::<u64>() as f64 / rss.len() as f64),
        cpu_request: (rate > 0.0).then(|| cpu / rate),
    }
}
