//! Recycling: workers that have served enough, are old or have grown are replaced, one at a time.
//!
//! A worker that is to be recycled serves on until its turn has come and its successor is ready, so
//! its limit is a wish, and capacity the promise. Two things do not wait: a worker that grows faster
//! than workers can be replaced gets nothing more at once, and one above its hard limit is ended.
//!
//! Starting successors costs processor time that requests could have. When processors are short,
//! recycling by number and age takes no more than a small share of it and the wishes wait.

use std::time::Duration;

use super::limits::{
    RECYCLING_BUSY_FRACTION, RECYCLING_COST, RECYCLING_PERCENT, RECYCLING_REST_MAX, YOUNG_AGE,
};
use super::machine::Supervisor;
use super::policy::Policy;
use super::reason::{EndReason, StartReason};
use super::state::phase::Phase;
use super::state::recycling::Wish;
use super::state::worker::{Worker, WorkerState};
use crate::ids::WorkerId;
use crate::logs::level::Level;
use crate::memory::Bytes;
use crate::memory::watch::{Excess, Measure, Step};
use crate::time::Now;

impl Supervisor {
    /// The worker is to be recycled when it is its turn.
    pub(super) fn recycle(&mut self, id: WorkerId, reason: EndReason) {
        let since = self.now;
        let Some(worker) = self.pool.workers.get_mut(&id) else { return };
        let waits_already = worker.wish.is_some_and(|wish| urgency(wish.reason) <= urgency(reason));
        // One that is not there yet goes when it is its turn too: what it did is not done again.
        if !worker.holds_place() || waits_already {
            return;
        }
        worker.wish = Some(Wish { reason, since });
        let is_successor = matches!(worker.start, StartReason::Respawn(end) if is_paced(end));
        if is_paced(reason) && reason != EndReason::LaneCut && is_successor {
            self.tell_if_too_fast(id);
        }
    }

    /// A successor that is used up before those that were there before it have had their turn.
    fn tell_if_too_fast(&mut self, id: WorkerId) {
        let older_waits = self.waiting_to_go().any(|worker| worker.id < id);
        if older_waits && !std::mem::replace(&mut self.pool.serving.recycling.told_too_fast, true) {
            self.log(
                Level::Warning,
                format!(
                    "Workers reach max_requests or max_worker_age sooner than successors can be \
                     started: one at a time, and with {RECYCLING_PERCENT} % of the processors' time \
                     when those are busy. They serve on until it is their turn\n  hint: raise the \
                     limit, or make starts cheap with preload_app"
                ),
            );
        }
    }

    /// Lets the next worker that is to be recycled retire, if it is its turn. Runs after every event.
    pub(super) fn take_turns(&mut self) {
        if self.server.phase != Phase::Serving {
            return;
        }
        let (retiring, leaving) = self.being_recycled();
        if retiring > 0 || leaving >= self.pool.serving.wanted.div_ceil(4) {
            return;
        }
        let resting = self.pool.serving.recycling.rest_until > self.now;
        let next = self
            .waiting_to_go()
            .filter(|worker| self.now >= not_before(worker))
            .filter_map(|worker| Some((worker.wish?, worker.id)))
            .filter(|(wish, _)| !(resting && is_paced(wish.reason)))
            .min_by_key(|(wish, id)| (urgency(wish.reason), wish.since, *id));
        if let Some((wish, id)) = next {
            self.retire(id, wish.reason);
        }
    }

    /// Those of the generation that serves that wait for their turn.
    fn waiting_to_go(&self) -> impl Iterator<Item = &Worker> {
        let current = self.current();
        self.pool.workers.values().filter(move |worker| {
            worker.generation == current && worker.is_staying() && worker.wish.is_some()
        })
    }

    /// How many wait for their successor, and how many finish or leave.
    fn being_recycled(&self) -> (u32, u32) {
        let recycled = |worker: &Worker| worker.wish.is_some() && !worker.holds_place();
        let retiring = self.count_of(self.current(), |it| recycled(it) && it.is_ready());
        let leaving = self.count_of(self.current(), |it| recycled(it) && !it.is_ready());
        (retiring, leaving)
    }

