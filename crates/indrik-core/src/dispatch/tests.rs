//! The dispatcher's rules, one by one, and its invariants under random histories.

use proptest::prelude::*;

use super::*;

const FAST: WorkerId = WorkerId(1);
const OTHER: WorkerId = WorkerId(2);

fn dispatch(workers: &[(WorkerId, usize)]) -> Dispatch {
    let mut dispatch = Dispatch::new(DispatchLimits::default());
    for (id, capacity) in workers {
        dispatch.worker_up(*id, *capacity, 128);
    }
    dispatch
}

/// Lets a worker serve some requests in `us` microseconds each.
fn teach(dispatch: &mut Dispatch, id: WorkerId, us: Micros, now: &mut Micros) {
    for _ in 0..40 {
        assert_eq!(dispatch.arrive(RequestId(0), None, *now), Placement::Worker(id));
        *now += us;
        dispatch.finished(id, 1, *now);
    }
}

#[test]
fn a_request_goes_to_the_worker_with_the_lowest_share_of_its_capacity_in_flight() {
    let mut dispatch = dispatch(&[(FAST, 4), (OTHER, 2)]);
    let mut placed = Vec::new();
    for n in 0..6 {
        placed.push(dispatch.arrive(RequestId(n), None, 0));
    }
    assert_eq!(dispatch.in_flight(FAST), Some(4));
    assert_eq!(dispatch.in_flight(OTHER), Some(2));
    assert_eq!(dispatch.arrive(RequestId(7), None, 0), Placement::Queued);
}

#[test]
fn between_idle_workers_the_one_used_last_is_chosen() {
    let mut dispatch = dispatch(&[(FAST, 1), (OTHER, 1)]);
    let Placement::Worker(first) = dispatch.arrive(RequestId(1), None, 0) else { panic!("placed") };
    dispatch.finished(first, 1, 10);
    assert_eq!(dispatch.arrive(RequestId(2), None, 20), Placement::Worker(first));
}

#[test]
fn what_one_worker_has_no_room_for_goes_to_another_and_holds_up_nobody() {
    let mut dispatch = dispatch(&[(FAST, 8), (OTHER, 8)]);
    let Placement::Worker(first) = dispatch.arrive(RequestId(1), None, 0) else { panic!("placed") };
    dispatch.reclaimed(first);
    dispatch.wait_again(RequestId(1), None, Standing::Ordinary, 0);
    dispatch.lacks_room(first);
    let (request, second) = dispatch.next(0).expect("the other one is free");
    assert_eq!(request, RequestId(1));
    assert_ne!(second, first);
    assert_eq!(dispatch.arrive(RequestId(2), None, 0), Placement::Worker(second));
    dispatch.lacks_room(second);
    assert_eq!(dispatch.arrive(RequestId(3), None, 0), Placement::Queued);
    assert!(dispatch.makes_room(first) && !dispatch.makes_room(first));
    assert_eq!(dispatch.next(0), Some((RequestId(3), first)));
    dispatch.finished(second, 1, 10);
    assert_eq!(dispatch.arrive(RequestId(4), None, 10), Placement::Worker(first));
    assert_eq!(dispatch.arrive(RequestId(5), None, 10), Placement::Worker(second));
}

#[test]
fn nothing_is_queued_ahead_at_a_worker_whose_speed_is_not_known() {
    let mut dispatch = dispatch(&[(FAST, 1)]);
    assert_eq!(dispatch.arrive(RequestId(1), None, 0), Placement::Worker(FAST));
    assert_eq!(dispatch.arrive(RequestId(2), None, 0), Placement::Queued);
}

#[test]
fn requests_are_queued_ahead_at_a_fast_worker_and_not_at_a_slow_one() {
    for (service_us, at_once) in [(20, 21), (100, 5), (1_000, 1)] {
        let mut dispatch = dispatch(&[(FAST, 1)]);
        let mut now = 0;
        teach(&mut dispatch, FAST, service_us, &mut now);
        dispatch.worker_up(OTHER, 1, 128);
        let taken = taken_at_once(&mut dispatch, now);
        assert_eq!(taken, at_once + 1, "at {service_us} µs a request, one at the other worker");
    }
}

