//! Seeded simulation of the supervisor: a fake operating system and a fake clock answer its effects
//! with crashes, delays, silence and storms of signals, and the invariants are checked after every
//! step. A failing seed is named in the message and replays exactly: `make simulate SEED=n`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod os;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/seeds.rs"]
mod seeds;
mod time;
mod warm_and_still;
mod world;

use std::time::Duration;

use indrik_core::supervise::{FailureKind, HealthState, Notice, Signal};

use os::{Faults, Predecessor};
use seeds::seeds;
use world::World;

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn whatever_breaks_the_server_recovers_when_it_stops_breaking_and_ends_when_told() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults = Faults::wild();
        world.run_with_signals(seconds(300));
        world.os.faults = Faults::calm();
        // The longest back-off is half a minute.
        world.run(seconds(400));
        world.revive();
        world.assert_full();
        assert!(matches!(world.os.told, Some(Notice::Ready { .. })), "seed {seed}");
        world.end(Signal::Term, 0);
    }
}

#[test]
fn reloads_and_recycling_never_take_a_worker_away_before_its_successor_is_ready() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults = Faults::busy();
        world.os.max_worker_age = world.os.random.milliseconds(0, 90_000);
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
fn whatever_way_generations_take_over_the_server_recovers_and_every_reload_has_an_end() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults = Faults::wild();
        for _ in 0..5 {
            world.os.reload = world.os.any_reload(true);
            let wait = world.os.random.milliseconds(1, 60_000);
            world.run_with_signals(wait);
            world.signal(Signal::Hup);
        }
        world.os.faults = Faults::calm();
        world.run(seconds(500));
        world.revive();
        world.assert_full();
        let census = world.machine.census();
        assert!(!census.reloading, "seed {seed}");
        assert_eq!(world.os.watched, None, "seed {seed}");
        let begun = world.machine.totals().reloads as usize;
        assert!(world.os.outcomes.len() >= begun, "seed {seed}: a reload without an end");
        world.end(Signal::Term, 0);
    }
}

#[test]
fn a_rolling_or_soaking_reload_never_has_fewer_workers_than_promised() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults = Faults { answers_bad: 10, warm_up_fails: 10, ..Faults::busy() };
        world.promise_full = true;
        for _ in 0..6 {
            world.os.reload = world.os.any_reload(false);
            let wait = world.os.random.milliseconds(1, 60_000);
            world.run(wait);
            world.signal(Signal::Hup);
        }
        world.run(seconds(600));
        world.assert_full();
        world.promise_full = false;
        world.end(Signal::Term, 0);
    }
}

#[test]
fn workers_that_get_old_together_are_all_replaced_without_a_moment_of_fewer() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.os.max_worker_age = seconds(20);
        world.start_and_wait_until_full();
        let before: Vec<_> = world.os.processes.keys().copied().collect();
        world.os.faults = Faults::busy();
        world.promise_full = true;
        world.run(seconds(1_500));
        assert!(
            before.iter().all(|id| !world.os.processes.contains_key(id)),
            "seed {seed}: {:?}",
            world.machine
        );
        world.promise_full = false;
        world.end(Signal::Term, 0);
    }
}

