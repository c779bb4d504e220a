//! Seeded simulation of what is seen of servers, healthy and sick, in variants and in pairs: a sickness is named within
//! five seconds, and ten healthy minutes give no finding. A failing seed is named: `make simulate SEED=n`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "support/random.rs"]
mod random;
#[path = "support/seeds.rs"]
mod seeds;

use indrik_core::diagnose::{
    Cause, Front, Machine, Pool, Running, Server, Sight, Stalled, Worker, diagnose,
};
use random::Random;
use seeds::seeds;

const MIB: u64 = 1 << 20;
/// Looks that are kept, as the commands keep them.
const KEPT: usize = 30;
/// Seconds until a sickness must be named.
const NAMED_WITHIN: usize = 5;

/// A server that is looked at once a second.
struct World {
    random: Random,
    seed: u64,
    looks: Vec<Sight>,
    /// Requests that a worker runs at once; none: an event loop.
    capacity: Option<u32>,
    /// The share of its capacity that is in use.
    load: u64,
    sick: Vec<Cause>,
    next_pid: u32,
    second: u64,
}

impl World {
    fn new(seed: u64, sick: &[Cause]) -> Self {
        let mut random = Random::new(seed);
        let needs_loop = sick.contains(&Cause::BlockedLoop);
        let needs_threads = sick.contains(&Cause::KeptGil);
        let needs_places =
            sick.iter().any(|cause| matches!(cause, Cause::SlowBackend | Cause::SlowClients));
        let capacity = match (needs_loop, needs_threads || needs_places, random.below(3)) {
            (true, _, _) | (false, false, 0) => None,
            (false, true, _) => Some(2 + u32::try_from(random.below(16)).unwrap()),
            (false, false, _) => Some(1),
        };
        let load = random.between(0, 90);
        let workers = 1 + random.below(8);
        let mut world = Self {
            random,
            seed,
            looks: Vec::new(),
            capacity,
            load,
            sick: sick.to_vec(),
            next_pid: 100,
            second: 0,
        };
        let mut first = Sight { at: 100.0, ..Sight::default() };
        first.machine = Machine {
            cpus: 2.0,
            throttled_s: Some(3.0),
            memory: Some((300 * MIB, 4096 * MIB)),
            disks: vec![("/var/log".to_owned(), 9 << 30, 20 << 30)],
            stalled_s: Stalled { memory: Some(1.0), io: Some(2.0) },
            cpu_wanted_s: Some(5.0),
        };
        first.server = Server {
            wanted: u32::try_from(workers).unwrap(),
            ready: u32::try_from(workers).unwrap(),
            ..Server::default()
        };
        first.front = Front {
            waiting_max: Some(1024),
            answers: Some((0, 0)),
            memory: Some((MIB, 100 * MIB)),
            ..Front::default()
        };
        for place in 1..=first.server.wanted {
            let worker = world.worker(place);
            first.workers.push(worker);
        }
        world.looks.push(first);
        world
    }

    fn worker(&mut self, place: u32) -> Worker {
        self.next_pid += 1;
        Worker {
            place,
            pid: self.next_pid,
            state: "ready".to_owned(),
            uptime_s: f64::from(u32::try_from(self.random.between(1, 4_000)).unwrap()),
            capacity: self.capacity,
            has_loop: self.capacity.is_none(),
            cpu_s: Some(1.0),
            rss: Some(self.random.between(40, 400) * MIB),
            silent_s: Some(0.3),
            loop_blocked_s: None,
            gil_waited_s: None,
            ..Worker::default()
        }
    }

    fn has(&self, cause: Cause) -> bool {
        self.sick.contains(&cause)
    }

