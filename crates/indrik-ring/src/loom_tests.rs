//! Every interleaving and every reordering that the memory model allows, of each protocol of the
//! channel. A lost wake-up shows as a deadlock, because nobody here sleeps with a time limit.

use core::time::Duration;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Notify};
use loom::thread;

use crate::ring::{NotSent, Receiver, Sender};
use crate::slot::{CreditWait, SlotState};
use crate::testing::{ring, slots};
use crate::wire::{Descriptor, Flags, Kind};

/// More preemptions than any known bug of such a protocol needs, and still seconds, not hours.
const PREEMPTIONS_MAX: usize = 5;
const NO_LIMIT: Duration = Duration::MAX;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}

/// What an eventfd does.
#[derive(Clone)]
struct Bell(Arc<Notify>);

impl Bell {
    fn new() -> Self {
        Self(Arc::new(Notify::new()))
    }

    fn ring(&self) {
        self.0.notify();
    }

    fn wait(&self) {
        self.0.wait();
    }
}

fn send(sender: &mut Sender, number: u64) -> Result<(), NotSent> {
    let descriptor = Descriptor::new(Kind::RequestBody, Flags::NONE, 1, number as u32, number);
    sender.send(descriptor, 16, |bytes| bytes.fill(number as u8))
}

/// Takes what must be number `number`.
fn take(receiver: &mut Receiver, number: u64) -> bool {
    let Some(descriptor) = receiver.receive().unwrap() else { return false };
    assert_eq!((descriptor.aux, descriptor.generation), (number, number as u32));
    let mut payload = Vec::new();
    receiver.copy_payload(&descriptor, &mut payload);
    assert_eq!(payload, [number as u8; 16]);
    true
}

#[test]
fn descriptors_arrive_whole_and_in_order() {
    check(|| {
        let (mut sender, mut receiver) = ring(2, 64);
        let producer = thread::spawn(move || {
            for number in 1..=2 {
                send(&mut sender, number).unwrap();
            }
        });
        for number in 1..=2 {
            while !take(&mut receiver, number) {
                thread::yield_now();
            }
        }
        producer.join().unwrap();
    });
}

