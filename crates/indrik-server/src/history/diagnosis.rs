//! What is wrong with the server: a look at all of it each second, kept and judged by `indrik_core::diagnose`.
//!
//! It reads what the loop has hung up, what the front shows and what the kernel says, and asks neither the loop nor a
//! worker. So what it finds is true also while one of them stands still.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::diagnose::{
    Cause, Front, Machine, Pool, Running, Server, Sight, Stalled, Standing, Usual, Watch, Worker,
};
use indrik_core::history::{Reading, RouteCount};
use indrik_core::ids::WorkerId;
use indrik_core::memory::process;
use indrik_core::metrics::{Family, Value};
use indrik_core::refusal::Reason;
use indrik_sys::memory;

use crate::front::{Eye, InFlight, Load, Where};
use crate::look::{Board, Look, WorkerLook};
use crate::metrics::{directories, disks, families_of_machine};

/// Requests of one worker that are looked at.
const RUNNING_MAX: usize = 256;
/// Workers whose processes are read: more would take too much of a second.
const READ_MAX: usize = 128;
/// Routes with errors that are looked at.
const FAILING_MAX: usize = 64;
/// Disks fill slowly, and may not answer: they are asked so seldom.
const DISKS_EVERY: Duration = Duration::from_secs(10);
/// Where reading the pools of all workers takes longer, it is done less often.
const POOLS_TIME_MAX: Duration = Duration::from_millis(10);
const POOLS_EVERY: Duration = Duration::from_secs(10);
/// What the loop has hung up longer ago says nothing of the workers' signs of life.
const LOOK_AGE_MAX_MS: u64 = 3_000;

/// The looks, and what else is kept from one to the next.
pub(super) struct Diagnosis {
    watch: Watch,
    usual: Usual,
    found: Arc<Vec<Standing>>,
    disks: (Option<Instant>, Vec<(String, u64, u64)>),
    /// When the pools are read again.
    pools_due: Option<Instant>,
    pools: Vec<Pool>,
    page_bytes: u64,
}

/// What was seen in a second.
pub(super) struct Seen<'a> {
    pub(super) at_ms: u64,
    pub(super) board: &'a Board,
    pub(super) look: &'a Look,
    pub(super) front: Option<&'a Eye>,
    pub(super) in_flight: &'a [InFlight],
    pub(super) reading: &'a Reading,
}

impl Diagnosis {
    pub(super) fn new() -> Self {
        Self {
            watch: Watch::default(),
            usual: Usual::default(),
            found: Arc::default(),
            disks: (None, Vec::new()),
            pools_due: None,
            pools: Vec::new(),
            page_bytes: memory::page_bytes(),
        }
    }

    /// So many seconds have passed, with these requests of each route.
    pub(super) fn learn(&mut self, seconds: f64, routes: &[(&str, RouteCount)]) {
        let is_slow = |it: &Standing| {
            matches!(
                it.finding.cause,
                Cause::SlowBackend
                    | Cause::ExhaustedPool
                    | Cause::BlockedLoop
                    | Cause::KeptGil
                    | Cause::FullQueue
                    | Cause::Throttled
                    | Cause::DiskSlow
                    | Cause::MemoryNear
            )
        };
        self.usual.pass(seconds, routes.iter().copied(), self.found.iter().any(is_slow));
    }

    /// Looks, and tells what stands, the worst first.
    pub(super) fn look(&mut self, seen: &Seen<'_>) -> Arc<Vec<Standing>> {
        let sight = self.sight(seen);
        self.found = Arc::new(self.watch.look(seen.at_ms, sight));
        seen.board.tell(&self.found);
        Arc::clone(&self.found)
    }

    fn sight(&mut self, seen: &Seen<'_>) -> Sight {
        let Seen { look, .. } = seen;
        let loads = seen.front.map(Eye::loads).unwrap_or_default();
        let age_ms = seen.at_ms.saturating_sub(look.at_ms);
        let left = look.steering.pause_left_s.map(|left| (left - age_ms as f64 / 1e3).max(0.0));
        Sight {
            at: look.began.elapsed().as_secs_f64(),
            why: look.health.why.clone(),
            server: Server {
                wanted: look.census.wanted,
                ready: look.census.ready,
                ends: look.ends.clone(),
                reload_failed: failed_reload(look),
                paused_s: left,
                maintenance: look.steering.maintenance,
            },
            front: front(seen),
            machine: self.machine(seen.board, look),
            workers: self.workers(seen, &loads),
            pools: self.pools(seen),
        }
    }