#[test]
fn more_is_queued_ahead_at_the_only_worker_there_is() {
    for (service_us, at_once) in [(20, 65), (100, 41), (1_000, 5), (5_000, 1)] {
        let mut dispatch = dispatch(&[(FAST, 1)]);
        let mut now = 0;
        teach(&mut dispatch, FAST, service_us, &mut now);
        assert_eq!(taken_at_once(&mut dispatch, now), at_once, "at {service_us} µs a request");
    }
}

fn expired(dispatch: &mut Dispatch, now: Micros) -> Option<RequestId> {
    dispatch.expired(now).map(|expired| expired.request)
}

fn taken_at_once(dispatch: &mut Dispatch, now: Micros) -> usize {
    (0..100).take_while(|n| dispatch.arrive(RequestId(*n), None, now) != Placement::Queued).count()
}

#[test]
fn what_is_queued_ahead_at_a_worker_that_turns_slow_is_reclaimed() {
    let mut dispatch = dispatch(&[(FAST, 1)]);
    let mut now = 0;
    teach(&mut dispatch, FAST, 50, &mut now);
    for n in 1..4 {
        assert_eq!(dispatch.arrive(RequestId(n), None, now), Placement::Worker(FAST));
    }
    assert!(dispatch.has_queued_ahead());
    assert_eq!(dispatch.overdue(now + 5_000), None, "nobody else could take them");
    dispatch.worker_up(OTHER, 1, 128);
    assert_eq!(dispatch.arrive(RequestId(9), None, now + 900), Placement::Worker(OTHER));
    assert_eq!(dispatch.overdue(now + 2_000), None, "the other one is stuck as well");
    dispatch.worker_up(OTHER, 1, 128);
    assert_eq!(dispatch.overdue(now + 999), None);
    assert_eq!(dispatch.overdue(now + 1_000), Some((FAST, 2)));
    assert_eq!(dispatch.overdue(now + 1_000), None, "once per stall");
    for n in [3, 2] {
        dispatch.reclaimed(FAST);
        dispatch.wait_again(RequestId(n), None, Standing::Ordinary, now);
    }
    assert_eq!(dispatch.next(now + 1_002), Some((RequestId(2), OTHER)));
    dispatch.finished(OTHER, 1, now + 1_003);
    assert_eq!(dispatch.next(now + 1_003), Some((RequestId(3), OTHER)));
    dispatch.worker_draining(OTHER);
    assert_eq!(
        dispatch.arrive(RequestId(4), None, now + 1_004),
        Placement::Queued,
        "slow: none ahead"
    );
}

#[test]
fn what_is_queued_ahead_at_a_stuck_only_worker_waits_in_the_queue_with_its_deadline() {
    let mut dispatch = dispatch(&[(FAST, 1)]);
    let mut now = 0;
    teach(&mut dispatch, FAST, 50, &mut now);
    for n in 1..4 {
        assert_eq!(dispatch.arrive(RequestId(n), None, now), Placement::Worker(FAST));
    }
    assert_eq!(dispatch.overdue(now + 99_999), None);
    assert_eq!(dispatch.overdue(now + 100_000), Some((FAST, 2)));
    for n in [3, 2] {
        dispatch.reclaimed(FAST);
        dispatch.wait_again(RequestId(n), None, Standing::Ordinary, now);
    }
    assert_eq!(dispatch.next(now + 100_001), None, "it is slow: nothing is queued ahead at it");
    assert_eq!(expired(&mut dispatch, now + 30_000_001), Some(RequestId(2)));
    dispatch.finished(FAST, 1, now + 30_000_002);
    assert_eq!(dispatch.next(now + 30_000_002), Some((RequestId(3), FAST)));
}