#[test]
fn a_server_that_is_told_to_end_while_everything_breaks_ends_in_bounded_time() {
    for seed in seeds() {
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
    for seed in seeds() {
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
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.os.faults.boot_crash = 100;
        world.start();
        world.run(seconds(300));
        assert_eq!(world.exit, Some(3), "seed {seed}");
    }
}

#[test]
fn all_workers_killed_at_once_are_all_replaced_at_once() {
    for seed in seeds() {
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
    for seed in seeds() {
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

/// Neither a zygote that does not answer nor an import that does not end is of use to anybody then.
#[test]
fn what_hangs_in_a_zygote_or_an_import_does_not_hold_up_the_end() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        (world.os.drain_delay, world.os.pre_stop) = (Duration::ZERO, false);
        world.start_and_wait_until_full();
        world.os.faults = Faults { fork_silent: 50, boot_slow: 100, ..Faults::calm() };
        if world.os.random.percent(50) {
            world.signal(Signal::Hup);
        } else {
            world.kill_all_workers();
        }
        let wait = world.os.random.milliseconds(0, 20_000);
        world.run(wait);
        // The front takes up to twenty seconds to finish what it has.
        world.end_within(Signal::Term, 0, seconds(26));
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
    let before: Vec<_> = world.os.processes.keys().copied().collect();
    world.signal(Signal::Ttou);
    world.run(seconds(60));
    let after: Vec<_> = world.os.processes.keys().copied().collect();
    assert_eq!(after, before[1..], "only the oldest goes, nobody is replaced");
    for _ in 0..wanted + 5 {
        world.signal(Signal::Ttou);
    }
    world.run(seconds(60));
    assert_eq!(world.machine.census().ready, 1);
    world.end(Signal::Term, 0);
}

#[test]
fn a_paused_daemon_takes_no_connections_and_serves_again_when_it_is_told_to() {
    for seed in seeds() {
        for back in [Signal::Ttin, Signal::Hup] {
            let mut world = World::new(seed, Faults::calm());
            world.os.daemon = true;
            world.start_and_wait_until_full();
            world.signal(Signal::Winch);
            assert!(world.os.paused, "seed {seed}");
            let wait = world.os.random.milliseconds(0, 90_000);
            world.run(wait);
            world.signal(back);
            world.run(seconds(200));
            world.assert_full();
            let expected = if back == Signal::Ttin { 1 } else { world.os.workers };
            assert_eq!(world.machine.census().wanted, expected, "seed {seed}");
            assert!(!world.os.paused, "seed {seed}");
            world.signal(Signal::Winch);
            world.run(seconds(90));
            assert_eq!(world.machine.census().processes, 0, "seed {seed}");
            world.end(Signal::Term, 0);
        }
    }
}

#[test]
fn every_worker_is_recycled_when_asked_without_a_moment_of_fewer() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        let before: Vec<_> = world.os.processes.keys().copied().collect();
        world.os.faults =
            Faults { worker_used_up: 0, worker_should_go: 0, refork: 0, ..Faults::busy() };
        world.promise_full = true;
        world.recycle_all();
        world.run(seconds(900));
        assert!(before.iter().all(|id| !world.os.processes.contains_key(id)), "seed {seed}");
        assert_eq!(world.started(), 2 * before.len() as u64, "seed {seed}: each once");
        world.promise_full = false;
        world.end(Signal::Term, 0);
    }
}

/// Reloads, deaths and the end come while requests are held.
#[test]
fn what_a_pause_holds_is_released_in_time_whatever_happens_meanwhile() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.os.daemon = true;
        world.start_and_wait_until_full();
        let most = world.os.random.milliseconds(0, 90_000);
        world.hold(most);
        assert!(world.os.holding.is_some() || most.is_zero(), "seed {seed}");
        match world.os.random.below(5) {
            0 => world.signal(Signal::Hup),
            1 => world.kill_all_workers(),
            2 => world.signal(Signal::Winch),
            3 => world.signal(Signal::Usr2),
            _ => {}
        }
        let wait = world.os.random.milliseconds(0, 60_000);
        world.run(wait);
        if world.os.random.percent(50) {
            world.end(Signal::Term, 0);
        } else {
            world.run(seconds(100));
        }
        assert_eq!(world.os.holding, None, "seed {seed}");
    }
}

#[test]
fn winch_means_nothing_to_a_server_in_the_foreground() {
    let mut world = World::new(1, Faults::calm());
    world.os.daemon = false;
    world.start_and_wait_until_full();
    world.promise_full = true;
    world.signal(Signal::Winch);
    world.run(seconds(90));
    world.assert_full();
}