    fn workers(&self, seen: &Seen<'_>, loads: &BTreeMap<WorkerId, Load>) -> Vec<Worker> {
        let class = seen.look.settings.as_ref().map(|it| it.config.worker_class.to_string());
        // Greenlets share one loop.
        let is_green = class.is_some_and(|it| it.contains("gevent") || it.contains("eventlet"));
        let is_fresh = seen.at_ms.saturating_sub(seen.look.at_ms) <= LOOK_AGE_MAX_MS;
        let now = seen.look.began.elapsed();
        let workers = seen.look.workers.iter().enumerate();
        let shown = workers.filter_map(|(number, worker)| {
            let load = loads.get(&WorkerId(worker.id)).copied();
            let has_loop = load.is_some_and(|load| load.is_asgi || is_green);
            let silent = worker.beat_at.filter(|_| is_fresh).map(|at| now.saturating_sub(at));
            let shown = Worker {
                place: worker.place,
                pid: worker.pid?,
                state: worker.state.to_owned(),
                uptime_s: now.saturating_sub(worker.born).as_secs_f64(),
                has_loop,
                silent_s: silent.map(|silent| silent.as_secs_f64()),
                blocked_by: seen.front.and_then(|front| front.blocked_by(WorkerId(worker.id))),
                running: self.running(seen, worker),
                ..with_load(load, has_loop)
            };
            Some(if number < READ_MAX { self.read(shown) } else { shown })
        });
        shown.collect()
    }

    /// What the kernel says of its process.
    fn read(&self, worker: Worker) -> Worker {
        let pid = worker.pid;
        let main = memory::schedstat(pid).as_deref().and_then(process::run_and_waited);
        // Only asked where there is a loop that may stand still.
        let status = worker.has_loop.then(|| memory::status(pid)).flatten();
        Worker {
            cpu_s: memory::stat(pid).as_deref().and_then(process::cpu).map(|cpu| cpu.as_secs_f64()),
            main_cpu_s: main.map(|(run, _)| run.as_secs_f64()),
            main_sleeps: status.as_deref().and_then(process::sleeps),
            rss: memory::statm(pid).and_then(|statm| process::rss(&statm, self.page_bytes)),
            ..worker
        }
    }

    /// What the application has of a worker, the oldest first.
    fn running(&self, seen: &Seen<'_>, worker: &WorkerLook) -> Vec<Running> {
        let own = seen.in_flight.iter().filter(|request| request.worker == Some(worker.id));
        let mut running: Vec<Running> = own
            .filter_map(|request| {
                let age_s = micros(request.app_us?);
                let path = request.target.split('?').next().unwrap_or_default();
                let route = request.route.as_deref();
                Some(Running {
                    name: format!("{} {}", request.method, route.unwrap_or(path)),
                    age_s,
                    answer_begun: request.phase == Where::Answer,
                    waits_for_client: request.waits_for_client,
                    holds_loop: request.holds_loop,
                    client: request.client.clone(),
                    usual_s: route.and_then(|route| self.usual.of(route)),
                })
            })
            .collect();
        running.sort_by(|one, other| other.age_s.total_cmp(&one.age_s));
        running.truncate(RUNNING_MAX);
        running
    }

    fn machine(&mut self, board: &Board, look: &Look) -> Machine {
        let now = Instant::now();
        let asks = self.disks.0.is_none_or(|asked| now.duration_since(asked) >= DISKS_EVERY);
        let families = families_of_machine();
        let number = |name: &str, labels: &[&str]| number(&families, name, labels);
        if asks {
            self.disks = (Some(now), room(&disks(board), &directories(look)));
        }
        let used = number("indrik_memory_used_bytes", &[]).map(whole);
        let allowed = number("indrik_memory_allowed_bytes", &[]).map(whole);
        let stalled = |what: &str, kind: &str| number("indrik_pressure_seconds", &[what, kind]);
        Machine {
            cpus: number("indrik_cpu_allowed", &[]).unwrap_or(0.0),
            throttled_s: number("indrik_cpu_throttled_seconds", &[]),
            memory: used.zip(allowed),
            disks: self.disks.1.clone(),
            stalled_s: Stalled { memory: stalled("memory", "full"), io: stalled("io", "full") },
            cpu_wanted_s: stalled("cpu", "some"),
        }
    }

