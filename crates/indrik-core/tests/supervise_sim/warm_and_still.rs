//! Workers that others are forked from, and workers that stand still.

use std::time::Duration;

use indrik_core::supervise::Signal;

use crate::os::Faults;
use crate::seconds;
use crate::seeds::seeds;
use crate::world::World;

#[test]
fn a_warm_worker_becomes_the_zygote_and_the_others_follow_without_a_gap() {
    let (mut ran, mut reforks) = (0, 0);
    for seed in seeds() {
        ran += 1;
        let mut world = World::new(seed, Faults::calm());
        world.start_and_wait_until_full();
        world.os.faults.refork = 100;
        world.os.faults.promotion_fails = 10;
        world.os.faults.drain_never = 10;
        world.promise_full = true;
        world.signal(Signal::Hup);
        world.run(seconds(600));
        reforks += world.os.reforks;
        world.os.faults = Faults::calm();
        world.run(seconds(200));
        world.assert_full();
        world.promise_full = false;
        world.end(Signal::Term, 0);
    }
    assert!(ran < 100 || reforks > ran, "{reforks} reforks in {ran} runs");
}

#[test]
fn workers_that_stand_still_are_ended_in_time_and_never_called_ready() {
    for seed in seeds() {
        let mut world = World::new(seed, Faults { worker_stands_still: 100, ..Faults::calm() });
        world.start();
        world.run(Duration::from_secs(400));
        let ends = world.machine.accounts().ends_by_word();
        let hung = ["timeout", "deadlock"].iter().filter_map(|word| ends.get(*word)).sum::<u64>();
        assert!(hung > 0, "seed {seed}: nobody was ended for standing still: {ends:?}");
        world.end(Signal::Term, 0);
    }
}