#[test]
fn a_successor_that_fails_leaves_the_old_server_as_it_was() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.os.daemon = true;
        world.os.faults.successor_fails = 30;
        world.start_and_wait_until_full();
        for _ in 0..5 {
            world.signal(Signal::Usr2);
            world.signal(Signal::Usr2);
            let wait = world.os.random.milliseconds(0, 60_000);
            world.run(wait);
            if world.os.successor.is_some() && world.os.random.percent(50) {
                world.signal(Signal::Winch);
                world.run(wait);
            }
            world.end_successor();
            world.run(seconds(60));
            world.assert_full();
            assert_eq!(world.machine.census().wanted, world.os.workers, "seed {seed}");
        }
        world.end(Signal::Term, 0);
        assert_eq!(world.os.told, Some(Notice::Stopping), "seed {seed}");
    }
}

#[test]
fn an_old_server_that_leaves_hands_the_service_over_to_the_new_one() {
    for seed in seeds() {
        let mut old = World::new(seed, Faults::calm());
        old.start_and_wait_until_full();
        old.signal(Signal::Usr2);
        old.run(seconds(10));
        let to = old.os.successor.unwrap();
        let signal = [Signal::Term, Signal::Quit][old.os.random.below(2)];
        old.end(signal, 0);
        assert_eq!(old.os.told, Some(Notice::HandedOver { to }), "seed {seed}");

        let mut new = World::new(seed, Faults::calm());
        new.start_as_successor(Predecessor::Serves);
        new.signal(Signal::Usr2);
        assert_eq!(new.os.successor, None, "seed {seed}: a successor's successor");
        new.run(seconds(60));
        new.assert_full();
        assert!(matches!(new.os.told, Some(Notice::Ready { .. })), "seed {seed}");
        new.signal(Signal::Usr2);
        new.run(seconds(1));
        assert!(new.os.successor.is_some(), "seed {seed}");
        new.end(Signal::Term, 0);
    }
}

#[test]
fn a_new_server_that_cannot_boot_takes_no_connection_from_the_old_one() {
    for seed in seeds() {
        for of in [Predecessor::Serves, Predecessor::Waits] {
            let kinds =
                [FailureKind::Config, FailureKind::Import, FailureKind::Boot, FailureKind::WarmUp];
            let mut world = World::new(seed, Faults::calm());
            world.os.faults.always_fails = Some(kinds[world.os.random.below(kinds.len())]);
            world.os.reload.warm_up = Some(seconds(20));
            world.start_as_successor(of);
            world.run(seconds(120));
            assert!(world.exit.is_some_and(|code| code > 0), "seed {seed}");
            assert!(!world.os.accepts, "seed {seed}");
        }
    }
}

#[test]
fn whatever_breaks_in_a_start_with_sockets_of_others_nobody_waits_for_a_boot_while_they_serve() {
    for seed in seeds() {
        for of in [Some(Predecessor::Serves), Some(Predecessor::Waits), None] {
            let mut world = World::new(seed, Faults::wild());
            world.os.daemon = seed.is_multiple_of(3);
            world.os.handed = of.is_none() || seed.is_multiple_of(2);
            match of {
                Some(of) => world.start_as_successor(of),
                None => world.start(),
            }
            let wait = world.os.random.milliseconds(0, 90_000);
            world.run_with_signals(wait);
            if world.os.random.percent(30) {
                // Told to leave while it starts, perhaps.
                let signal = [Signal::Term, Signal::Int][world.os.random.below(2)];
                world.signal(signal);
                world.run(seconds(200));
                assert!(world.exit.is_some(), "seed {seed}");
                continue;
            }
            world.os.faults = Faults::calm();
            world.run(seconds(500));
            world.revive();
            if world.exit.is_none() {
                world.assert_full();
                assert!(world.os.accepts, "seed {seed}: it never took a connection");
                assert_ne!(world.os.predecessor, Some(Predecessor::Waits), "seed {seed}: not told");
                world.end(Signal::Term, 0);
            }
        }
    }
}

