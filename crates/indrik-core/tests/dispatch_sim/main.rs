//! Seeded simulation of the dispatcher and of what the front decides with it: a fake front places
//! requests at fake workers that are slow, stuck, killed, drained and replaced, while clients come in
//! bursts and leave early. The invariants are checked after every step; a failing seed is named and
//! replays exactly: `make simulate SEED=n`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod channel;
mod front;
#[path = "../support/random.rs"]
mod random;
#[path = "../support/seeds.rs"]
mod seeds;
mod uploads;
mod world;

use front::Answer;
use seeds::seeds;
use world::{Faults, World};

const SECOND: u64 = 1_000_000;

#[test]
fn nothing_fails_while_nothing_breaks() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults::calm());
        world.run(SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[Answer::Ok]);
    }
}

#[test]
fn whatever_breaks_every_request_ends_once_and_none_that_must_not_runs_twice() {
    let mut without_worker = 0;
    for seed in seeds() {
        let mut world = World::new(seed, Faults::wild());
        world.run(2 * SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[
            Answer::Ok,
            Answer::Refused,
            Answer::QueueTimeout,
            Answer::NoWorker,
            Answer::BadGateway,
            Answer::Poison,
            Answer::TimedOut,
            Answer::Left,
        ]);
        without_worker += world.count(Answer::NoWorker);
    }
    assert!(without_worker > 0);
}

#[test]
fn a_session_stays_at_its_worker_until_that_is_gone_and_holds_up_nobody_else() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { drain: 10, sessions: 60, ..Faults::calm() });
        world.run(SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[Answer::Ok]);
        let mut world = World::new(seed, Faults { sessions: 60, ..Faults::wild() });
        world.run(2 * SECOND);
        world.come_to_rest();
    }
}

#[test]
fn a_pause_begins_nothing_and_no_request_that_it_holds_has_that_time_counted() {
    for seed in seeds() {
        // In calm times no pause costs a request anything, and whatever breaks every one ends once.
        let mut world = World::new(seed, Faults { pauses: 5, ..Faults::calm() });
        world.run(4 * SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[Answer::Ok]);
        let mut world = World::new(seed, Faults { pauses: 5, sessions: 20, ..Faults::wild() });
        world.run(4 * SECOND);
        world.come_to_rest();
    }
}

#[test]
fn workers_that_are_replaced_one_after_the_other_lose_nothing() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { drain: 20, ..Faults::calm() });
        world.run(SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[Answer::Ok]);
    }
}

#[test]
fn one_death_at_a_time_costs_no_get_and_only_posts_that_had_begun() {
    for seed in seeds() {
        let mut world =
            World::new(seed, Faults { death: 6, one_at_a_time: true, ..Faults::calm() });
        world.run(2 * SECOND);
        world.come_to_rest();
        world.assert_gets_answered();
        world.assert_all_answered(&[Answer::Ok, Answer::BadGateway]);
    }
}

#[test]
fn a_request_that_ends_its_worker_is_run_twice_and_none_of_those_beside_it_is_taken_for_it() {
    let mut found = 0;
    for seed in seeds() {
        let faults = Faults { killers: 4, one_killer_at_a_time: true, ..Faults::calm() };
        let mut world = World::new(seed, faults);
        world.run(2 * SECOND);
        world.come_to_rest();
        world.assert_only_killers_are_poison();
        found += world.count(Answer::Poison);
    }
    assert!(found > 0);
}

#[test]
fn requests_that_end_their_workers_have_an_end_whatever_else_breaks() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { killers: 5, sessions: 30, ..Faults::wild() });
        world.run(2 * SECOND);
        world.come_to_rest();
    }
}

#[test]
fn a_stuck_worker_costs_only_what_it_had_begun() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { stuck: 3, ..Faults::calm() });
        world.run(2 * SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[
            Answer::Ok,
            Answer::TimedOut,
            Answer::BadGateway,
            Answer::Poison,
        ]);
    }
}

#[test]
fn a_file_and_its_request_stay_together_in_channels_that_are_often_full() {
    for seed in seeds() {
        let files = Faults { files: 50, ..Faults::calm() };
        let mut world = World::new(seed, Faults { drain: 10, sessions: 20, ..files });
        world.run(SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[Answer::Ok]);
        let mut world = World::new(seed, Faults { files: 50, hand_over: 3, ..Faults::wild() });
        world.run(2 * SECOND);
        world.come_to_rest();
    }
}

#[test]
fn more_than_can_be_served_is_refused_at_once_or_ends_at_its_deadline() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { flood: true, ..Faults::calm() });
        world.run(SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[Answer::Ok, Answer::Refused, Answer::QueueTimeout]);
        assert!(world.count(Answer::Refused) > 0, "seed {seed}: it was no flood");
    }
}

#[test]
fn bodies_that_wait_for_room_take_turns() {
    for seed in seeds() {
        let mut world = uploads::World::new(seed);
        world.run(2_000);
        world.assert_all_served();
    }
}

#[test]
fn without_any_worker_requests_wait_for_one_until_their_deadline() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { all_dead: true, ..Faults::calm() });
        world.run(SECOND);
        world.come_to_rest();
        world.assert_all_answered(&[
            Answer::Ok,
            Answer::Refused,
            Answer::QueueTimeout,
            Answer::NoWorker,
            Answer::BadGateway,
            Answer::Poison,
        ]);
    }
}