#[test]
fn a_worker_that_takes_nothing_gets_nothing_until_it_goes_on_unless_it_is_the_last() {
    let mut dispatch = dispatch(&[(FAST, 100), (OTHER, 1)]);
    assert_eq!(dispatch.arrive(RequestId(1), None, 0), Placement::Worker(FAST));
    assert!(!dispatch.stalls(FAST, 99_999), "it began to work not long ago");
    assert!(dispatch.stalls(FAST, 100_000));
    assert!(!dispatch.stalls(FAST, 100_000), "once");
    assert_eq!(dispatch.arrive(RequestId(2), None, 0), Placement::Worker(OTHER));
    assert!(!dispatch.stalls(OTHER, 200_000), "nobody else is there");
    assert_eq!(dispatch.arrive(RequestId(3), None, 0), Placement::Queued);
    assert_eq!(dispatch.next(0), None);
    assert!(dispatch.goes_on(FAST));
    assert!(!dispatch.goes_on(FAST));
    assert_eq!(dispatch.next(0), Some((RequestId(3), FAST)));
    assert!(dispatch.stalls(FAST, 200_000));
    dispatch.finished(FAST, 1, 10);
    assert_eq!(
        dispatch.arrive(RequestId(4), None, 10),
        Placement::Worker(FAST),
        "an answer is a sign"
    );
}

#[test]
fn the_queue_is_bounded_and_every_request_in_it_has_a_deadline() {
    let limits =
        DispatchLimits { queue_requests_max: 2, queue_timeout_us: 100, ..Default::default() };
    let mut dispatch = Dispatch::new(limits);
    assert_eq!(dispatch.arrive(RequestId(1), None, 0), Placement::Queued);
    assert_eq!(dispatch.arrive(RequestId(2), None, 50), Placement::Queued);
    assert_eq!(dispatch.arrive(RequestId(3), None, 60), Placement::Refused);
    assert_eq!(dispatch.expired(99), None);
    assert_eq!(expired(&mut dispatch, 100), Some(RequestId(1)));
    assert_eq!(dispatch.expired(100), None);
    assert!(dispatch.forget(RequestId(2)));
    assert!(!dispatch.forget(RequestId(2)));
    assert_eq!(dispatch.waiting(), 0);
}

#[test]
fn what_waits_has_its_deadline_by_the_limits_of_now() {
    for (before, after) in [(0, 100), (1000, 100), (100, 0)] {
        let limits = |queue_timeout_us| DispatchLimits { queue_timeout_us, ..Default::default() };
        let mut dispatch = Dispatch::new(limits(before));
        assert_eq!(dispatch.arrive(RequestId(1), None, 0), Placement::Queued);
        dispatch.set_limits(limits(after));
        assert_eq!(dispatch.arrive(RequestId(2), None, 10), Placement::Queued);
        let due = [expired(&mut dispatch, 110), expired(&mut dispatch, 110)];
        let expected = if after == 0 { [None; 2] } else { [1, 2].map(|it| Some(RequestId(it))) };
        assert_eq!(due, expected, "from {before} to {after}");
    }
}

#[test]
fn what_is_left_of_a_warm_up_takes_its_place_until_it_ends() {
    const SECOND: u64 = 1_000_000;
    let mut dispatch = dispatch(&[(FAST, 1)]);
    dispatch.has_others(FAST, 1, 0);
    assert_eq!(dispatch.arrive(RequestId(1), None, 0), Placement::Queued);
    dispatch.finished(FAST, 1, SECOND);
    assert_eq!(dispatch.next(SECOND), Some((RequestId(1), FAST)));
    assert_eq!(dispatch.arrive(RequestId(2), None, SECOND), Placement::Queued, "it runs one");
}

#[test]
fn a_draining_worker_gets_nothing_new() {
    let mut dispatch = dispatch(&[(FAST, 8)]);
    dispatch.worker_draining(FAST);
    assert_eq!(dispatch.arrive(RequestId(1), None, 0), Placement::Queued);
    assert_eq!(dispatch.ready_workers(), 0);
}

