//! The thread that looks, once a second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use indrik_core::history::{Mark, Reading, Row, Series, Shares, failed};
use indrik_core::memory::process;
use indrik_sys::memory;

use super::diagnosis::{Diagnosis, Seen};
use super::frame::{Parts, ROUTES_MAX, frame};
use super::memory::Allowed;
use super::remembered::{Remembered, Summary};
use super::workers::{WorkerNow, Workers};
use crate::front::{Eye, InFlight};
use crate::look::{Board, Look, unix_ms};

/// Routes that are told to those who ask in words.
const ROUTES_TOLD: usize = 20;
/// Looks in a second at who has a request.
const GLANCES: u32 = 4;
/// Whoever comes later than this has stood still: nothing is made up for it.
const LATE: Duration = Duration::from_secs(3);

/// Looks at the server once a second, for as long as the process lives.
pub(crate) struct Sampler {
    board: Arc<Board>,
    remembered: Arc<Remembered>,
    workers: Workers,
    shares: Shares,
    allowed: Allowed,
    /// What was counted at the last look; nothing at first, for a server that begins has counted nothing.
    before: (Instant, Reading),
    diagnosis: Diagnosis,
    own_cpu: Option<Duration>,
    /// Seconds in which the control group was held back.
    throttled: Option<f64>,
    /// Workers that ended and should not have.
    failed: Option<u64>,
    /// The newest entry of the chronicle that is marked.
    marked: u64,
}

impl Sampler {
    /// Begins on a thread of its own.
    ///
    /// # Errors
    /// When that cannot be had.
    pub(crate) fn start(board: &Arc<Board>, remembered: &Arc<Remembered>) -> io::Result<()> {
        let sampler = Self {
            board: Arc::clone(board),
            remembered: Arc::clone(remembered),
            workers: Workers::new(),
            shares: Shares::default(),
            allowed: Allowed::find(),
            before: (Instant::now(), Reading::default()),
            diagnosis: Diagnosis::new(),
            own_cpu: None,
            throttled: None,
            failed: None,
            marked: 0,
        };
        let thread = thread::Builder::new().name("indrik-history".to_owned());
        thread.spawn(move || sampler.run()).map(|_| ())
    }

    fn run(mut self) {
        let pause = Duration::from_secs(1) / GLANCES;
        let mut next = Instant::now();
        loop {
            for _ in 0..GLANCES {
                next += pause;
                let now = Instant::now();
                if now > next + LATE {
                    next = now;
                }
                thread::sleep(next.saturating_duration_since(now));
                self.board.front().iter().for_each(|front| self.workers.glance(front));
            }
            self.second();
        }
    }

    fn second(&mut self) {
        let at_ms = unix_ms();
        let look = self.board.look();
        let front = self.board.front();
        let front = front.as_deref();
        let mut in_flight = front.map(Eye::in_flight).unwrap_or_default();
        // The page shows them to whoever may look.
        in_flight.iter_mut().for_each(InFlight::hide_secrets);
        let (mut row, seconds) = self.counted(front, &look, at_ms);
        let workers = self.workers.second(&look, front, &in_flight, seconds);
        self.fill(&mut row, &look, &workers, seconds);
        front.into_iter().for_each(|front| fill_front(&mut row, front, &in_flight));
        let (board, reading) = (&*self.board, &self.before.1);
        let (look_now, requests) = (&*look, &in_flight[..]);
        let seen = Seen { at_ms, board, look: look_now, front, in_flight: requests, reading };
        let findings = self.diagnosis.look(&seen);
        self.remembered.sum_up(Summary {
            p95_s: row.get(Series::P95),
            routes: self.shares.largest(ROUTES_TOLD),
        });
        let marks = self.new_marks();
        let remembered = Arc::clone(&self.remembered);
        let is_watched = remembered.is_watched();
        let shown = remembered.with(|history| {
            history.push(at_ms, &row);
            marks.into_iter().for_each(|mark| history.mark(mark));
            is_watched.then(|| {
                frame(Parts {
                    at_ms,
                    look: &look,
                    row: &row,
                    limits: self.limits(front, &look),
                    history,
                    findings: &findings,
                    workers: &workers,
                    in_flight: &in_flight,
                    routes: self.shares.largest(ROUTES_MAX),
                    // The page shows it to whoever may look.
                    events: self.board.after(0).iter().map(|it| it.shown_to(false)).collect(),
                })
            })
        });
        shown.into_iter().for_each(|shown| remembered.show(shown));
    }

