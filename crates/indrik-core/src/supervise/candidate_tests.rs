//! Reloads, step by step.

use std::time::Duration;

use super::*;
use crate::ids::PoolId;
use crate::settings::Share;
use crate::supervise::{
    Event, ExitStatus, Failure, FailureKind, HealthState, OperatorEvent, PoolEvent, ReloadPolicy,
    Signal, WorkerEffect, WorkerEvent, ZygoteEvent,
};

/// A supervisor whose processes do what the test says.
struct Bench {
    machine: Supervisor,
    now: Duration,
    policy: Policy,
    effects: Vec<Effect>,
}

impl Bench {
    /// A server with `workers` ready ones of generation 1; `reload` is how the next one takes over.
    fn serving(workers: u32, reload: ReloadPolicy) -> Self {
        let policy = Policy { workers, ..Policy::default() };
        let machine = Supervisor::new();
        let mut bench = Self { machine, now: Duration::from_secs(1), policy, effects: Vec::new() };
        bench.give(Event::Start { successor: false });
        bench.configure(Generation::FIRST);
        while let Some(id) = bench.booting().first().copied() {
            bench.ready(id);
        }
        assert_eq!(bench.machine.census().ready, workers);
        bench.policy.reload = reload;
        bench
    }

    fn give(&mut self, event: Event) {
        self.machine.handle(event, self.now);
        let mut forked = Vec::new();
        while let Some(effect) = self.machine.poll_effect() {
            if let Effect::Worker(worker, WorkerEffect::Fork { .. }) = &effect {
                forked.push(*worker);
            }
            self.effects.push(effect);
        }
        for worker in forked {
            let pid = u32::try_from(worker.0).unwrap() + 100;
            self.give(Event::Worker(worker, WorkerEvent::Forked { pid }));
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
        self.give(Event::Tick);
    }

    fn configure(&mut self, generation: Generation) {
        self.give(Event::Zygote(generation, ZygoteEvent::Ready { policy: self.policy }));
    }

    /// Asks for a reload, up to the canary's boot.
    fn reload(&mut self) -> Generation {
        self.give(Event::Operator(OperatorEvent::Signal(Signal::Hup)));
        let generation = self.machine.reload_awaited().unwrap();
        self.configure(generation);
        generation
    }

    fn ready(&mut self, worker: WorkerId) {
        self.give(Event::Worker(worker, WorkerEvent::Ready));
    }

    fn dies(&mut self, worker: WorkerId) {
        self.give(Event::Worker(
            worker,
            WorkerEvent::Exited { exit: ExitStatus::Signal(11).into() },
        ));
    }

    fn in_state(&self, state: &str) -> Vec<WorkerId> {
        self.machine.views().filter(|view| view.state == state).map(|view| view.id).collect()
    }

    fn booting(&self) -> Vec<WorkerId> {
        self.in_state("booting")
    }

    /// Everything that drains or stops does so.
    fn old_leave(&mut self) {
        for worker in self.in_state("draining") {
            self.give(Event::Worker(worker, WorkerEvent::Drained));
        }
        for worker in self.in_state("stopping") {
            self.give(Event::Worker(
                worker,
                WorkerEvent::Exited { exit: ExitStatus::Code(0).into() },
            ));
        }
    }

    fn outcome(&self) -> Option<(u64, u64, bool)> {
        let outcome = self.machine.last_reload()?;
        Some((outcome.generation.0, outcome.serving.0, outcome.failure.is_none()))
    }

    fn has(&self, effect: &Effect) -> bool {
        self.effects.contains(effect)
    }

    fn ready_of(&self, generation: u64) -> usize {
        let is = |view: &super::super::WorkerView| {
            view.generation.0 == generation && view.state == "ready"
        };
        self.machine.views().filter(is).count()
    }
}

fn failure(kind: FailureKind) -> Failure {
    Failure {
        kind,
        message: "it is broken".into(),
        hint: String::new(),
        traceback: "Traceback: here".into(),
    }
}

fn with(change: impl FnOnce(&mut ReloadPolicy)) -> ReloadPolicy {
    let mut reload = ReloadPolicy::default();
    change(&mut reload);
    reload
}

#[test]
fn the_others_are_asked_for_only_after_the_canary_is_ready() {
    let mut bench = Bench::serving(4, ReloadPolicy::default());
    bench.reload();
    assert_eq!(bench.booting(), [WorkerId(5)]);
    bench.ready(WorkerId(5));
    assert_eq!(bench.booting().len(), 3);
    assert_eq!(bench.ready_of(1), 4, "nothing has moved yet");
    for id in bench.booting() {
        bench.ready(id);
    }
    assert_eq!((bench.ready_of(1), bench.ready_of(2)), (0, 4));
    assert_eq!(bench.outcome(), Some((2, 2, true)));
}

#[test]
fn not_more_boot_at_once_than_may() {
    let mut bench = Bench::serving(4, with(|reload| reload.boots_at_once = 1));
    bench.reload();
    for number in 5..9 {
        assert_eq!(bench.booting(), [WorkerId(number)]);
        bench.ready(WorkerId(number));
    }
    assert_eq!(bench.outcome(), Some((2, 2, true)));
}

#[test]
fn a_canary_that_fails_is_the_only_one_that_was_ever_started() {
    let mut bench = Bench::serving(4, ReloadPolicy::default());
    bench.reload();
    let failure = failure(FailureKind::Import);
    bench.give(Event::Worker(WorkerId(5), WorkerEvent::BootFailed { failure }));
    assert_eq!(bench.machine.totals().spawned, 5);
    assert_eq!((bench.ready_of(1), bench.outcome()), (4, Some((2, 1, false))));
    let failure = bench.machine.last_reload().unwrap().failure.clone().unwrap();
    assert!(failure.details.contains("Traceback: here"), "{failure:?}");
}

#[test]
fn a_worker_is_ready_after_its_warm_up_in_every_generation() {
    let limit = Some(Duration::from_secs(5));
    let mut bench = Bench::serving(1, with(|reload| reload.warm_up = limit));
    bench.reload();
    let worker = WorkerId(2);
    bench.ready(worker);
    assert!(bench.has(&Effect::Worker(worker, WorkerEffect::WarmUp)));
    assert_eq!((bench.in_state("warming up"), bench.ready_of(1)), (vec![worker], 1));
    bench.give(Event::Worker(worker, WorkerEvent::Warm));
    assert_eq!(bench.outcome(), Some((2, 2, true)));
    bench.dies(worker);
    let successor = bench.booting()[0];
    bench.ready(successor);
    assert_eq!(bench.in_state("warming up"), [successor], "a respawn is warmed up too");
    bench.give(Event::Worker(
        successor,
        WorkerEvent::WarmUpFailed { failure: failure(FailureKind::WarmUp) },
    ));
    assert_eq!(bench.in_state("stopping"), [successor], "which is a failed boot");
    assert!(bench.machine.census().serving);
}

#[test]
fn a_warm_up_that_fails_or_is_never_over_ends_the_reload() {
    let limit = Some(Duration::from_secs(5));
    for is_silent in [false, true] {
        let mut bench = Bench::serving(2, with(|reload| reload.warm_up = limit));
        bench.reload();
        let worker = WorkerId(3);
        bench.ready(worker);
        if is_silent {
            bench.wait(11);
        } else {
            bench.give(Event::Worker(
                worker,
                WorkerEvent::WarmUpFailed { failure: failure(FailureKind::WarmUp) },
            ));
        }
        assert_eq!((bench.ready_of(1), bench.outcome()), (2, Some((2, 1, false))));
    }
}

#[test]
fn with_a_small_surge_new_workers_join_as_old_ones_leave() {
    let mut bench = Bench::serving(4, with(|reload| reload.surge = Share::Count(1)));
    bench.reload();
    for step in 1..=4 {
        let next = bench.booting();
        assert_eq!(next.len(), 1, "step {step}");
        assert!(bench.machine.census().processes <= 5);
        bench.ready(next[0]);
        assert_eq!(bench.ready_of(1) + bench.ready_of(2), 4, "step {step}");
        bench.old_leave();
    }
    assert_eq!((bench.ready_of(2), bench.outcome()), (4, Some((2, 2, true))));
}

#[test]
fn without_surge_an_old_worker_leaves_before_the_canary_is_started() {
    let mut bench = Bench::serving(
        4,
        with(|reload| {
            reload.surge = Share::Count(0);
            reload.unavailable = Share::Count(1);
        }),
    );
    bench.reload();
    assert_eq!((bench.booting().len(), bench.in_state("draining").len()), (0, 1));
    for step in 1..=4 {
        bench.old_leave();
        assert_eq!(bench.machine.census().processes, 4, "step {step}");
        assert!(bench.ready_of(1) + bench.ready_of(2) >= 3, "step {step}");
        for id in bench.booting() {
            bench.ready(id);
        }
    }
    bench.old_leave();
    assert_eq!((bench.ready_of(2), bench.outcome()), (4, Some((2, 2, true))));
}

#[test]
fn a_reload_that_fails_half_way_rolls_back_without_a_gap() {
    let mut bench = Bench::serving(4, with(|reload| reload.surge = Share::Count(1)));
    bench.reload();
    for _ in 0..2 {
        let next = bench.booting()[0];
        bench.ready(next);
        bench.old_leave();
    }
    assert_eq!((bench.ready_of(1), bench.ready_of(2)), (2, 2));
    let worker = bench.booting()[0];
    bench.give(Event::Worker(
        worker,
        WorkerEvent::BootFailed { failure: failure(FailureKind::Boot) },
    ));
    assert_eq!(bench.outcome(), Some((2, 1, false)));
    assert_eq!((bench.ready_of(1), bench.ready_of(2)), (2, 2), "new ones serve until then");
    let back = bench.booting();
    assert_eq!(back.len(), 2, "the old generation comes back");
    bench.ready(back[0]);
    assert_eq!((bench.ready_of(1), bench.ready_of(2)), (3, 1));
    bench.ready(back[1]);
    assert_eq!((bench.ready_of(1), bench.ready_of(2)), (4, 0));
}

#[test]
fn a_joined_worker_that_dies_ends_a_rolling_reload() {
    let mut bench = Bench::serving(4, with(|reload| reload.surge = Share::Count(1)));
    bench.reload();
    bench.ready(WorkerId(5));
    bench.dies(WorkerId(5));
    assert_eq!(bench.outcome(), Some((2, 1, false)));
}

#[test]
fn another_interface_never_rolls() {
    let mut bench = Bench::serving(2, with(|reload| reload.surge = Share::Count(1)));
    let generation = bench.reload();
    bench.give(Event::Pool(PoolId::FIRST, PoolEvent::InterfaceChanged { generation }));
    bench.ready(WorkerId(3));
    assert_eq!((bench.ready_of(1), bench.ready_of(2)), (2, 0));
    let next = bench.booting()[0];
    bench.ready(next);
    assert_eq!((bench.ready_of(1), bench.ready_of(2)), (0, 2));
}

fn soak(workers: u32) -> Bench {
    let soak = Duration::from_secs(30);
    let mut bench = Bench::serving(workers, with(|reload| reload.soak = soak));
    bench.reload();
    while let Some(id) = bench.booting().first().copied() {
        bench.ready(id);
    }
    assert_eq!(bench.in_state("standing by").len(), workers as usize);
    assert_eq!(bench.outcome(), None, "it is not over yet");
    bench
}

#[test]
fn old_workers_stand_by_and_leave_when_the_new_ones_have_soaked() {
    let mut bench = soak(2);
    bench.give(Event::Pool(PoolId::FIRST, PoolEvent::Answered { answers: 1000, errors: 10 }));
    bench.wait(29);
    assert_eq!(bench.in_state("standing by").len(), 2);
    bench.wait(1);
    assert_eq!(bench.in_state("draining").len(), 2);
    assert!(
        bench.has(&Effect::Pool(PoolId::FIRST, PoolEffect::Confirm { generation: Generation(2) }))
    );
    assert_eq!(bench.outcome(), Some((2, 2, true)));
}

#[test]
fn a_crash_while_it_soaks_gives_the_requests_back_at_once() {
    let mut bench = soak(2);
    bench.dies(WorkerId(4));
    assert_eq!((bench.ready_of(1), bench.ready_of(2)), (2, 0));
    assert!(
        bench.has(&Effect::Pool(PoolId::FIRST, PoolEffect::Restore { generation: Generation(1) }))
    );
    assert!(bench.has(&Effect::Worker(WorkerId(1), WorkerEffect::ResumeInFront)));
    assert_eq!(bench.in_state("draining"), [WorkerId(3)]);
    assert_eq!(bench.outcome(), Some((2, 1, false)));
    bench.old_leave();
    assert_eq!(bench.machine.census().processes, 2);
    let generation = bench.reload();
    assert_eq!(generation, Generation(3), "and the next reload begins as any other");
}

#[test]
fn a_worker_that_hangs_while_it_soaks_gives_the_requests_back_too() {
    let mut bench = soak(2);
    bench.give(Event::Worker(WorkerId(4), WorkerEvent::RequestStuck));
    assert_eq!(bench.ready_of(1), 0, "it may come free yet");
    bench.dies(WorkerId(4));
    assert_eq!((bench.ready_of(1), bench.outcome()), (2, Some((2, 1, false))));
}

#[test]
fn too_many_errors_while_it_soaks_roll_back_as_soon_as_they_say_something() {
    let mut bench = soak(2);
    bench.give(Event::Pool(PoolId::FIRST, PoolEvent::Answered { answers: 10, errors: 10 }));
    assert_eq!(bench.ready_of(2), 2, "ten answers say little");
    bench.give(Event::Pool(PoolId::FIRST, PoolEvent::Answered { answers: 100, errors: 10 }));
    assert_eq!(bench.ready_of(2), 2, "ten percent may be");
    bench.give(Event::Pool(PoolId::FIRST, PoolEvent::Answered { answers: 100, errors: 11 }));
    assert_eq!((bench.ready_of(1), bench.outcome()), (2, Some((2, 1, false))));
}

#[test]
fn few_answers_are_judged_when_its_time_is_over() {
    let mut bench = soak(1);
    bench.give(Event::Pool(PoolId::FIRST, PoolEvent::Answered { answers: 3, errors: 1 }));
    bench.wait(30);
    assert_eq!((bench.ready_of(1), bench.outcome()), (1, Some((2, 1, false))));
}

#[test]
fn a_reload_asked_for_while_another_soaks_begins_after_it() {
    let mut bench = soak(1);
    bench.give(Event::Operator(OperatorEvent::Signal(Signal::Hup)));
    assert_eq!(bench.machine.reload_awaited(), Some(Generation(3)));
    assert_eq!(bench.machine.totals().reloads, 1);
    bench.wait(30);
    assert_eq!((bench.outcome(), bench.machine.totals().reloads), (Some((2, 2, true)), 2));
    assert_eq!(bench.machine.reload_awaited(), Some(Generation(3)));
}

#[test]
fn a_server_that_ends_during_a_reload_tells_everybody_who_waits() {
    let mut bench = Bench::serving(1, ReloadPolicy::default());
    bench.reload();
    bench.give(Event::Operator(OperatorEvent::Signal(Signal::Hup)));
    assert_eq!(bench.machine.reload_awaited(), Some(Generation(3)));
    bench.give(Event::Operator(OperatorEvent::Signal(Signal::Term)));
    let told: Vec<u64> = bench
        .effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Pool(_, PoolEffect::ReloadEnded(outcome)) if outcome.failure.is_some() => {
                Some(outcome.generation.0)
            }
            _ => None,
        })
        .collect();
    assert_eq!(told, [2, 3]);
}

#[test]
fn a_server_that_ends_while_it_soaks_lets_the_old_workers_go_and_says_so() {
    let mut bench = soak(2);
    bench.give(Event::Operator(OperatorEvent::Signal(Signal::Term)));
    assert_eq!(bench.in_state("draining").len(), 2);
    assert_eq!(bench.ready_of(2), 2);
    assert_eq!(bench.outcome(), Some((2, 2, false)));
}

#[test]
fn a_worker_that_answers_with_why_it_has_no_application_is_told_until_another_one_serves() {
    let mut bench = Bench::serving(1, ReloadPolicy::default());
    bench.reload();
    let canary = bench.booting()[0];
    let why = "No module named 'shop'".to_owned();
    bench.give(Event::Worker(canary, WorkerEvent::ShowsWhy { why }));
    assert_eq!(bench.machine.health().why, "");
    bench.ready(canary);
    let health = bench.machine.health();
    assert_eq!((health.state, health.ready), (HealthState::Degraded, true));
    let told =
        "the application cannot be loaded; requests are answered with why: No module named 'shop'";
    assert_eq!(health.why, told);
    bench.reload();
    let canary = bench.booting()[0];
    bench.ready(canary);
    assert_eq!(bench.machine.health().why, "");
}