proptest! {
    /// Any history: no worker has more than its slots, the count of what is queued ahead is true,
    /// and no request waits while a worker has free capacity.
    #[test]
    fn no_request_waits_while_a_worker_is_free(
        steps in prop::collection::vec((0u8..7, 0u64..4, 0u64..2_000), 1..200)
    ) {
        let mut dispatch = Dispatch::new(DispatchLimits {
            queue_requests_max: 16, ..Default::default()
        });
        let mut now = 0;
        for (n, (action, worker, pause)) in steps.into_iter().enumerate() {
            now += pause;
            let id = WorkerId(worker);
            match action {
                0 => dispatch.worker_up(id, worker as usize + 1, 8),
                1 => dispatch.worker_down(id),
                2 => dispatch.worker_draining(id),
                3 => dispatch.finished(id, dispatch.in_flight(id).unwrap_or(0).min(1), now),
                4 => {
                    while let Some((id, ahead)) = dispatch.overdue(now) {
                        for _ in 0..ahead {
                            dispatch.reclaimed(id);
                            dispatch.wait_again(RequestId(0), None, Standing::Ordinary, now);
                        }
                    }
                }
                _ => { let _ = dispatch.arrive(RequestId(n as u64), None, now); }
            }
            while dispatch.next(now).is_some() {}
            let ahead: usize = dispatch.workers.values().map(Worker::ahead).sum();
            prop_assert_eq!(ahead, dispatch.ahead);
            for worker in dispatch.workers.values() {
                prop_assert!(worker.in_flight <= 8);
            }
            if dispatch.waiting() > 0 {
                prop_assert!(dispatch.choose(Standing::Ordinary).is_none());
            }
        }
    }
}

#[test]
fn requests_with_one_key_go_to_one_worker_and_hold_up_nobody_else() {
    let mut dispatch = Dispatch::new(DispatchLimits::default());
    dispatch.worker_up(WorkerId(1), 1, 8);
    dispatch.worker_up(WorkerId(2), 1, 8);
    let key = Some(Key::of(b"session"));
    let Placement::Worker(mine) = dispatch.arrive(RequestId(1), key, 0) else { panic!() };
    let other = WorkerId(3 - mine.0);
    assert_eq!(dispatch.arrive(RequestId(2), key, 0), Placement::Queued);
    assert_eq!(dispatch.arrive(RequestId(3), None, 0), Placement::Worker(other));
    assert_eq!(dispatch.arrive(RequestId(4), None, 0), Placement::Queued);
    dispatch.finished(other, 1, 10_000);
    assert_eq!(dispatch.next(10_000), Some((RequestId(4), other)));
    assert_eq!(dispatch.next(10_000), None);
    dispatch.finished(mine, 1, 20_000);
    assert_eq!(dispatch.next(20_000), Some((RequestId(2), mine)));
    dispatch.finished(mine, 1, 30_000);
    dispatch.finished(other, 1, 30_000);
    dispatch.worker_draining(mine);
    assert_eq!(dispatch.arrive(RequestId(5), key, 30_000), Placement::Worker(other));
    dispatch.worker_resumes(mine);
    dispatch.finished(other, 1, 40_000);
    assert_eq!(dispatch.arrive(RequestId(6), key, 40_000), Placement::Worker(other));
}

#[test]
fn an_answer_may_say_under_which_key_the_others_come() {
    let mut dispatch = Dispatch::new(DispatchLimits::default());
    dispatch.worker_up(WorkerId(1), 1, 8);
    dispatch.worker_up(WorkerId(2), 1, 8);
    for id in [WorkerId(1), WorkerId(2), WorkerId(1)] {
        dispatch.announced(Key::of(b"sid"), id, 0);
        assert_eq!(
            dispatch.arrive(RequestId(id.0), Some(Key::of(b"sid")), 0),
            Placement::Worker(id)
        );
        dispatch.finished(id, 1, 10_000);
    }
}

#[test]
fn a_key_that_a_worker_has_never_answered_leaves_it_as_soon_as_it_stands_still() {
    let mut dispatch = dispatch(&[(FAST, 1), (OTHER, 1)]);
    let key = Some(Key::of(b"new"));
    let Placement::Worker(still) = dispatch.arrive(RequestId(1), key, 0) else { panic!() };
    let other = WorkerId(3 - still.0);
    assert!(dispatch.stalls(still, INTAKE_PAUSE_MAX_US));
    dispatch.reclaimed(still);
    dispatch.wait_again(RequestId(1), key, Standing::Ordinary, 0);
    assert_eq!(dispatch.next(INTAKE_PAUSE_MAX_US), Some((RequestId(1), other)));
}