    /// One second passes.
    fn look(&mut self) {
        self.second += 1;
        let mut sight = self.looks.last().unwrap().clone();
        sight.at += 0.9 + f64::from(u32::try_from(self.random.below(20)).unwrap()) / 100.0;
        for index in 0..sight.workers.len() {
            let mut worker = sight.workers[index].clone();
            self.healthy(&mut worker);
            self.sicken(&mut worker);
            sight.workers[index] = worker;
        }
        if self.random.percent(3) && !self.has(Cause::Leak) {
            // Recycled: another process, small again.
            let place = sight.workers[0].place;
            *sight.server.ends.entry("max_requests".to_owned()).or_default() += 1;
            sight.workers[0] = Worker { uptime_s: 0.5, ..self.worker(place) };
        }
        sight.front.in_flight = sight.workers.iter().map(|worker| worker.in_flight).sum();
        let answers = self.random.between(0, 2_000);
        let (all, errors) = sight.front.answers.unwrap();
        // Some errors are everybody's.
        let failed =
            if self.has(Cause::BrokenApplication) { answers.max(30) } else { answers / 50 };
        sight.front.answers = Some((all + answers.max(30), errors + failed));
        self.sicken_server(&mut sight);
        self.looks.push(sight);
        if self.looks.len() > KEPT {
            self.looks.remove(0);
        }
    }

    fn healthy(&mut self, worker: &mut Worker) {
        worker.uptime_s += 1.0;
        // A moment of full load is nobody's fault.
        let load = if self.random.percent(5) { 100 } else { self.load };
        let most = u64::from(worker.capacity.unwrap_or(40));
        let in_flight = self.random.between(0, most * load / 100 + 1).min(most);
        worker.in_flight = in_flight;
        worker.served += self.random.between(0, 300);
        let busy = f64::from(u32::try_from(self.random.between(0, 100)).unwrap()) / 100.0;
        worker.cpu_s = worker.cpu_s.map(|cpu| cpu + busy);
        worker.silent_s =
            Some(f64::from(u32::try_from(self.random.between(0, 150)).unwrap()) / 100.0);
        let up = self.random.percent(50);
        let step = self.random.between(0, 700_000);
        worker.rss = worker
            .rss
            .map(|rss| if up { rss + step } else { rss.saturating_sub(step).max(20 * MIB) });
        worker.running = (0..in_flight.min(8)).map(|_| self.running(900)).collect();
        if self.capacity.is_none() && self.random.percent(50) {
            // Long polls are meant to wait, also many of them.
            worker.running.extend((0..6).map(|_| self.running(30_000)));
            worker.in_flight += 6;
        }
    }

    fn running(&mut self, most_ms: u64) -> Running {
        let age = self.random.between(1, most_ms);
        Running {
            name: format!("GET /{}", self.random.below(5)),
            age_s: f64::from(u32::try_from(age).unwrap()) / 1000.0,
            // A stream of events, whose client takes all of it.
            answer_begun: most_ms > 1_000 && self.random.percent(50),
            waits_for_client: false,
            holds_loop: false,
            client: "10.0.0.1".to_owned(),
            usual_s: None,
        }
    }

    fn sicken(&mut self, worker: &mut Worker) {
        let seconds = f64::from(u32::try_from(self.second).unwrap());
        let full = u64::from(worker.capacity.unwrap_or(40));
        if self.has(Cause::BlockedLoop) || self.has(Cause::KeptGil) {
            worker.in_flight = full.min(2 + worker.in_flight);
            worker.silent_s = Some(seconds.max(0.1));
            if self.has(Cause::KeptGil) && self.seed.is_multiple_of(2) {
                // Told from inside only.
                worker.silent_s = Some(0.5);
                worker.gil_waited_s = Some(worker.gil_waited_s.unwrap_or(0.0) + 0.8);
            }
        }
        if self.has(Cause::SlowBackend) || self.has(Cause::SlowClients) {
            worker.in_flight = full;
            let cpu = self.looks.last().unwrap().workers.iter().find(|it| it.pid == worker.pid);
            worker.cpu_s = cpu.and_then(|it| it.cpu_s).map(|cpu| cpu + 0.03);
            // Of those that both have, each has its half.
            let both = self.has(Cause::SlowBackend) && self.has(Cause::SlowClients);
            let answered = |at: u64| self.has(Cause::SlowClients) && (!both || at * 2 < full);
            worker.running = (0..full)
                .map(|at| Running {
                    name: "GET /report".to_owned(),
                    age_s: seconds + 1.5,
                    answer_begun: answered(at),
                    waits_for_client: answered(at),
                    holds_loop: false,
                    client: "10.9.9.9".to_owned(),
                    usual_s: None,
                })
                .collect();
        }
        if self.has(Cause::Leak) {
            worker.uptime_s = worker.uptime_s.max(600.0);
            let before = self.looks.last().unwrap().workers.iter().find(|it| it.pid == worker.pid);
            let grown = self.random.between(8, 40) * MIB;
            worker.rss = before.and_then(|it| it.rss).map(|rss| rss + grown);
        }
    }