    /// What starting a worker cost: so long it ran, and so long it waited for a processor.
    pub(super) fn boot_measured(&mut self, id: WorkerId, ran: Duration, waited: Duration) {
        let Some(worker) = self.pool.workers.get(&id) else { return };
        let for_recycling = matches!(worker.start, StartReason::Respawn(end) if is_paced(end));
        if for_recycling && worker.generation == self.current() {
            let rest = rest_after(ran, waited, self.pool.serving.policy.cpus);
            self.pool.serving.recycling.rest_until = self.now + rest;
        }
    }

    /// Workers that have become too old are to be recycled.
    pub(super) fn expire_ages(&mut self) {
        let due: Vec<WorkerId> = self
            .ages()
            .filter(|(_, old_at)| *old_at <= self.now)
            .map(|(worker, _)| worker.id)
            .collect();
        for id in due {
            self.recycle(id, EndReason::Age);
        }
    }

    /// Workers that will be too old, and when.
    fn ages(&self) -> impl Iterator<Item = (&Worker, Now)> {
        let (current, policy) = (self.current(), self.pool.serving.policy);
        self.pool.workers.values().filter_map(move |worker| match worker.state {
            WorkerState::Ready { since, retiring: false }
                if worker.generation == current && worker.wish.is_none() =>
            {
                Some((worker, old_at(&policy, worker.id, since)?))
            }
            _ => None,
        })
    }

    /// When something is to happen here at the latest.
    pub(super) fn next_recycling(&self) -> Option<Now> {
        if self.server.phase != Phase::Serving {
            return None;
        }
        let ages = self.ages().map(|(_, old_at)| old_at);
        let someone_waits = self.waiting_to_go().next().is_some();
        let rest = (someone_waits && self.pool.serving.recycling.rest_until > self.now)
            .then_some(self.pool.serving.recycling.rest_until);
        let young = self.waiting_to_go().map(not_before).filter(|at| *at > self.now);
        ages.chain(rest).chain(young).min()
    }

    /// The worker uses more memory than a limit.
    pub(super) fn memory_exceeded(&mut self, id: WorkerId, excess: Excess) {
        let Some(worker) = self.pool.workers.get(&id) else { return };
        let (pid, is_ready) = (worker.pid.unwrap_or(0), worker.is_ready());
        let told = told(excess);
        match excess.step {
            Step::Misfit => {
                if !std::mem::replace(&mut self.pool.serving.recycling.told_misfit, true) {
                    let text = format!(
                        "Worker (pid:{pid}) {told}, as soon as it had started; no worker is replaced \
                         for that\n  hint: raise the limit above what the application needs"
                    );
                    self.log(Level::Warning, text);
                }
            }
            Step::Turn => {
                self.log(Level::Info, format!("Worker (pid:{pid}) {told}; it is replaced"));
                self.recycle(id, reason_of(excess.measure));
            }
            Step::Now if is_ready => {
                let text = format!(
                    "Worker (pid:{pid}) {told}, and grows faster than it can be replaced: it gets \
                     no more requests"
                );
                self.log(Level::Warning, text);
                self.drain(id, reason_of(excess.measure));
            }
            Step::Now => {}
            Step::Force => {
                self.log(Level::Critical, format!("Worker (pid:{pid}) {told}; it is killed"));
                self.stuck(id, EndReason::MemoryHard);
            }
        }
    }

    /// Somebody who measures workers wants this one replaced.
    pub(super) fn worker_should_go(&mut self, id: WorkerId, reason: EndReason) {
        match reason {
            EndReason::MemoryHard | EndReason::Timeout | EndReason::Deadlock => {
                self.stuck(id, reason);
            }
            other => self.recycle(id, other),
        }
    }
}

/// When the turn of a worker that waits for it may come. An application that misuses every lane has its workers
/// replaced at this pace, and not as fast as they start; without its lane one serves as well as before.
fn not_before(worker: &Worker) -> Now {
    let again = worker.start == StartReason::Respawn(EndReason::LaneCut)
        && worker.wish.is_some_and(|wish| wish.reason == EndReason::LaneCut);
    if again { worker.born + YOUNG_AGE } else { Now::ZERO }
}

/// Reasons that can wait while processors are short: the worker serves on as well as before.
fn is_paced(reason: EndReason) -> bool {
    matches!(reason, EndReason::MaxRequests | EndReason::Age | EndReason::LaneCut)
}