#[test]
fn a_session_waits_for_a_worker_that_stands_still_for_a_moment_and_then_goes_elsewhere() {
    let mut dispatch = dispatch(&[(FAST, 1), (OTHER, 1)]);
    let key = Some(Key::of(b"session"));
    let Placement::Worker(mine) = dispatch.arrive(RequestId(1), key, 0) else { panic!() };
    let other = WorkerId(3 - mine.0);
    dispatch.finished(mine, 1, 10);
    assert_eq!(dispatch.arrive(RequestId(2), key, 20), Placement::Worker(mine));
    let stalled_at = 20 + INTAKE_PAUSE_MAX_US;
    assert!(dispatch.stalls(mine, stalled_at));
    dispatch.reclaimed(mine);
    dispatch.wait_again(RequestId(2), key, Standing::Ordinary, 20);
    let patience = DispatchLimits::default().affinity_patience_us;
    assert_eq!(dispatch.next(stalled_at + patience - 1), None, "it may come back");
    assert_eq!(dispatch.next(stalled_at + patience), Some((RequestId(2), other)));
    dispatch.finished(other, 1, stalled_at + patience + 1);
    assert!(dispatch.goes_on(mine));
    let later = stalled_at + patience + 2;
    assert_eq!(dispatch.arrive(RequestId(3), key, later), Placement::Worker(other), "it stays");
}

#[test]
fn those_who_wait_for_one_worker_leave_room_in_the_queue_for_everybody_else() {
    let mut dispatch = dispatch(&[(FAST, 1), (OTHER, 1)]);
    dispatch.set_limits(DispatchLimits { queue_requests_max: 64, ..DispatchLimits::default() });
    let key = |number: u64| Some(Key::of(&number.to_le_bytes()));
    let Placement::Worker(mine) = dispatch.arrive(RequestId(0), key(0), 0) else { panic!() };
    let waits = (1..200).filter(|n| dispatch.arrive(RequestId(*n), key(0), 0) == Placement::Queued);
    assert_eq!(waits.count(), 64 / 8, "of one key");
    assert_eq!(dispatch.arrive(RequestId(200), key(0), 0), Placement::ShareFull);
    for number in 1..100 {
        dispatch.announced(Key::of(&u64::to_le_bytes(number)), mine, 0);
    }
    let waits =
        (200..299).filter(|n| dispatch.arrive(RequestId(*n), key(n - 199), 0) == Placement::Queued);
    assert_eq!(waits.count(), 64 / 2 - 64 / 8, "of all that belong to a worker");
    assert!(matches!(dispatch.arrive(RequestId(300), None, 0), Placement::Worker(_)));
    let waits = (301..400).filter(|n| dispatch.arrive(RequestId(*n), None, 0) == Placement::Queued);
    assert_eq!(waits.count(), 64 / 2, "the rest is everybody's");
}

/// A worker for `capacity` requests at once has ended; so many requests that it had begun wait again.
fn after_a_death(dispatch: &mut Dispatch, suspects: u64) {
    for number in 0..suspects {
        dispatch.wait_again(RequestId(number), None, Standing::Suspect, number);
    }
}

#[test]
fn requests_that_may_have_ended_a_worker_are_run_apart_and_hold_up_nobody_else() {
    let mut dispatch = dispatch(&[(FAST, 4), (OTHER, 4)]);
    after_a_death(&mut dispatch, 4);
    let (first, second) = (dispatch.next(10).unwrap(), dispatch.next(10).unwrap());
    assert_eq!((first.0, second.0), (RequestId(0), RequestId(1)));
    assert_ne!(first.1, second.1, "each in a worker of its own");
    assert_eq!(dispatch.next(10), None);
    assert!(matches!(dispatch.arrive(RequestId(9), None, 11), Placement::Worker(_)));
    assert_eq!(dispatch.waiting(), 2);
    // Another one's end changes nothing.
    dispatch.finished(first.1, 1, 12);
    dispatch.cleared(first.1, RequestId(9));
    assert_eq!(dispatch.next(12), None);
    dispatch.cleared(first.1, RequestId(0));
    assert_eq!(dispatch.next(13), Some((RequestId(2), first.1)));
    assert_eq!(dispatch.next(13), None);
    dispatch.worker_down(second.1);
    dispatch.worker_up(second.1, 4, 8);
    assert_eq!(dispatch.next(14), Some((RequestId(3), second.1)));
}