#[test]
fn a_start_whose_workers_can_never_be_forked_has_failed() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { fork_fails: 100, ..Faults::calm() });
        world.start();
        world.run(seconds(60));
        assert_eq!(world.exit, Some(3), "seed {seed}");
    }
}

#[test]
fn an_address_that_stays_taken_ends_the_start_after_five_tries() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.os.faults.address_taken = 100;
        world.start();
        world.run(seconds(30));
        assert_eq!(world.exit, Some(1), "seed {seed}");
        let mut world = World::new(seed, Faults::calm());
        world.os.faults.address_taken = 100;
        world.start();
        world.run(seconds(5));
        world.os.faults.address_taken = 0;
        world.signal(Signal::Term);
        world.run(seconds(10));
        assert_eq!(world.exit.map(|code| code == 0 || code == 1), Some(true), "seed {seed}");
    }
}

#[test]
fn a_front_that_cannot_start_ends_the_server_with_an_error() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { front_fails: 100, ..Faults::calm() });
        world.start();
        world.run(seconds(100));
        assert_eq!(world.exit, Some(1), "seed {seed}");
    }
}

#[test]
fn a_generation_that_has_no_descriptors_for_its_sockets_is_given_up_and_leaves_nothing_open() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults.sockets_lacking = 100;
        world.promise_full = true;
        world.signal(Signal::Hup);
        world.run(seconds(100));
        let failed = world.os.outcomes.last().is_some_and(|outcome| outcome.failure.is_some());
        assert!(failed && world.os.prepared.is_empty(), "seed {seed}");
        world.assert_full();
        world.os.faults.sockets_lacking = 0;
        world.signal(Signal::Hup);
        world.run(seconds(100));
        let failure = world.os.outcomes.last().map(|outcome| outcome.failure.clone());
        assert_eq!(failure, Some(None), "seed {seed}");
        world.assert_full();
        world.promise_full = false;
        world.end(Signal::Term, 0);
    }
}

#[test]
fn a_clock_that_jumps_neither_loses_workers_nor_hangs() {
    for seed in seeds() {
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

#[test]
fn workers_that_keep_failing_leave_the_others_in_peace_and_come_back_when_the_cause_is_gone() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.os.workers += 1;
        world.start_and_wait_until_full();
        world.os.faults.boot_fails = 50;
        world.os.faults.boot_crash = 100;
        let healthy = world.os.workers - 1;
        world.kill_one_worker();
        world.run(seconds(1_000));
        assert!(world.os.serving() >= healthy, "seed {seed}");
        let health = world.machine.health();
        assert_eq!((health.state, health.ready), (HealthState::Degraded, true), "seed {seed}");
        let before = world.started();
        world.run(seconds(3_600));
        assert!(world.started() - before <= 75, "seed {seed}: {}", world.started() - before);
        world.os.faults = Faults::calm();
        world.run(seconds(100));
        world.assert_full();
        assert_eq!(world.machine.health().state, HealthState::Ready, "seed {seed}");
        world.end(Signal::Term, 0);
    }
}

#[test]
fn a_server_that_is_told_to_stop_while_pre_exec_runs_starts_no_other_one() {
    for seed in seeds() {
        let faults = Faults { pre_exec_slow: 100, successor_never_serves: 100, ..Faults::calm() };
        let mut world = World::new(seed, faults);
        world.os.upgrade_drains = seed.is_multiple_of(2);
        world.start_and_wait_until_full();
        world.signal(Signal::Usr2);
        let wait = world.os.random.milliseconds(0, 20_000);
        world.run(wait);
        let was_started = world.os.successor.is_some();
        let signal = [Signal::Term, Signal::Int, Signal::Quit][world.os.random.below(3)];
        world.end(signal, 0);
        assert_eq!(world.os.successor.is_some(), was_started, "seed {seed}");
        let asked = u32::from(world.os.upgrade_drains);
        assert_eq!(world.os.upgrades_failed, asked, "seed {seed}: whoever asked is not told");
    }
}