    /// What the front has counted since the last second, and how long that is ago.
    fn counted(&mut self, front: Option<&Eye>, look: &Look, at_ms: u64) -> (Row, f64) {
        let now = Instant::now();
        let reading = front.map(|front| Reading::of(&front.metrics())).unwrap_or_default();
        let (then, before) = std::mem::replace(&mut self.before, (now, reading));
        let reading = &self.before.1;
        let seconds = (now - then).as_secs_f64().max(0.001);
        if reading.is_behind(&before) {
            return (Row::default(), seconds);
        }
        let routes = reading.routes_since(&before);
        self.diagnosis.learn(seconds, &routes);
        self.shares.pass(seconds, routes);
        let generation = look.census.generation;
        self.remembered.with(|history| {
            for (name, count) in reading.failures_since(&before) {
                history.failures_mut().count(name, count, at_ms, generation);
            }
        });
        (reading.since(&before, seconds), seconds)
    }

    /// What the kernel and the loop say.
    fn fill(&mut self, row: &mut Row, look: &Look, workers: &[WorkerNow], seconds: f64) {
        row.set(Series::WorkersReady, f64::from(look.census.ready));
        row.set(Series::WorkersWanted, f64::from(look.census.wanted));
        if !workers.is_empty() {
            let busy: f64 = workers.iter().map(|worker| worker.busy).sum();
            row.set(Series::Busy, busy / workers.len() as f64);
            let sum = |of: fn(&WorkerNow) -> Option<u64>| {
                workers.iter().filter_map(of).sum::<u64>() as f64
            };
            row.set(Series::Rss, sum(|worker| worker.rss_bytes));
            row.set(Series::Pss, sum(|worker| worker.pss_bytes));
            let largest = |of: fn(&WorkerNow) -> Option<f64>| {
                // What was blocked for longer than a second is told at its end.
                workers.iter().filter_map(of).reduce(f64::max).map(|share| share.min(1.0))
            };
            let blocked = [
                (Series::LoopBlocked, largest(|worker| worker.loop_blocked)),
                (Series::GilBlocked, largest(|worker| worker.gil_blocked)),
            ];
            for (series, share) in blocked {
                share.into_iter().for_each(|share| row.set(series, share));
            }
            row.set(Series::CpuWorkers, workers.iter().filter_map(|worker| worker.cpu).sum());
        }
        let cpu = memory::stat(std::process::id()).as_deref().and_then(process::cpu);
        if let (Some(now), Some(before)) = (cpu, std::mem::replace(&mut self.own_cpu, cpu)) {
            row.set(Series::CpuFront, now.saturating_sub(before).as_secs_f64() / seconds);
        }
        let throttled = self.allowed.throttled();
        let before = std::mem::replace(&mut self.throttled, throttled);
        if let (Some(now), Some(before)) = (throttled, before) {
            // Of all processors' time together.
            row.set(Series::Throttled, ((now - before) / seconds).clamp(0.0, 1.0));
        }
        let failed = failed(look.ends.iter().map(|(reason, count)| (reason.as_str(), *count)));
        let before = self.failed.replace(failed).unwrap_or(failed);
        row.set(Series::Crashes, failed.saturating_sub(before) as f64);
        if let (Some(used), Some(most)) = (self.allowed.used(), self.allowed.memory()) {
            row.set(Series::MemoryShare, used as f64 / most.max(1) as f64);
        }
    }

    fn limits(&self, front: Option<&Eye>, look: &Look) -> BTreeMap<&'static str, f64> {
        let mut limits = BTreeMap::from([
            (Series::Busy.name(), 1.0),
            (Series::CpuWorkers.name(), self.allowed.processors),
            (Series::WorkersReady.name(), f64::from(look.census.wanted)),
        ]);
        if let Some(memory) = self.allowed.memory() {
            limits.insert(Series::Rss.name(), memory as f64);
        }
        if let Some(settings) = &look.settings {
            limits.insert(Series::Waiting.name(), settings.config.queue_requests_max as f64);
        }
        if let Some(front) = front {
            let stats = front.stats();
            limits
                .insert(Series::Connections.name(), stats.descriptors.share.connections_max as f64);
        }
        limits
    }

    /// What has happened since the last second.
    fn new_marks(&mut self) -> Vec<Mark> {
        let entries = self.board.after(self.marked);
        self.marked = entries.last().map_or(self.marked, |entry| entry.number);
        let mark = |entry: &indrik_core::chronicle::Entry| Mark {
            at_ms: entry.at_ms,
            kind: entry.kind.word().to_owned(),
            text: entry.text.clone(),
            generation: entry.generation,
        };
        entries.iter().map(|entry| mark(&entry.shown_to(false))).collect()
    }
}

/// What the front says of this moment.
fn fill_front(row: &mut Row, front: &Eye, in_flight: &[InFlight]) {
    let stats = front.stats();
    row.set(Series::Waiting, stats.waiting as f64);
    row.set(Series::InFlight, stats.in_flight as f64);
    row.set(Series::Connections, stats.connections as f64);
    row.set(Series::FrontMemory, stats.memory.held as f64);
    let oldest = in_flight.iter().filter(|request| request.worker.is_none());
    let oldest = oldest.map(|request| request.age_us).max().unwrap_or(0);
    row.set(Series::Oldest, oldest as f64 / 1e6);
}
