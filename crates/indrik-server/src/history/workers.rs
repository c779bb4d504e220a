//! The workers from one second to the next: how many requests, how busy, how much memory and processor time.

use std::collections::BTreeMap;
use std::time::Duration;

use indrik_core::ids::WorkerId;
use indrik_core::memory::process;
use indrik_ring::Blocked;
use indrik_sys::memory;
use serde::Serialize;

use crate::front::{Eye, InFlight};
use crate::look::{Look, WorkerLook};

/// The kernel walks over all pages of a worker for its proportional share: seldom.
const PSS_EVERY_SECONDS: u32 = 30;

/// What was seen of each worker.
#[derive(Debug)]
pub(super) struct Workers {
    seen: BTreeMap<WorkerId, Seen>,
    page_bytes: u64,
    /// Looks in this second.
    glances: u32,
    seconds: u32,
}

#[derive(Debug, Default)]
struct Seen {
    served: u64,
    cpu: Option<Duration>,
    pss: Option<u64>,
    /// In how many looks of this second it had a request.
    busy: u32,
    blocked: Option<Blocked>,
}

/// A worker's second.
#[derive(Clone, Debug, Serialize)]
pub(super) struct WorkerNow {
    pub(super) id: u64,
    place: u32,
    pid: u32,
    pub(super) generation: u64,
    state: &'static str,
    ends_for: Option<String>,
    uptime_s: f64,
    beat_age_s: Option<f64>,
    requests: u64,
    in_flight: usize,
    /// Requests finished in this second.
    pub(super) rate: f64,
    /// The share of its looks in which it had a request.
    pub(super) busy: f64,
    pub(super) rss_bytes: Option<u64>,
    pub(super) pss_bytes: Option<u64>,
    /// Processor seconds in this second.
    pub(super) cpu: Option<f64>,
    /// The share of the second in which its event loop did not turn, and in which its threads waited for the GIL.
    pub(super) loop_blocked: Option<f64>,
    pub(super) gil_blocked: Option<f64>,
    /// The request that it has had for longest.
    current: Option<Current>,
}

/// A request with a worker.
#[derive(Clone, Debug, Serialize)]
struct Current {
    method: String,
    target: String,
    age_us: u64,
}

impl WorkerNow {
    pub(super) fn is_ready(&self) -> bool {
        self.state == "ready"
    }
}

impl Workers {
    pub(super) fn new() -> Self {
        Self { seen: BTreeMap::new(), page_bytes: memory::page_bytes(), glances: 0, seconds: 0 }
    }

    /// Looks who has a request.
    pub(super) fn glance(&mut self, front: &Eye) {
        self.glances += 1;
        for (id, load) in front.loads() {
            if let Some(seen) = self.seen.get_mut(&id) {
                seen.busy += u32::from(load.in_flight > 0);
            }
        }
    }

    /// A second of so many seconds is over.
    pub(super) fn second(
        &mut self,
        look: &Look,
        front: Option<&Eye>,
        in_flight: &[InFlight],
        seconds: f64,
    ) -> Vec<WorkerNow> {
        let loads = front.map(Eye::loads).unwrap_or_default();
        let wants_pss = self.seconds.is_multiple_of(PSS_EVERY_SECONDS);
        self.seconds = self.seconds.wrapping_add(1);
        self.seen.retain(|id, _| look.workers.iter().any(|worker| worker.id == id.0));
        let glances = std::mem::take(&mut self.glances).max(1);
        let uptime = look.began.elapsed();
        let mut all = Vec::new();
        for worker in &look.workers {
            let Some(pid) = worker.pid else { continue };
            let load = loads.get(&WorkerId(worker.id)).copied();
            let (is_asked, load) = (load.is_some(), load.unwrap_or_default());
            let is_new = !self.seen.contains_key(&WorkerId(worker.id));
            let seen = self.seen.entry(WorkerId(worker.id)).or_default();
            if wants_pss || is_new {
                seen.pss = memory::smaps_rollup(pid).as_deref().and_then(process::pss);
            }
            let cpu = memory::stat(pid).as_deref().and_then(process::cpu);
            let before = std::mem::replace(&mut seen.cpu, cpu);
            let used =
                cpu.zip(before).map(|(now, before)| now.saturating_sub(before).as_secs_f64());
            let blocked = is_asked.then_some(load.blocked);
            let blocked = blocked.zip(std::mem::replace(&mut seen.blocked, blocked));
            let blocked = |of: fn(&Blocked) -> u64| {
                let (now, before) = blocked?;
                Some(of(&now).saturating_sub(of(&before)) as f64 / 1e6 / seconds)
            };
            let finished =
                load.served.saturating_sub(std::mem::replace(&mut seen.served, load.served));
            let current = in_flight.iter().find(|request| request.worker == Some(worker.id));
            all.push(WorkerNow {
                requests: load.served,
                in_flight: load.in_flight,
                rate: if is_new { 0.0 } else { finished as f64 / seconds },
                busy: f64::from(std::mem::take(&mut seen.busy)) / f64::from(glances),
                rss_bytes: memory::statm(pid)
                    .and_then(|statm| process::rss(&statm, self.page_bytes)),
                pss_bytes: seen.pss,
                cpu: used.map(|used| used / seconds),
                loop_blocked: blocked(|it| it.loop_us),
                gil_blocked: blocked(|it| it.gil_us),
                current: current.map(shown),
                ..still(worker, pid, uptime)
            });
        }
        all
    }
}

/// What the loop says of a worker.
fn still(worker: &WorkerLook, pid: u32, uptime: Duration) -> WorkerNow {
    let since = |at: Duration| uptime.saturating_sub(at).as_secs_f64().floor();
    WorkerNow {
        id: worker.id,
        place: worker.place,
        pid,
        generation: worker.generation,
        state: worker.state,
        ends_for: worker.ends_for.clone(),
        uptime_s: since(worker.born),
        beat_age_s: worker.beat_at.map(since),
        requests: 0,
        in_flight: 0,
        rate: 0.0,
        busy: 0.0,
        rss_bytes: None,
        pss_bytes: None,
        cpu: None,
        loop_blocked: None,
        gil_blocked: None,
        current: None,
    }
}

fn shown(request: &InFlight) -> Current {
    let InFlight { method, target, age_us, .. } = request.clone();
    Current { method, target, age_us }
}