#[test]
fn cells_and_payload_are_reused_only_after_their_release() {
    check(|| {
        let (mut sender, mut receiver) = ring(1, 32);
        let producer = thread::spawn(move || {
            for number in 1..=3 {
                while send(&mut sender, number).is_err() {
                    thread::yield_now();
                }
            }
        });
        for number in 1..=3 {
            while !take(&mut receiver, number) {
                thread::yield_now();
            }
            let _ = receiver.release();
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_sleeping_consumer_is_always_woken() {
    check(|| {
        let (mut sender, mut receiver) = ring(4, 128);
        let bell = Bell::new();
        let ringer = bell.clone();
        let producer = thread::spawn(move || {
            for number in 1..=2 {
                send(&mut sender, number).unwrap();
                if sender.must_wake() {
                    ringer.ring();
                }
            }
        });
        let mut next = 1;
        while next <= 2 {
            if take(&mut receiver, next) {
                next += 1;
            } else if receiver.prepare_sleep().unwrap() {
                bell.wait();
                receiver.awake();
            }
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_producer_that_sleeps_for_space_is_always_woken() {
    check(|| {
        let (mut sender, mut receiver) = ring(1, 32);
        let producer = thread::spawn(move || {
            for number in 1..=2 {
                while send(&mut sender, number).is_err() {
                    let ticket = sender.space_wait().ticket();
                    if sender.starve() {
                        sender.space_wait().sleep(ticket, NO_LIMIT);
                    }
                }
            }
        });
        for number in 1..=2 {
            while !take(&mut receiver, number) {
                thread::yield_now();
            }
            let _ = receiver.release();
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_producer_that_starves_twice_is_woken_twice() {
    check(|| {
        // The second wait may begin while the consumer still answers the first one.
        let (mut sender, mut receiver) = ring(1, 32);
        send(&mut sender, 1).unwrap();
        let producer = thread::spawn(move || {
            for number in 2..=3 {
                while send(&mut sender, number).is_err() {
                    let ticket = sender.space_wait().ticket();
                    if sender.starve() {
                        sender.space_wait().sleep(ticket, NO_LIMIT);
                    }
                }
            }
        });
        for number in 1..=2 {
            while !take(&mut receiver, number) {
                thread::yield_now();
            }
            let _ = receiver.release();
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_producer_that_polls_is_told_of_space() {
    check(|| {
        let (mut sender, mut receiver) = ring(1, 32);
        let bell = Bell::new();
        let ringer = bell.clone();
        let producer = thread::spawn(move || {
            for number in 1..=2 {
                while send(&mut sender, number).is_err() {
                    if sender.starve() {
                        bell.wait();
                    }
                }
            }
        });
        for number in 1..=2 {
            while !take(&mut receiver, number) {
                thread::yield_now();
            }
            if receiver.release() {
                ringer.ring();
            }
        }
        producer.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_for_credit_gets_it() {
    check(|| {
        let worker_slots = slots();
        let front_slots = worker_slots.clone();
        let worker = thread::spawn(move || {
            while worker_slots.response_taken(0) < 2 {
                let ticket = worker_slots.credit_ticket(0);
                worker_slots.want_credit(0, CreditWait::Thread);
                if worker_slots.response_taken(0) < 2 {
                    worker_slots.sleep_for_credit(0, ticket, NO_LIMIT);
                }
            }
        });
        let _ = front_slots.response_took(0, 1);
        let _ = front_slots.response_took(0, 1);
        worker.join().unwrap();
    });
}

#[test]
fn a_thread_that_waits_for_credit_learns_that_the_client_is_gone() {
    check(|| {
        let worker_slots = slots();
        let front_slots = worker_slots.clone();
        let worker = thread::spawn(move || {
            while !worker_slots.is_gone(0) {
                let ticket = worker_slots.credit_ticket(0);
                worker_slots.want_credit(0, CreditWait::Thread);
                if !worker_slots.is_gone(0) {
                    worker_slots.sleep_for_credit(0, ticket, NO_LIMIT);
                }
            }
        });
        let _ = front_slots.set_gone(0);
        worker.join().unwrap();
    });
}

#[test]
fn an_event_loop_that_waits_for_credit_is_sent_a_descriptor() {
    check(|| {
        let worker_slots = slots();
        let front_slots = worker_slots.clone();
        let bell = Bell::new();
        let descriptor = bell.clone();
        let worker = thread::spawn(move || {
            while worker_slots.response_taken(0) < 2 {
                worker_slots.want_credit(0, CreditWait::Descriptor);
                if worker_slots.response_taken(0) < 2 {
                    bell.wait();
                }
            }
        });
        for _ in 0..2 {
            if front_slots.response_took(0, 1) == CreditWait::Descriptor {
                descriptor.ring();
            }
        }
        worker.join().unwrap();
    });
}

#[test]
fn a_front_that_waits_for_request_credit_is_told() {
    check(|| {
        let worker_slots = slots();
        let front_slots = worker_slots.clone();
        let bell = Bell::new();
        let descriptor = bell.clone();
        let front = thread::spawn(move || {
            while front_slots.request_taken(0) < 2 {
                front_slots.want_request_credit(0);
                if front_slots.request_taken(0) < 2 {
                    bell.wait();
                }
            }
        });
        for _ in 0..2 {
            if worker_slots.request_took(0, 1) {
                descriptor.ring();
            }
        }
        front.join().unwrap();
    });
}

#[test]
fn a_queued_request_is_either_started_or_reclaimed() {
    check(|| {
        let worker_slots = slots();
        let front_slots = worker_slots.clone();
        front_slots.begin(0, 7);
        let worker = thread::spawn(move || worker_slots.start(0, 7));
        let reclaimed = front_slots.reclaim(0, 7);
        let started = worker.join().unwrap();
        assert!(started != reclaimed, "exactly one side owns it");
        let state = if started { SlotState::Running } else { SlotState::Reclaimed };
        assert_eq!(front_slots.state(0, 7), state);
    });
}

#[test]
fn the_descriptor_of_a_reclaimed_request_starts_no_later_use_of_its_slot() {
    check(|| {
        let worker_slots = slots();
        let front_slots = worker_slots.clone();
        front_slots.begin(0, 1);
        let worker = thread::spawn(move || worker_slots.start(0, 1));
        if front_slots.reclaim(0, 1) {
            front_slots.begin(0, 2);
            assert!(!worker.join().unwrap());
            assert_eq!(front_slots.state(0, 2), SlotState::Queued);
        } else {
            assert!(worker.join().unwrap());
        }
    });
}

#[test]
fn a_worker_that_goes_to_sleep_sees_the_shutdown() {
    check(|| {
        let (mut sender, mut receiver) = ring(2, 64);
        let shutdown = Arc::new(AtomicU32::new(0));
        let flag = Arc::clone(&shutdown);
        let bell = Bell::new();
        let ringer = bell.clone();
        let front = thread::spawn(move || {
            send(&mut sender, 1).unwrap();
            if sender.must_wake() {
                ringer.ring();
            }
            // As `Control::shut_down` does; it is always followed by a ring.
            flag.store(1, Ordering::SeqCst);
            ringer.ring();
        });
        let mut taken = 0;
        loop {
            while take(&mut receiver, taken + 1) {
                taken += 1;
            }
            let leave = shutdown.load(Ordering::SeqCst) != 0;
            if leave && !receiver.look().unwrap() {
                break;
            }
            if !leave && receiver.prepare_sleep().unwrap() {
                bell.wait();
                receiver.awake();
            }
        }
        assert_eq!(taken, 1, "what was sent before the shutdown is served");
        front.join().unwrap();
    });
}
