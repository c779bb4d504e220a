//! Seeded simulation of the supervisor: a fake operating system and a fake clock answer its effects
//! with crashes, delays, silence and storms of signals, and the invariants are checked after every
//! step. A failing seed is named in the message and replays exactly.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod os;
mod random;
mod world;

use std::time::Duration;

use indrik_core::supervise::{FailureKind, Signal};

use os::Faults;
use world::World;

const SEEDS: u64 = 400;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn whatever_breaks_the_server_recovers_when_it_stops_breaking_and_ends_when_told() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults = Faults::wild();
        world.run_with_signals(seconds(300));
        world.os.faults = Faults::calm();
        // A hanging fork is noticed after a minute, the longest back-off is half a minute.
        world.run(seconds(400));
        world.assert_full();
        world.end(Signal::Term, 0);
    }
}

#[test]
fn reloads_and_recycling_never_take_a_worker_away_before_its_successor_is_ready() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults = Faults::busy();
        world.promise_full = true;
        for _ in 0..6 {
            let wait = world.os.random.milliseconds(1, 20_000);
            world.run(wait);
            world.signal(Signal::Hup);
        }
        world.run(seconds(120));
        world.assert_full();
        world.promise_full = false;
        world.end(Signal::Term, 0);
    }
}

#[test]
fn a_server_that_is_told_to_end_while_everything_breaks_ends_in_bounded_time() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults = Faults::wild();
        let wait = world.os.random.milliseconds(0, 60_000);
        world.run_with_signals(wait);
        let signal = [Signal::Term, Signal::Int, Signal::Quit][world.os.random.below(3)];
        world.end(signal, 0);
    }
}

#[test]
fn a_start_that_fails_ends_with_the_code_of_its_reason() {
    for seed in 0..SEEDS {
        for (kind, code) in [
            (FailureKind::Config, 1),
            (FailureKind::Bind, 1),
            (FailureKind::Import, 4),
            (FailureKind::Interface, 4),
            (FailureKind::Boot, 3),
            (FailureKind::Lifespan, 3),
        ] {
            let mut world = World::new(seed, Faults::calm());
            world.os.faults.always_fails = Some(kind);
            world.start();
            world.run(seconds(120));
            assert_eq!(world.exit, Some(code), "seed {seed}, {kind:?}");
        }
    }
}

#[test]
fn workers_that_always_die_at_the_start_end_the_server_instead_of_looping() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Faults::calm());
        world.os.faults.boot_crash = 100;
        world.start();
        world.run(seconds(300));
        assert_eq!(world.exit, Some(3), "seed {seed}");
    }
}

#[test]
fn all_workers_killed_at_once_are_all_replaced_at_once() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        let before = world.machine.census();
        world.kill_all_workers();
        world.run(seconds(30));
        world.assert_full();
        assert_eq!(world.machine.census().generation, before.generation, "seed {seed}");
        world.end(Signal::Term, 0);
    }
}

#[test]
fn code_that_stops_loading_never_stops_the_server_that_has_it_loaded() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        let generation = world.machine.census().generation;
        world.os.faults.always_fails = Some(FailureKind::Boot);
        world.promise_full = true;
        for _ in 0..3 {
            world.signal(Signal::Hup);
            let wait = world.os.random.milliseconds(1, 30_000);
            world.run(wait);
        }
        world.run(seconds(200));
        world.assert_full();
        assert_eq!(world.machine.census().generation, generation, "seed {seed}");
        world.promise_full = false;
        world.os.faults.always_fails = None;
        world.signal(Signal::Hup);
        world.run(seconds(200));
        assert!(world.machine.census().generation > generation, "seed {seed}");
        world.assert_full();
        world.end(Signal::Term, 0);
    }
}

/// Every order of up to four signals, sent at once and with pauses.
#[test]
fn every_short_order_of_signals_keeps_the_server_sane() {
    const SIGNALS: [Signal; 5] =
        [Signal::Hup, Signal::Term, Signal::Int, Signal::Ttin, Signal::Ttou];
    for length in 1..=4u32 {
        for number in 0..5usize.pow(length) {
            for pause in [Duration::ZERO, seconds(2)] {
                let mut world = World::new(u64::from(length), Faults::calm());
                world.start_and_wait_until_full();
                let mut rest = number;
                let mut ends = false;
                for _ in 0..length {
                    let signal = SIGNALS[rest % 5];
                    rest /= 5;
                    ends |= matches!(signal, Signal::Term | Signal::Int);
                    world.signal(signal);
                    world.run(pause);
                }
                world.run(seconds(200));
                assert_eq!(world.exit.is_some(), ends, "order {number} of length {length}");
                if !ends {
                    world.assert_full();
                }
            }
        }
    }
}

#[test]
fn ttin_and_ttou_change_the_number_of_workers_down_to_one() {
    let mut world = World::new(1, Faults::calm());
    world.start_and_wait_until_full();
    let wanted = world.machine.census().wanted;
    world.signal(Signal::Ttin);
    world.run(seconds(60));
    assert_eq!(world.machine.census().ready, wanted + 1);
    for _ in 0..wanted + 5 {
        world.signal(Signal::Ttou);
    }
    world.run(seconds(60));
    assert_eq!(world.machine.census().ready, 1);
    world.end(Signal::Term, 0);
}

#[test]
fn a_clock_that_jumps_neither_loses_workers_nor_hangs() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        for _ in 0..10 {
            let jump = world.os.random.milliseconds(0, 48 * 3_600_000);
            world.jump(jump);
            let wait = world.os.random.milliseconds(0, 5_000);
            world.run(wait);
        }
        world.run(seconds(300));
        world.assert_full();
        world.end(Signal::Term, 0);
    }
}