    fn sicken_server(&mut self, sight: &mut Sight) {
        if self.has(Cause::SlowBackend) {
            sight.front.waiting = 3 + self.random.between(0, 20);
        }
        if self.has(Cause::ExhaustedPool) {
            let waiting = self.random.between(1, 9);
            sight.pools = vec![Pool {
                name: "default".to_owned(),
                place: 1,
                in_use: 5,
                max: 5,
                waiting,
                ..Pool::default()
            }];
        } else if self.random.percent(50) {
            // Full for a moment, or without anybody who waits.
            sight.pools = vec![Pool {
                name: "default".to_owned(),
                place: 1,
                in_use: 5,
                max: 5,
                ..Pool::default()
            }];
        }
        if self.has(Cause::FullQueue) {
            sight.front.waiting = 1024;
            *sight.front.refused.entry("queue_full".to_owned()).or_default() +=
                self.random.between(1, 90);
            sight.front.oldest_wait_s = Some(8.0);
        }
        if self.has(Cause::CrashLoop) {
            let reason = ["crash:SIGSEGV", "oom", "exit:3", "boot_failed"][self.random.below(4)];
            *sight.server.ends.entry(reason.to_owned()).or_default() += 1;
        }
        if self.has(Cause::DiskFull) {
            sight.machine.disks[0].1 = self.random.between(0, 30 * MIB);
        }
        if self.has(Cause::MemoryNear) {
            sight.machine.memory = Some((self.random.between(3_800, 4_096) * MIB, 4_096 * MIB));
        }
        if self.has(Cause::Throttled) || self.has(Cause::DiskSlow) {
            sight.front.waiting = sight.front.waiting.max(1);
        }
        if self.has(Cause::Throttled) {
            sight.machine.throttled_s = sight.machine.throttled_s.map(|so_far| so_far + 0.5);
        }
        if self.has(Cause::DiskSlow) {
            sight.machine.stalled_s.io = sight.machine.stalled_s.io.map(|so_far| so_far + 0.9);
        }
        if self.has(Cause::ReloadFailing) {
            sight.server.reload_failed = Some("its workers do not start".to_owned());
        }
        sight.server.paused_s = self.has(Cause::Paused).then_some(20.0);
        sight.server.maintenance = self.has(Cause::Maintenance);
        if self.has(Cause::Told) {
            sight.why = "worker 3 (pid 7) shows no life".to_owned();
        }
    }

    fn causes(&self) -> Vec<Cause> {
        diagnose(&self.looks).iter().map(|finding| finding.cause).collect()
    }

    /// Whether all that it ails from is named in time.
    fn assert_named(&mut self) {
        for _ in 0..NAMED_WITHIN {
            self.look();
            let causes = self.causes();
            if self.sick.iter().all(|cause| causes.contains(cause)) {
                return;
            }
        }
        let found = diagnose(&self.looks);
        panic!(
            "seed {}: {:?} is not named: {found:?}\n{:?}",
            self.seed,
            self.sick,
            self.looks.last()
        );
    }
}