#[test]
fn with_one_worker_they_are_run_one_after_the_other_none_waiting_beyond_its_time() {
    let mut dispatch = dispatch(&[(FAST, 100)]);
    after_a_death(&mut dispatch, 3);
    assert_eq!(dispatch.next(10), Some((RequestId(0), FAST)));
    assert_eq!(dispatch.next(10), None);
    dispatch.cleared(FAST, RequestId(0));
    assert_eq!(dispatch.next(20), Some((RequestId(1), FAST)));
    assert_eq!(dispatch.next(29_999_999), None);
    let expired = dispatch.expired(30_000_002);
    assert_eq!(expired, Some(Expired { request: RequestId(2), had_worker: true }));
}

#[test]
fn a_worker_that_runs_one_request_at_a_time_has_them_apart_in_any_case() {
    let mut dispatch = dispatch(&[(FAST, 1)]);
    let mut now = 0;
    teach(&mut dispatch, FAST, 50, &mut now);
    after_a_death(&mut dispatch, 3);
    for number in 0..3 {
        assert_eq!(dispatch.next(now), Some((RequestId(number), FAST)));
    }
}

#[test]
fn suspects_and_others_are_placed_in_the_order_of_their_arrival() {
    let mut dispatch = dispatch(&[(FAST, 1)]);
    assert_eq!(dispatch.arrive(RequestId(0), None, 0), Placement::Worker(FAST));
    let (ordinary, suspect) = (Standing::Ordinary, Standing::Suspect);
    for (number, standing) in [(3, ordinary), (2, suspect), (1, ordinary), (4, suspect)] {
        dispatch.wait_again(RequestId(number), None, standing, number);
    }
    for number in 1..5 {
        dispatch.finished(FAST, 1, 1_000_000 * number);
        assert_eq!(dispatch.next(1_000_000 * number), Some((RequestId(number), FAST)));
    }
}

#[test]
fn who_waited_in_vain_is_told_whether_there_was_any_worker() {
    let limits = DispatchLimits { queue_timeout_us: 100, ..Default::default() };
    let mut dispatch = Dispatch::new(limits);
    let mut at = 0;
    let mut waits = |dispatch: &mut Dispatch, meanwhile: fn(&mut Dispatch)| {
        at += 1_000;
        assert_eq!(dispatch.arrive(RequestId(1), None, at), Placement::Queued);
        meanwhile(dispatch);
        dispatch.expired(at + 100).map(|expired| expired.had_worker)
    };
    assert_eq!(waits(&mut dispatch, |_| ()), Some(false));
    let comes_and_goes = |dispatch: &mut Dispatch| {
        dispatch.worker_up(FAST, 1, 8);
        dispatch.worker_down(FAST);
    };
    assert_eq!(waits(&mut dispatch, comes_and_goes), Some(true));
    assert_eq!(waits(&mut dispatch, |_| ()), Some(false), "it is gone again");
    dispatch.worker_up(FAST, 1, 8);
    assert_eq!(dispatch.arrive(RequestId(0), None, 0), Placement::Worker(FAST));
    assert_eq!(waits(&mut dispatch, |dispatch| dispatch.worker_down(FAST)), Some(true));
    dispatch.worker_up(FAST, 1, 8);
    dispatch.worker_draining(FAST);
    assert_eq!(waits(&mut dispatch, |_| ()), Some(false), "one that drains is none");
    assert_eq!(waits(&mut dispatch, |dispatch| dispatch.worker_resumes(FAST)), Some(true));
}