/// Who comes first.
fn urgency(reason: EndReason) -> u8 {
    match reason {
        EndReason::Memory | EndReason::Descriptors => 0,
        // Both are paced: in turn, or the workers that get old would go before for ever.
        EndReason::Age | EndReason::LaneCut => 1,
        EndReason::MaxRequests => 2,
        _ => 3,
    }
}

/// How long recycling rests after a start that ran and waited for a processor so long.
fn rest_after(ran: Duration, waited: Duration, cpus: u32) -> Duration {
    if waited < ran / RECYCLING_BUSY_FRACTION {
        return Duration::ZERO;
    }
    ((ran + RECYCLING_COST) * (100 / RECYCLING_PERCENT) / cpus.max(1)).min(RECYCLING_REST_MAX)
}

/// When a worker that has been ready since then is too old, if workers can be.
fn old_at(policy: &Policy, id: WorkerId, since: Now) -> Option<Now> {
    if policy.max_worker_age.is_zero() {
        return None;
    }
    let span = u64::try_from(policy.max_worker_age_jitter.as_millis()).unwrap_or(u64::MAX);
    let jitter = scattered(policy.jitter_seed ^ id.0) % span.saturating_add(1);
    Some(since + policy.max_worker_age + Duration::from_millis(jitter))
}