#[test]
fn ten_healthy_minutes_give_no_finding() {
    for seed in seeds().take(150) {
        let mut world = World::new(seed, &[]);
        for _ in 0..600 {
            world.look();
            let found = diagnose(&world.looks);
            assert!(found.is_empty(), "seed {seed}, second {}: {found:?}", world.second);
        }
    }
}

#[test]
fn every_sickness_is_named_in_time_alone() {
    for seed in seeds() {
        for cause in Cause::ALL {
            World::new(seed, &[cause]).assert_named();
        }
    }
}

#[test]
fn two_sicknesses_at_once_are_both_named() {
    for seed in seeds().take(100) {
        for (at, one) in Cause::ALL.into_iter().enumerate() {
            for other in Cause::ALL.into_iter().skip(at + 1) {
                if can_be_together(one, other) {
                    World::new(seed, &[one, other]).assert_named();
                }
            }
        }
    }
}

/// A worker has one class; requests that wait for a pool wait for nothing else; and what nobody runs is not waited for.
fn can_be_together(one: Cause, other: Cause) -> bool {
    use Cause::{
        BlockedLoop, ExhaustedPool, FullQueue, KeptGil, Paused, SlowBackend, SlowClients, Told,
    };
    let is = |first: Cause, second: Cause| {
        (one, other) == (first, second) || (other, one) == (first, second)
    };
    let of_class = |cause: Cause| matches!(cause, KeptGil | SlowBackend | SlowClients);
    !(is(BlockedLoop, KeptGil)
        || (one == BlockedLoop && of_class(other))
        || (other == BlockedLoop && of_class(one))
        || (one == KeptGil && of_class(other))
        || (other == KeptGil && of_class(one))
        || is(ExhaustedPool, SlowBackend)
        || is(Paused, FullQueue)
        // What the supervisor says is said where nothing better is known.
        || one == Told
        || other == Told)
}

#[test]
fn a_look_alone_and_looks_at_one_moment_say_nothing_of_what_goes_on() {
    let mut world = World::new(1, &[Cause::BlockedLoop]);
    for _ in 0..NAMED_WITHIN {
        world.look();
    }
    let last = world.looks.last().unwrap().clone();
    assert!(diagnose(&[]).is_empty());
    assert!(diagnose(std::slice::from_ref(&last)).is_empty());
    assert!(diagnose(&[last.clone(), last]).is_empty());
}

/// One worker, and the same a second later.
fn two_looks(worker: Worker, change: impl FnOnce(&mut Sight)) -> Vec<Sight> {
    let worker = Worker {
        place: 1,
        pid: 7,
        state: "ready".to_owned(),
        uptime_s: 900.0,
        cpu_s: Some(1.0),
        main_cpu_s: Some(1.0),
        main_sleeps: Some(100),
        ..worker
    };
    let before = Sight { at: 50.0, workers: vec![worker], ..Sight::default() };
    let mut now = Sight { at: 51.0, ..before.clone() };
    change(&mut now);
    vec![before, now]
}

fn running(name: &str, age_s: f64) -> Running {
    Running { name: name.to_owned(), age_s, ..Running::default() }
}

fn causes(looks: &[Sight]) -> Vec<Cause> {
    diagnose(looks).iter().map(|finding| finding.cause).collect()
}

#[test]
fn a_lock_that_a_thread_keeps_from_a_loop_is_told_from_code_that_blocks_the_loop() {
    let still = || Worker {
        has_loop: true,
        in_flight: 3,
        silent_s: Some(3.0),
        running: vec![running("GET /a", 3.2)],
        ..Worker::default()
    };
    let seen = |cpu: f64, main: f64, sleeps: u64| {
        let looks = two_looks(still(), |now| {
            now.workers[0].cpu_s = Some(1.0 + cpu);
            now.workers[0].main_cpu_s = Some(1.0 + main);
            now.workers[0].main_sleeps = Some(100 + sleeps);
        });
        causes(&looks)
    };
    assert_eq!(seen(1.0, 1.0, 0), [Cause::BlockedLoop], "it computes");
    assert_eq!(seen(0.0, 0.0, 0), [Cause::BlockedLoop], "it sleeps");
    assert_eq!(seen(0.1, 0.1, 2_000), [Cause::BlockedLoop], "it reads from a socket");
    assert_eq!(seen(1.0, 0.01, 190), [Cause::KeptGil], "another thread computes");
    assert_eq!(seen(0.02, 0.02, 195), [Cause::KeptGil], "another thread waits in C");
}

