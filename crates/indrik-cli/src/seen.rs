//! What the control socket tells of a server, as the diagnosis reads it, and the numbers that are made of two looks.

use indrik_core::diagnose::{Finding, Front, Machine, Running, Server, Sight, Worker, diagnose};
use serde_json::Value as Json;

/// The kernel's clock of processor time.
const TICKS_A_SECOND: f64 = 100.0;

/// A look as the diagnosis reads it.
pub(crate) fn sight(look: &Json) -> Sight {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    let health = &look["health"];
    let failed = &look["last_reload"];
    let memory = &look["front_memory"];
    Sight {
        at: look["uptime"].as_f64().unwrap_or(0.0),
        why: text(&health["why"]),
        server: Server {
            wanted: small(&look["workers_target"]),
            ready: small(&look["workers_ready"]),
            ends: counts(&look["ends"]),
            reload_failed: (failed["success"] == Json::Bool(false)).then(|| text(&failed["error"])),
            paused_s: look["steering"]["pause_left_s"].as_f64(),
            maintenance: !look["steering"]["maintenance"].is_null(),
        },
        front: Front {
            waiting: whole(&look["requests_waiting"]),
            waiting_max: look["server"]["queue_requests_max"].as_u64(),
            oldest_wait_s: look["oldest_wait_s"].as_f64(),
            in_flight: whole(&look["requests_in_flight"]),
            connections: whole(&look["connections"]),
            refused: counts(&look["answered_by_front"]),
            memory: memory["used"].as_u64().zip(memory["limit"].as_u64()),
            ..Front::default()
        },
        machine: Machine { cpus: look["cpus"].as_f64().unwrap_or(0.0), ..Machine::default() },
        workers: workers(look).iter().map(worker).collect(),
        pools: Vec::new(),
    }
}

fn worker(shown: &Json) -> Worker {
    let has_loop = shown["has_loop"] == Json::Bool(true);
    // A loop takes as many as come.
    let capacity = shown["capacity"].as_u64().filter(|_| !has_loop);
    Worker {
        place: small(&shown["place"]),
        pid: small(&shown["pid"]),
        state: shown["state"].as_str().unwrap_or_default().to_owned(),
        uptime_s: shown["uptime_s"].as_f64().unwrap_or(0.0),
        capacity: capacity.and_then(|capacity| u32::try_from(capacity).ok()),
        has_loop,
        in_flight: whole(&shown["in_flight"]),
        served: whole(&shown["requests"]),
        cpu_s: shown["cpu_ticks"].as_f64().map(|ticks| ticks / TICKS_A_SECOND),
        rss: shown["rss_bytes"].as_u64(),
        silent_s: shown["last_heartbeat"].as_f64(),
        loop_blocked_s: shown["event_loop_blocked_s"].as_f64(),
        gil_waited_s: shown["gil_wait_s"].as_f64(),
        blocked_by: shown["blocked_by"].as_str().map(str::to_owned),
        running: shown["running"].as_array().into_iter().flatten().map(running).collect(),
        ..Worker::default()
    }
}

fn running(shown: &Json) -> Running {
    Running {
        name: name(shown),
        age_s: shown["age_s"].as_f64().unwrap_or(0.0),
        answer_begun: shown["answer_begun"] == Json::Bool(true),
        waits_for_client: shown["waits_for_client"] == Json::Bool(true),
        holds_loop: false,
        client: shown["client"].as_str().unwrap_or_default().to_owned(),
        usual_s: None,
    }
}

/// What is wrong, and what to do about it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) cause: String,
    pub(crate) what: String,
    pub(crate) whose: String,
    /// For how long at least, seconds.
    pub(crate) for_s: Option<f64>,
    /// Since when, milliseconds since 1970, if the server says so.
    pub(crate) since_ms: Option<u64>,
    pub(crate) advice: String,
}

/// What the server has found, the worst first. A server that says nothing of it, as older ones do, is judged by what was
/// seen of it.
pub(crate) fn findings(look: &Json, sights: &[Sight]) -> Vec<Told> {
    let Some(findings) = look["findings"].as_array() else {
        return diagnose(sights).iter().map(Told::of).collect();
    };
    let at_ms = look["at"].as_f64().unwrap_or(0.0) * 1e3;
    findings.iter().map(|finding| Told::by_server(finding, at_ms)).collect()
}