    fn pools(&mut self, seen: &Seen<'_>) -> Vec<Pool> {
        let began = Instant::now();
        if self.pools_due.is_some_and(|due| due > began) {
            return self.pools.clone();
        }
        let place = |id: WorkerId| {
            let worker = seen.look.workers.iter().find(|worker| worker.id == id.0)?;
            Some(worker.place)
        };
        let tables = seen.board.app_metrics().pools().into_iter();
        let pools = tables.filter_map(|(id, pools)| Some((place(id)?, pools)));
        self.pools = pools
            .flat_map(|(place, pools)| pools.into_iter().map(move |pool| (place, pool)))
            .map(|(place, ((library, name), numbers))| Pool {
                name: format!("{library} {name}"),
                place,
                in_use: numbers.in_use,
                max: numbers.max,
                waiting: numbers.waiting,
                waited: numbers.waited,
                refused: numbers.refused,
            })
            .collect();
        let takes_long = began.elapsed() > POOLS_TIME_MAX;
        self.pools_due = takes_long.then(|| began + POOLS_EVERY);
        self.pools.clone()
    }
}

fn failed_reload(look: &Look) -> Option<String> {
    look.last_reload.as_ref().filter(|reload| reload.failed).map(|reload| reload.why.clone())
}

fn with_load(load: Option<Load>, has_loop: bool) -> Worker {
    let Some(load) = load else { return Worker::default() };
    Worker {
        // A loop takes as many as come.
        capacity: (!has_loop).then(|| u32::try_from(load.capacity).unwrap_or(u32::MAX)),
        in_flight: load.in_flight as u64,
        served: load.served,
        loop_blocked_s: Some(micros(load.blocked.loop_us)),
        gil_waited_s: Some(micros(load.blocked.gil_us)),
        ..Worker::default()
    }
}

fn front(seen: &Seen<'_>) -> Front {
    let Some(eye) = seen.front else { return Front::default() };
    let stats = eye.stats();
    let reasons = || Reason::ALL.iter().zip(&stats.refused);
    let not_its_own = reasons().filter(|(reason, _)| reason.spares_application());
    let not_its_own: u64 = not_its_own.map(|(_, count)| count).sum();
    let queued = seen.in_flight.iter().filter(|request| request.phase == Where::Queue);
    let oldest = queued.map(|request| request.age_us).max();
    let limit = stats.memory.limits.total;
    let settings = seen.look.settings.as_ref();
    Front {
        waiting: stats.waiting as u64,
        waiting_max: settings.map(|it| it.config.queue_requests_max as u64),
        oldest_wait_s: oldest.filter(|_| stats.waiting > 0).map(micros),
        in_flight: stats.in_flight as u64,
        connections: stats.connections as u64,
        refused: reasons().map(|(reason, count)| (reason.word().to_owned(), *count)).collect(),
        answers: Some(seen.reading.answers(not_its_own)),
        failing: seen.reading.failing(FAILING_MAX),
        memory: (limit != u64::MAX).then_some((stats.memory.held, limit)),
    }
}

fn room(families: &[Family], places: &[(&'static str, PathBuf)]) -> Vec<(String, u64, u64)> {
    let of = |(what, path): &(&'static str, PathBuf)| {
        let free = number(families, "indrik_disk_free_bytes", &[*what])?;
        let size = number(families, "indrik_disk_size_bytes", &[*what])?;
        Some((path.display().to_string(), whole(free), whole(size)))
    };
    places.iter().filter_map(of).collect()
}

/// What a family says where its labels have these values.
fn number(families: &[Family], name: &str, labels: &[&str]) -> Option<f64> {
    let family = families.iter().find(|family| family.name == name)?;
    let sample = family.samples.iter().find(|sample| {
        sample.labels.iter().map(|(_, value)| value.as_ref()).eq(labels.iter().copied())
    })?;
    match &sample.value {
        Value::Number(number) => Some(*number),
        Value::Distribution(_) | Value::Sum { .. } => None,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bytes")]
const fn whole(bytes: f64) -> u64 {
    bytes as u64
}

fn micros(time: u64) -> f64 {
    time as f64 / 1e6
}