#[test]
fn the_request_is_named_that_alone_can_have_kept_the_lock() {
    let told = |running: Vec<Running>, blocked_by: Option<&str>, silent: f64| {
        let worker = Worker {
            capacity: Some(8),
            in_flight: 4,
            silent_s: Some(silent),
            gil_waited_s: Some(1.0),
            blocked_by: blocked_by.map(str::to_owned),
            running,
            ..Worker::default()
        };
        let looks = two_looks(worker, |now| now.workers[0].gil_waited_s = Some(1.9));
        let found = diagnose(&looks);
        assert_eq!(found.len(), 1, "{found:?}");
        found[0].what.clone()
    };
    let young = || running("GET /young", 0.2);
    let what = told(vec![running("GET /old", 4.0), young()], None, 4.0);
    assert!(what.ends_with("; it is the request GET /old since 4.0 s"), "{what}");
    let what = told(vec![running("GET /old", 4.0), running("GET /other", 5.0)], None, 4.0);
    assert!(what.contains("one of its requests GET /old since 4.0 s, GET /other"), "{what}");
    let what = told((0..9).map(|_| running("GET /old", 4.0)).collect(), None, 4.0);
    assert!(what.ends_with("and the others wait"), "{what}");
    let what = told(vec![young()], Some("GET /last?token=x"), 0.2);
    assert!(what.ends_with("; the last time it was the request GET /last"), "{what}");
}

#[test]
fn answers_that_go_on_for_long_are_no_slow_clients_and_those_that_wait_for_theirs_are() {
    let seen = |waits: bool| {
        let running =
            Running { answer_begun: true, waits_for_client: waits, ..running("GET /events", 60.0) };
        let worker = Worker {
            capacity: Some(2),
            in_flight: 2,
            silent_s: Some(0.1),
            running: vec![running.clone(), running],
            ..Worker::default()
        };
        causes(&two_looks(worker, |_| ()))
    };
    assert_eq!(seen(false), []);
    assert_eq!(seen(true), [Cause::SlowClients]);
}

#[test]
fn long_polls_hide_no_slow_backend_and_are_none() {
    let seen = |slow: usize| {
        let usual = |usual_s: f64, running: Running| Running { usual_s: Some(usual_s), ..running };
        let polls = (0..20).map(|_| usual(20.0, running("GET /poll", 25.0)));
        let queries = (0..slow).map(|_| usual(0.05, running("GET /query", 4.0)));
        let worker = Worker {
            has_loop: true,
            in_flight: 20 + slow as u64,
            silent_s: Some(0.1),
            running: polls.chain(queries).collect(),
            ..Worker::default()
        };
        causes(&two_looks(worker, |_| ()))
    };
    assert_eq!(seen(0), []);
    assert_eq!(seen(3), []);
    assert_eq!(seen(9), [Cause::SlowBackend]);
}

#[test]
fn a_route_that_fails_is_named_although_all_others_are_well() {
    let counts = |sight: &mut Sight, all: u64, errors: u64| {
        sight.front.answers = Some((all, errors));
        sight.front.failing.insert("/order".to_owned(), (100 + 2 * errors, errors));
    };
    let mut looks = two_looks(Worker::default(), |_| ());
    counts(&mut looks[0], 10_000, 10);
    counts(&mut looks[1], 12_000, 50);
    let found = diagnose(&looks);
    assert_eq!(found[0].what, "/order fails: 40 of its last 80 answers are errors (5xx)");
    counts(&mut looks[1], 12_000, 13);
    assert_eq!(diagnose(&looks), []);
}