impl Told {
    pub(crate) fn of(finding: &Finding) -> Self {
        Self {
            cause: finding.cause.word().to_owned(),
            what: finding.what.clone(),
            whose: finding.whose.to_string(),
            for_s: finding.for_s,
            since_ms: None,
            advice: finding.advice.clone(),
        }
    }

    /// Since when, in brackets, as far as it is known. The time of day is UTC, as in `indrik events`.
    pub(crate) fn since(&self) -> String {
        let Some(lasts) = self.for_s.map(time) else { return String::new() };
        let Some(since_ms) = self.since_ms else { return format!(" (for {lasts} at least)") };
        let second = since_ms / 1_000 % 86_400;
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        format!(" (since {hour:02}:{minute:02}:{second:02} UTC, for {lasts})")
    }

    fn by_server(finding: &Json, at_ms: f64) -> Self {
        let text = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let since_ms = finding["since_ms"].as_u64();
        Self {
            cause: text("cause"),
            what: text("what"),
            whose: text("whose"),
            for_s: since_ms.map(|since| ((at_ms - float(since)) / 1e3).max(0.0)),
            since_ms,
            advice: text("advice"),
        }
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::json!({
            "cause": self.cause,
            "what": self.what,
            "whose": self.whose,
            "for_s": self.for_s,
            "since_ms": self.since_ms,
            "advice": self.advice,
        })
    }
}

/// The route of a request, or its method and path.
pub(crate) fn name(request: &Json) -> String {
    let text = |field: &str| request[field].as_str();
    let target = text("target").unwrap_or("?");
    let path = target.split('?').next().unwrap_or(target);
    format!("{} {}", text("method").unwrap_or("?"), text("route").unwrap_or(path))
}

/// The workers of a look.
pub(crate) fn workers(look: &Json) -> &[Json] {
    look["workers"].as_array().map_or(&[], Vec::as_slice)
}

/// A number that is not negative.
pub(crate) fn whole(value: &Json) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn small(value: &Json) -> u32 {
    u32::try_from(whole(value)).unwrap_or(u32::MAX)
}

fn counts(value: &Json) -> std::collections::BTreeMap<String, u64> {
    let fields = value.as_object().into_iter().flatten();
    fields.map(|(name, count)| (name.clone(), whole(count))).collect()
}

/// What a server does at a moment, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Vitals {
    pub(crate) requests_s: f64,
    pub(crate) in_flight: u64,
    pub(crate) waiting: u64,
    pub(crate) connections: u64,
    /// The share of what workers can run that they run; none if they run as many as come.
    pub(crate) busy: Option<f64>,
    /// Processors in use by workers.
    pub(crate) cpus_used: f64,
    pub(crate) cpus: f64,
    pub(crate) memory: u64,
}

/// What is between two looks.
pub(crate) fn vitals(before: &Sight, now: &Sight) -> Vitals {
    let seconds = (now.at - before.at).max(0.05);
    let was = |worker: &Worker| before.workers.iter().find(|was| was.pid == worker.pid);
    // Of one that is new everything it served came since.
    let served: u64 = now
        .workers
        .iter()
        .map(|worker| worker.served.saturating_sub(was(worker).map_or(0, |was| was.served)))
        .sum();
    let cpu = |worker: &Worker| Some((worker.cpu_s? - was(worker)?.cpu_s?).max(0.0) / seconds);
    let serving: Vec<&Worker> = now.workers.iter().filter(|worker| worker.serves()).collect();
    let places: Option<u64> = serving.iter().map(|worker| worker.capacity.map(u64::from)).sum();
    let running: u64 = serving.iter().map(|worker| worker.in_flight).sum();
    Vitals {
        requests_s: float(served) / seconds,
        in_flight: now.front.in_flight,
        waiting: now.front.waiting,
        connections: now.front.connections,
        busy: places
            .filter(|places| *places > 0)
            .map(|places| (float(running) / float(places)).min(1.0)),
        cpus_used: now.workers.iter().filter_map(cpu).sum(),
        cpus: now.machine.cpus,
        memory: now.workers.iter().filter_map(|worker| worker.rss).sum(),
    }
}