/// Numbers that have nothing in common for neighbours (the finisher of SplitMix64).
fn scattered(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn reason_of(measure: Measure) -> EndReason {
    match measure {
        Measure::Rss | Measure::Pss => EndReason::Memory,
        Measure::Descriptors => EndReason::Descriptors,
    }
}

/// `used 212.0 MiB of memory (RSS), more than worker_max_rss = 200.0 MiB`.
fn told(excess: Excess) -> String {
    let (name, setting) = match excess.measure {
        Measure::Rss => ("RSS", "worker_max_rss"),
        Measure::Pss => ("PSS", "worker_max_pss"),
        Measure::Descriptors => {
            let Excess { used, limit, .. } = excess;
            return format!("has {used} descriptors open, more than worker_max_fds = {limit}");
        }
    };
    let hard = if excess.step == Step::Force { "_hard" } else { "" };
    let (used, limit) = (Bytes(excess.used), Bytes(excess.limit));
    format!("used {used} of memory ({name}), more than {setting}{hard} = {limit}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervise::{Effect, Event, ExitStatus, WorkerEffect, WorkerEvent, ZygoteEvent};

    /// A server whose workers start, drain and leave only when told to.
    struct Bench {
        machine: Supervisor,
        now: Now,
        forked: Vec<WorkerId>,
        draining: Vec<WorkerId>,
        log: Vec<String>,
    }

    impl Bench {
        fn new(workers: u32, policy: Policy) -> Self {
            let mut bench = Self {
                machine: Supervisor::new(),
                now: Duration::from_secs(1),
                forked: Vec::new(),
                draining: Vec::new(),
                log: Vec::new(),
            };
            bench.does(Event::Start { successor: false });
            let generation = crate::ids::Generation::FIRST;
            bench.does(Event::Zygote(
                generation,
                ZygoteEvent::Ready { policy: Policy { workers, ..policy } },
            ));
            bench.boot_all();
            assert_eq!(bench.machine.census().ready, workers);
            bench
        }

        fn does(&mut self, event: Event) {
            self.machine.handle(event, self.now);
            while let Some(effect) = self.machine.poll_effect() {
                match effect {
                    Effect::Worker(worker, WorkerEffect::Fork { .. }) => self.forked.push(worker),
                    Effect::Worker(worker, WorkerEffect::DrainInFront) => {
                        self.draining.push(worker)
                    }
                    Effect::Log(line) => self.log.push(line.text),
                    _ => {}
                }
            }
        }

        fn boot_all(&mut self) {
            for worker in std::mem::take(&mut self.forked) {
                let pid = 100 + u32::try_from(worker.0).unwrap();
                self.does(Event::Worker(worker, WorkerEvent::Forked { pid }));
                self.does(Event::Worker(worker, WorkerEvent::Ready));
            }
        }

        fn leave_all(&mut self) {
            for worker in std::mem::take(&mut self.draining) {
                self.does(Event::Worker(worker, WorkerEvent::Drained));
                self.does(Event::Worker(
                    worker,
                    WorkerEvent::Exited { exit: ExitStatus::Code(0).into() },
                ));
            }
        }

        fn used_up(&mut self, worker: u64) {
            self.does(Event::Worker(WorkerId(worker), WorkerEvent::UsedUp));
        }

        fn excess(&mut self, worker: u64, step: Step) {
            self.now += Duration::from_millis(1);
            let excess = Excess { step, measure: Measure::Rss, used: 250 << 20, limit: 200 << 20 };
            self.does(Event::Worker(WorkerId(worker), WorkerEvent::Memory { excess }));
        }

        fn states(&self) -> Vec<(u64, &'static str)> {
            self.machine.views().map(|view| (view.id.0, view.state)).collect()
        }
    }

    #[test]
    fn workers_that_are_used_up_together_are_replaced_one_after_the_other() {
        let mut bench = Bench::new(4, Policy::default());
        for worker in 1..=4 {
            bench.used_up(worker);
        }
        for first in 1..=4u64 {
            assert_eq!(bench.forked.len(), 1, "one successor boots");
            let retiring = bench.states().iter().filter(|(_, state)| *state == "retiring").count();
            assert_eq!((bench.machine.census().ready, retiring), (4, 1));
            bench.boot_all();
            assert_eq!(bench.draining, [WorkerId(first)]);
            assert_eq!(bench.machine.census().ready, 4);
            bench.leave_all();
        }
        assert_eq!(bench.forked, []);
        assert_eq!(bench.states(), [(5, "ready"), (6, "ready"), (7, "ready"), (8, "ready")]);
    }

    #[test]
    fn the_next_one_waits_while_the_last_one_has_not_left() {
        let mut bench = Bench::new(2, Policy::default());
        bench.used_up(1);
        bench.used_up(2);
        bench.boot_all();
        assert_eq!(bench.states()[1..], [(2, "ready"), (3, "ready")]);
        bench.leave_all();
        assert_eq!(bench.states()[0], (2, "retiring"));
    }

    #[test]
    fn memory_comes_before_age_and_number() {
        let mut bench = Bench::new(4, Policy::default());
        bench.used_up(1);
        bench.used_up(2);
        bench.used_up(3);
        bench.excess(4, Step::Turn);
        bench.excess(3, Step::Turn);
        bench.boot_all();
        bench.leave_all();
        assert_eq!(bench.machine.views().find(|it| it.id.0 == 4).unwrap().state, "retiring");
        bench.boot_all();
        bench.leave_all();
        let three = bench.machine.views().find(|it| it.id.0 == 3).unwrap();
        assert_eq!((three.state, three.end), ("retiring", Some(EndReason::Memory)));
    }

    #[test]
    fn one_that_grows_too_fast_gets_nothing_more_whoever_is_being_replaced() {
        let mut bench = Bench::new(4, Policy::default());
        bench.used_up(1);
        bench.excess(2, Step::Now);
        bench.excess(3, Step::Now);
        assert_eq!(bench.draining, [WorkerId(2), WorkerId(3)]);
        assert_eq!(bench.forked.len(), 3, "their places are filled at once");
        bench.boot_all();
        assert_eq!(bench.machine.census().ready, 4);
    }

    #[test]
    fn one_without_its_lane_serves_until_its_successor_is_ready_and_whenever_it_lost_it() {
        let mut bench = Bench::new(2, Policy::default());
        let cut = |worker| {
            let event = WorkerEvent::ShouldGo { reason: EndReason::LaneCut };
            Event::Worker(WorkerId(worker), event)
        };
        bench.does(cut(1));
        assert_eq!(bench.states()[0], (1, "retiring"));
        assert_eq!((bench.draining.len(), bench.machine.census().ready), (0, 2));
        // Its successor loses its own before it is ready.
        let pid = 200;
        bench.does(Event::Worker(WorkerId(3), WorkerEvent::Forked { pid }));
        bench.does(cut(3));
        bench.forked.clear();
        bench.does(Event::Worker(WorkerId(3), WorkerEvent::Ready));
        assert_eq!(bench.draining, [WorkerId(1)]);
        bench.leave_all();
        // It serves without one: replaced at once, workers would go as fast as they start.
        assert_eq!(bench.states(), [(2, "ready"), (3, "ready")]);
        assert_eq!(bench.machine.next_recycling(), Some(bench.now + YOUNG_AGE));
        bench.now += YOUNG_AGE;
        bench.does(Event::Tick);
        assert_eq!(bench.states(), [(2, "ready"), (3, "retiring"), (4, "forking")]);
    }

    #[test]
    fn the_hard_limit_ends_a_worker_and_a_limit_that_is_too_low_ends_none() {
        let mut bench = Bench::new(2, Policy::default());
        bench.excess(1, Step::Misfit);
        bench.excess(2, Step::Misfit);
        assert_eq!(
            bench.log.iter().filter(|line| line.contains("no worker is replaced")).count(),
            1
        );
        assert_eq!(bench.states(), [(1, "ready"), (2, "ready")]);
        bench.excess(1, Step::Force);
        assert_eq!(bench.states()[0], (1, "stuck"));
        assert!(bench.log.iter().any(|line| line.contains("worker_max_rss_hard = 200.0 MiB")));
    }

    #[test]
    fn age_comes_with_a_jitter_that_the_seed_decides() {
        let policy = Policy {
            max_worker_age: Duration::from_secs(100),
            max_worker_age_jitter: Duration::from_secs(50),
            jitter_seed: 7,
            ..Policy::default()
        };
        let since = Duration::from_secs(1);
        let ages: Vec<Now> =
            (1..=8).filter_map(|id| old_at(&policy, WorkerId(id), since)).collect();
        assert_eq!(ages.len(), 8);
        assert!(ages.iter().all(|at| (101..=151).contains(&at.as_secs())), "{ages:?}");
        let spread = ages.iter().max().unwrap().abs_diff(*ages.iter().min().unwrap());
        assert!(spread > Duration::from_secs(10), "{ages:?}");

        let mut bench = Bench::new(2, policy);
        let first = bench.machine.poll_timeout().unwrap();
        bench.does(Event::Tick);
        assert_eq!(bench.forked, []);
        bench.now = first;
        bench.does(Event::Tick);
        assert_eq!(bench.forked.len(), 1);
        let ends: Vec<_> = bench.machine.views().filter_map(|view| view.end).collect();
        assert_eq!(ends, [EndReason::Age]);
    }

    #[test]
    fn starts_that_had_to_wait_for_a_processor_are_followed_by_a_rest() {
        let mut bench = Bench::new(2, Policy { cpus: 2, ..Policy::default() });
        bench.used_up(1);
        bench.used_up(2);
        let (ran, waited) = (Duration::from_millis(100), Duration::from_millis(200));
        let worker = bench.forked[0];
        bench.does(Event::Worker(worker, WorkerEvent::Forked { pid: 7 }));
        bench.does(Event::Worker(worker, WorkerEvent::BootMeasured { ran, waited }));
        bench.boot_all();
        bench.leave_all();
        assert_eq!(bench.states(), [(2, "ready"), (3, "ready")]);
        let rested = bench.machine.poll_timeout().unwrap();
        assert_eq!(rested, bench.now + Duration::from_millis(3750));
        // It says once that the limit is not kept.
        bench.used_up(3);
        assert_eq!(bench.log.iter().filter(|line| line.contains("sooner than")).count(), 1);
        bench.excess(3, Step::Turn);
        assert_eq!(bench.states(), [(2, "ready"), (3, "retiring"), (4, "forking")]);
        bench.boot_all();
        bench.leave_all();
        bench.now = rested;
        bench.does(Event::Tick);
        assert_eq!(bench.states()[0], (2, "retiring"));
    }

    #[test]
    fn a_machine_with_processors_to_spare_needs_no_rest() {
        let ran = Duration::from_secs(3);
        assert_eq!(rest_after(ran, Duration::from_millis(100), 8), Duration::ZERO);
        assert_eq!(rest_after(ran, ran, 5), Duration::from_millis(30_500));
        assert_eq!(rest_after(ran * 100, ran * 100, 1), RECYCLING_REST_MAX);
    }
}