#[test]
fn a_reload_ends_no_process_in_which_pre_exec_runs() {
    for seed in seeds() {
        let faults = Faults { pre_exec_slow: 100, successor_never_serves: 100, ..Faults::calm() };
        let mut world = World::new(seed, faults);
        world.os.faults.pre_exec_lost = 50;
        world.os.upgrade_drains = seed.is_multiple_of(2);
        world.start_and_wait_until_full();
        let generation = world.machine.census().generation;
        world.signal(Signal::Usr2);
        world.signal(Signal::Hup);
        let runs =
            world.machine.may_upgrade() == Err("Child exists.") && world.os.successor.is_none();
        let begun = world.machine.totals().reloads;
        assert!(!runs || begun == 0, "seed {seed}: its process will be ended");
        world.run(seconds(200));
        assert_eq!(
            world.machine.census().generation,
            generation.next(),
            "seed {seed}: it is forgotten"
        );
        world.end(Signal::Term, 0);
    }
}

#[test]
fn an_upgrade_ends_with_one_server_that_serves() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.os.daemon = false;
        world.os.upgrade_drains = true;
        world.os.faults.pre_exec_slow = 50;
        world.os.faults.pre_exec_lost = 10;
        world.os.faults.successor_fails = 20;
        world.os.faults.successor_dies = 60;
        world.os.faults.successor_never_serves = 5;
        world.os.faults.successor_hangs = 20;
        world.start_and_wait_until_full();
        world.may_hand_over = true;
        for _ in 0..10 {
            if world.exit.is_some() {
                break;
            }
            let before = (world.os.upgraded, world.os.upgrades_failed);
            world.signal(Signal::Usr2);
            world.run(seconds(160));
            let is_over = world.os.upgrades_failed > before.1;
            assert!(is_over || !world.os.successor_hangs, "seed {seed}: one that hangs is awaited");
            world.run(seconds(50 * 3_600));
            let after = (world.os.upgraded, world.os.upgrades_failed);
            assert_eq!(after.0 + after.1, before.0 + before.1 + 1, "seed {seed}: one outcome");
            if world.os.successor.is_none() && world.exit.is_none() {
                world.assert_full();
            }
            // One that has not said in time that it serves.
            world.end_successor();
            world.run(seconds(60));
        }
        if world.exit.is_some() {
            let is_told = world.os.handed_over || world.os.service_stopped;
            assert!(is_told, "seed {seed}: it left to nobody");
        } else {
            world.assert_full();
            world.end(Signal::Term, 0);
        }
    }
}

#[test]
fn the_end_is_announced_before_connections_are_refused_and_a_second_word_cuts_it_short() {
    for seed in seeds() {
        for again in [None, Some(Signal::Term), Some(Signal::Int)] {
            let mut world = World::new(seed, Faults::calm());
            // Longer than what is waited here and what the clock may go back.
            world.os.drain_delay = seconds(2 + seed % 19);
            world.start_and_wait_until_full();
            let ready = world.machine.census().ready;
            world.signal(Signal::Term);
            assert_eq!(world.os.told, Some(Notice::Stopping), "seed {seed}");
            assert!(!world.os.refuses, "seed {seed}");
            // Sooner it is taken for the first one, heard twice; and the clock may go back.
            let wait = world.os.random.milliseconds(600, 999);
            world.run(wait);
            assert!(!world.os.refuses && world.os.serving() == ready, "seed {seed}");
            if let Some(signal) = again {
                world.signal(signal);
                assert!(world.os.refuses, "seed {seed}");
                world.run(seconds(60));
            } else {
                world.run(seconds(200));
            }
            assert_eq!(world.exit, Some(0), "seed {seed}");
        }
    }
}