impl Vitals {
    /// In one line.
    pub(crate) fn line(&self) -> String {
        let busy = self.busy.map_or(String::new(), |busy| format!(", busy {:.0} %", busy * 100.0));
        let decimals = usize::from(self.requests_s < 100.0);
        format!(
            "{:.decimals$} requests/s, {} running, {} waiting{busy}, CPU {:.2}/{}, {}, {} conns",
            self.requests_s,
            self.in_flight,
            self.waiting,
            self.cpus_used,
            self.cpus,
            mebibytes(self.memory),
            self.connections
        )
    }

    pub(crate) fn json(&self) -> Json {
        serde_json::json!({
            "requests_per_s": self.requests_s,
            "in_flight": self.in_flight,
            "waiting": self.waiting,
            "connections": self.connections,
            "busy": self.busy,
            "cpus_used": self.cpus_used,
            "cpus": self.cpus,
            "workers_rss_bytes": self.memory,
        })
    }
}

/// Bytes as people read them.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", float(bytes) / 1_048_576.0)
}

#[expect(clippy::cast_precision_loss, reason = "a number that is shown")]
pub(crate) fn float(number: u64) -> f64 {
    number as f64
}

/// A time in the largest units that say enough.
pub(crate) fn time(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3_600.0 => format!("{:.0} min", (s / 60.0).floor()),
        s if s < 172_800.0 => format!("{:.0} h", (s / 3_600.0).floor()),
        s => format!("{:.0} d", (s / 86_400.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn look(at: f64, served: u64, ticks: u64) -> Json {
        json!({"uptime": at, "workers_target": 1, "workers_ready": 1, "cpus": 2, "requests_in_flight": 1,
            "requests_waiting": 3, "connections": 9, "health": {"why": ""},
            "last_reload": {"success": false, "error": "it broke"}, "ends": {"oom": 2},
            "workers": [{"place": 1, "pid": 7, "state": "ready", "requests": served, "cpu_ticks": ticks,
                "capacity": 4, "in_flight": 1, "rss_bytes": 104_857_600,
                "running": [{"method": "GET", "target": "/a?secret", "age_s": 2.5}]}]})
    }

    #[test]
    fn two_looks_make_the_vitals() {
        let (before, now) = (sight(&look(10.0, 100, 50)), sight(&look(12.0, 120, 150)));
        let vitals = vitals(&before, &now);
        assert_eq!(
            vitals.line(),
            "10.0 requests/s, 1 running, 3 waiting, busy 25 %, CPU 0.50/2, 100 MiB, 9 conns"
        );
        assert_eq!(now.server.reload_failed.as_deref(), Some("it broke"));
        assert_eq!(now.workers[0].running[0].name, "GET /a");
    }

    #[test]
    fn what_the_server_has_found_is_told_and_an_old_one_is_judged_by_its_looks() {
        let mut now = look(12.0, 120, 150);
        let old = findings(&now, &[sight(&look(10.0, 100, 50)), sight(&now)]);
        assert_eq!(old.iter().map(|told| &*told.cause).collect::<Vec<_>>(), ["reload_failing"]);
        now["at"] = json!(100.0);
        now["findings"] = json!([]);
        assert_eq!(findings(&now, &[]), []);
        now["findings"] = json!([{"cause": "leak", "what": "it grows", "whose": "worker 1", "since_ms": 90_000, "advice": "a"}, 3]);
        let told = findings(&now, &[]);
        assert_eq!((told.len(), &*told[0].cause, told[0].for_s), (2, "leak", Some(10.0)));
        assert_eq!(told[0].since(), " (since 00:01:30 UTC, for 10.0 s)");
        assert_eq!((told[1].since(), &*old[0].since()), (String::new(), ""));
    }

    #[test]
    fn what_is_no_look_is_an_empty_one() {
        for nonsense in [Json::Null, json!([1]), json!({"workers": 3, "health": 1})] {
            assert_eq!(sight(&nonsense).workers, []);
        }
    }
}
