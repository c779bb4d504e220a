//! Tests of one ring, step by step and with random sequences against a model.

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use proptest::prelude::*;

use crate::recent::Wanted;
use crate::ring::{Lent, NotSent, Receiver, Sender, Violation};
use crate::testing::{RingHeap, SLOTS, ring};
use crate::wire::{Descriptor, Direction, Flags, Kind};

fn descriptor(number: u64) -> Descriptor {
    let slot = (number % u64::from(SLOTS)) as u16;
    Descriptor {
        time_us: !number as u32,
        route: number as u16,
        ..Descriptor::new(Kind::RequestBody, Flags(!number as u16), slot, !number as u32, number)
    }
}

/// The bytes that payload `number` consists of.
fn payload(number: u64, len: usize) -> Vec<u8> {
    (0..len).map(|at| (number as usize * 31 + at) as u8).collect()
}

fn send(sender: &mut Sender, number: u64, len: usize) -> Result<(), NotSent> {
    sender.send(descriptor(number), len, |bytes| bytes.copy_from_slice(&payload(number, len)))
}

fn take(receiver: &mut Receiver) -> Option<(Descriptor, Vec<u8>)> {
    let descriptor = receiver.receive().unwrap()?;
    let mut bytes = vec![1, 2, 3];
    receiver.copy_payload(&descriptor, &mut bytes);
    // SAFETY: the tests' producers are honest, and nothing was released yet.
    assert_eq!(unsafe { receiver.payload(&descriptor) }, bytes);
    Some((descriptor, bytes))
}

#[test]
fn a_ring_takes_exactly_as_many_descriptors_as_it_has_cells() {
    for cells in [1, 2, 8] {
        let (mut sender, mut receiver) = ring(cells, 64);
        for round in 0..5 {
            for number in 0..u64::from(cells) {
                send(&mut sender, round * 100 + number, 0).unwrap();
            }
            assert_eq!(
                send(&mut sender, 0, 0),
                Err(NotSent::NoSpace),
                "head and tail are {cells} apart"
            );
            assert!(!sender.is_drained());
            for number in 0..u64::from(cells) {
                assert_eq!(take(&mut receiver).unwrap().0.aux, round * 100 + number);
            }
            assert!(take(&mut receiver).is_none(), "full is not taken for empty, nor the reverse");
            assert_eq!(send(&mut sender, 0, 0), Err(NotSent::NoSpace), "taken is not yet released");
            let _ = receiver.release();
            assert!(sender.is_drained());
        }
    }
}

#[test]
fn a_payload_of_the_largest_size_always_fits_into_a_drained_ring() {
    for before in (0..=96).step_by(16) {
        let (mut sender, mut receiver) = ring(4, 192);
        assert_eq!(sender.payload_max(), 96);
        send(&mut sender, 1, before).unwrap();
        take(&mut receiver).unwrap();
        let _ = receiver.release();
        send(&mut sender, 2, 96).unwrap();
        assert_eq!(take(&mut receiver).unwrap().1, payload(2, 96));
    }
}

#[test]
fn a_payload_over_the_largest_size_is_refused_without_harm() {
    let (mut sender, mut receiver) = ring(4, 192);
    for len in [97, 192, usize::MAX] {
        let filled = sender.send(descriptor(1), len, |_| panic!("there is no room to fill"));
        assert_eq!(filled, Err(NotSent::TooLarge));
    }
    send(&mut sender, 2, 96).unwrap();
    assert_eq!(take(&mut receiver).unwrap().1, payload(2, 96));
}

#[test]
fn the_tail_of_the_area_that_is_passed_over_is_given_back() {
    // 80 of 128 bytes lie in front; 64 more do not fit behind them, so 48 are passed over.
    let (mut sender, mut receiver) = ring(8, 128);
    send(&mut sender, 1, 64).unwrap();
    send(&mut sender, 2, 16).unwrap();
    take(&mut receiver).unwrap();
    let _ = receiver.release();
    send(&mut sender, 3, 64).unwrap();
    assert_eq!(
        send(&mut sender, 4, 1),
        Err(NotSent::NoSpace),
        "the second payload still lies in front"
    );
    for number in 2..=3 {
        assert_eq!(take(&mut receiver).unwrap().0.aux, number);
        let _ = receiver.release();
    }
    for number in 5..=6 {
        send(&mut sender, number, 64).unwrap();
    }
}

#[test]
fn a_drained_ring_begins_again_at_the_start_of_its_area_when_it_has_used_a_little_of_it() {
    let (mut sender, mut receiver) = ring(4, 64 * 1024);
    let mut offsets = Vec::new();
    for number in 0..8 {
        sender.begin_batch();
        send(&mut sender, number, 3000).unwrap();
        let (got, bytes) = take(&mut receiver).unwrap();
        assert_eq!(bytes, payload(number, 3000));
        offsets.push(got.offset);
        let _ = receiver.release();
        assert!(sender.is_drained());
    }
    assert_eq!(offsets, [0, 3008, 6016, 0, 3008, 6016, 0, 3008]);
}

#[test]
fn only_a_sleeping_consumer_is_rung_and_only_once() {
    let (mut sender, mut receiver) = ring(4, 64);
    send(&mut sender, 1, 0).unwrap();
    assert!(!sender.must_wake(), "it does not sleep");
    assert!(!receiver.prepare_sleep().unwrap(), "something has come");
    assert!(!sender.must_wake(), "it did not go to sleep after all");
    take(&mut receiver).unwrap();
    assert!(receiver.prepare_sleep().unwrap());
    send(&mut sender, 2, 0).unwrap();
    assert!(sender.must_wake());
    assert!(!sender.must_wake(), "the bell was rung already");
    receiver.awake();
}

#[test]
fn a_starving_producer_is_told_of_space_once() {
    let (mut sender, mut receiver) = ring(1, 64);
    send(&mut sender, 1, 0).unwrap();
    take(&mut receiver).unwrap();
    assert!(!receiver.release(), "nobody starves");
    assert!(!sender.starve(), "there is space already");
    send(&mut sender, 2, 0).unwrap();
    assert_eq!(send(&mut sender, 3, 0), Err(NotSent::NoSpace));
    let ticket = sender.space_wait().ticket();
    assert!(sender.starve());
    take(&mut receiver).unwrap();
    assert!(receiver.release());
    assert!(!receiver.release());
    // Would hang for good if the word had not moved.
    sender.space_wait().sleep(ticket, Duration::MAX);
    send(&mut sender, 3, 0).unwrap();
}

#[test]
fn an_impossible_head_breaks_the_sender_for_good() {
    for (head, why) in [(3, "more than was sent"), (u64::MAX, "far too much")] {
        let heap = RingHeap::new(4, 64);
        let (mut sender, _receiver) = RingHeap::ends(&heap, Direction::Requests);
        send(&mut sender, 1, 0).unwrap();
        heap.head.head.0.store(head, Ordering::SeqCst);
        sender.begin_batch();
        assert!(sender.is_broken(), "{why}");
        heap.head.head.0.store(1, Ordering::SeqCst);
        assert_eq!(send(&mut sender, 2, 0), Err(NotSent::Broken(Violation::Index)));
    }
}

#[test]
fn a_head_that_moves_backwards_breaks_the_sender() {
    let heap = RingHeap::new(4, 64);
    let (mut sender, mut receiver) = RingHeap::ends(&heap, Direction::Requests);
    send(&mut sender, 1, 0).unwrap();
    send(&mut sender, 2, 0).unwrap();
    take(&mut receiver).unwrap();
    let _ = receiver.release();
    sender.begin_batch();
    heap.head.head.0.store(0, Ordering::SeqCst);
    sender.begin_batch();
    assert!(sender.is_broken());
}

#[test]
fn an_impossible_tail_is_a_violation() {
    for tail in [5, 1 << 32, u64::MAX] {
        let heap = RingHeap::new(4, 64);
        let (_sender, mut receiver) = RingHeap::ends(&heap, Direction::Requests);
        heap.head.tail.0.store(tail, Ordering::SeqCst);
        assert_eq!(receiver.receive(), Err(Violation::Index));
        assert_eq!(receiver.prepare_sleep(), Err(Violation::Index));
    }
}

#[test]
fn a_tail_that_moves_backwards_is_a_violation() {
    let heap = RingHeap::new(4, 64);
    let (mut sender, mut receiver) = RingHeap::ends(&heap, Direction::Requests);
    send(&mut sender, 1, 0).unwrap();
    take(&mut receiver).unwrap();
    heap.head.tail.0.store(0, Ordering::SeqCst);
    assert_eq!(receiver.receive(), Err(Violation::Index));
}

/// Receives one descriptor whose words begin with these, in the response direction.
fn receive_raw<const N: usize>(words: [u64; N]) -> Result<Option<Descriptor>, Violation> {
    let heap = RingHeap::new(4, 64);
    let (_sender, mut receiver) = RingHeap::ends(&heap, Direction::Responses);
    for (cell, word) in heap.cells[0].0.iter().zip(words) {
        cell.store(word, Ordering::SeqCst);
    }
    heap.head.tail.0.store(1, Ordering::SeqCst);
    receiver.receive()
}

#[test]
fn a_descriptor_is_checked_before_it_is_handed_out() {
    let word = |kind: u64, slot: u64| kind | slot << 16;
    let place = |offset: u64, len: u64| offset | len << 32;
    assert!(receive_raw([word(25, 7), 0, place(64, 0)]).unwrap().is_some());
    for (words, violation) in [
        ([word(0, 0), 0, 0], Violation::Kind),
        ([word(99, 0), 0, 0], Violation::Kind),
        ([word(1, 0), 0, 0], Violation::Kind),
        ([word(25, 8), 0, 0], Violation::Slot),
        ([word(25, 0xffff), 0, 0], Violation::Slot),
        ([word(25, 0), 0, place(65, 0)], Violation::Payload),
        ([word(25, 0), 0, place(0, 65)], Violation::Payload),
        ([word(25, 0), 0, place(u64::from(u32::MAX), 1)], Violation::Payload),
        ([word(25, 0), 0, u64::MAX], Violation::Payload),
    ] {
        assert_eq!(receive_raw(words), Err(violation), "{words:?}");
    }
}

#[test]
fn every_kind_survives_its_encoding_in_its_direction() {
    let mut known = 0;
    for kind in 0..=u8::MAX {
        let Ok(Some(descriptor)) = receive_raw([u64::from(kind), 7, 0]) else { continue };
        assert_eq!((descriptor.kind as u8, descriptor.aux), (kind, 7));
        known += 1;
    }
    assert_eq!(known, 12, "the kinds of the response direction");
}

#[test]
#[should_panic(expected = "a payload of another ring")]
fn a_descriptor_with_a_changed_length_is_not_followed_out_of_the_area() {
    let (mut sender, mut receiver) = ring(4, 64);
    send(&mut sender, 1, 8).unwrap();
    let mut descriptor = receiver.receive().unwrap().unwrap();
    descriptor.len = u32::MAX;
    receiver.copy_payload(&descriptor, &mut Vec::new());
}

#[test]
fn two_threads_that_starve_and_sleep_lose_nothing() {
    const COUNT: u64 = if cfg!(miri) { 40 } else { 20_000 };
    let (mut sender, mut receiver) = ring(4, 256);
    let producer = std::thread::spawn(move || {
        for number in 0..COUNT {
            while send(&mut sender, number, number as usize % 129).is_err() {
                let ticket = sender.space_wait().ticket();
                if sender.starve() {
                    sender.space_wait().sleep(ticket, Duration::MAX);
                }
            }
        }
    });
    for number in 0..COUNT {
        let (got, bytes) = loop {
            match take(&mut receiver) {
                Some(taken) => break taken,
                None => std::thread::yield_now(),
            }
        };
        assert_eq!(got.aux, number);
        assert_eq!(bytes, payload(number, number as usize % 129));
        let _ = receiver.release();
    }
    producer.join().unwrap();
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Send(usize),
    Receive,
    Release,
    Lend,
    Return(prop::sample::Index),
    BeginBatch,
}

fn step(len_max: usize) -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..=len_max).prop_map(Step::Send),
        2 => Just(Step::Send(0)),
        4 => Just(Step::Receive),
        2 => Just(Step::Release),
        2 => Just(Step::Lend),
        2 => any::<prop::sample::Index>().prop_map(Step::Return),
        1 => Just(Step::BeginBatch),
    ]
}

/// A ring together with what must be in it.
struct Model {
    sender: Sender,
    receiver: Receiver,
    sent: u64,
    waiting: VecDeque<(u64, usize)>,
    /// Received, not released: their bytes must stay as they are.
    held: Vec<(Descriptor, Vec<u8>)>,
    /// Received and lent: the same, whatever is released.
    lent: Vec<(Lent, Vec<u8>)>,
    /// Something was received, and nothing released since.
    is_release_due: bool,
}

impl Model {
    fn new(cells: u32, area: u32) -> Self {
        let (sender, receiver) = ring(cells, area);
        Self {
            sender,
            receiver,
            sent: 0,
            waiting: VecDeque::new(),
            held: Vec::new(),
            lent: Vec::new(),
            is_release_due: false,
        }
    }

    fn apply(&mut self, step: Step) {
        match step {
            Step::Send(len) => {
                if send(&mut self.sender, self.sent, len).is_ok() {
                    self.waiting.push_back((self.sent, len));
                    self.sent += 1;
                } else {
                    let empty =
                        self.waiting.is_empty() && !self.is_release_due && self.lent.is_empty();
                    assert!(!empty || len > self.sender.payload_max(), "an empty ring has room");
                }
            }
            Step::Lend => {
                self.apply(Step::Receive);
                if let Some((descriptor, bytes)) = self.held.pop() {
                    // What was received before another one cannot be lent any more.
                    if descriptor.aux + self.waiting.len() as u64 + 1 == self.sent {
                        let from = bytes.len() / 2;
                        let lent = self.receiver.lend(&descriptor, from);
                        self.lent.push((lent, bytes[from..].to_vec()));
                    } else {
                        self.held.push((descriptor, bytes));
                    }
                }
            }
            Step::Return(which) => {
                if !self.lent.is_empty() {
                    self.lent.swap_remove(which.index(self.lent.len()));
                }
            }
            Step::Receive => match (take(&mut self.receiver), self.waiting.pop_front()) {
                (None, None) => {}
                (Some((got, bytes)), Some((number, len))) => {
                    let sent = descriptor(number);
                    assert_eq!(Descriptor { offset: 0, len: 0, ..got }, sent);
                    assert_eq!(bytes, payload(number, len));
                    self.held.push((got, bytes));
                    self.is_release_due = true;
                }
                (got, wanted) => panic!("got {got:?} for {wanted:?}"),
            },
            Step::Release => {
                let _ = self.receiver.release();
                self.held.clear();
                self.is_release_due = false;
            }
            Step::BeginBatch => self.sender.begin_batch(),
        }
        for (lent, bytes) in &self.lent {
            assert_eq!(lent.as_ref(), bytes, "a payload was overwritten while it was lent");
        }
        for (descriptor, bytes) in &self.held {
            let mut now = Vec::new();
            self.receiver.copy_payload(descriptor, &mut now);
            assert_eq!(&now, bytes, "a payload was overwritten before its release");
        }
    }

    /// Takes all that is left; then the largest payload must fit.
    fn finish(&mut self) {
        while !self.waiting.is_empty() {
            self.apply(Step::Receive);
        }
        self.apply(Step::Release);
        self.lent.clear();
        self.apply(Step::Send(self.sender.payload_max()));
        assert_eq!(self.waiting.len(), 1, "the largest payload fits into a drained ring");
        self.apply(Step::Receive);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 8 } else { 512 }))]

    #[test]
    fn any_sequence_delivers_the_same_bytes_in_order_and_never_jams(
        cells in prop_oneof![Just(1), Just(2), Just(4), Just(16)],
        area in prop_oneof![Just(64), Just(192), Just(320), Just(1024)],
        steps in prop::collection::vec(step(200), 1..200),
    ) {
        let mut model = Model::new(cells, area);
        for step in steps {
            model.apply(step);
        }
        model.finish();
    }

    #[test]
    fn any_words_are_a_descriptor_inside_the_area_or_a_violation(words in any::<[u64; 4]>()) {
        if let Ok(Some(descriptor)) = receive_raw(words) {
            prop_assert!(u64::from(descriptor.offset) + u64::from(descriptor.len) <= 64);
            prop_assert!(descriptor.slot < SLOTS);
        }
    }
}

fn everything(most: usize) -> Wanted {
    Wanted { kind: None, most, payload_max: usize::MAX }
}

#[test]
fn what_went_last_is_found_although_it_was_taken_the_last_first() {
    let (mut sender, mut receiver) = ring(8, 4096);
    for number in 0..20 {
        send(&mut sender, number, 40).unwrap();
        take(&mut receiver).unwrap();
        let _ = receiver.release();
        assert!(sender.is_drained());
    }
    let found = sender.recent(everything(3));
    let numbers: Vec<u64> = found.iter().map(|recent| recent.descriptor.aux).collect();
    assert_eq!(numbers, [19, 18, 17]);
    for recent in found {
        assert_eq!(recent.payload.unwrap(), payload(recent.descriptor.aux, 40));
    }
    assert_eq!(receiver.recent(everything(100)).len(), 8, "as many as there are cells");
    let short = Wanted { payload_max: 4, ..everything(1) };
    assert_eq!(sender.recent(short)[0].payload.as_ref().unwrap().len(), 4);
}

#[test]
fn a_payload_that_was_written_over_is_not_taken_for_what_it_was() {
    let (mut sender, mut receiver) = ring(8, 256);
    for number in 0..4 {
        send(&mut sender, number, 112).unwrap();
        take(&mut receiver).unwrap();
        let _ = receiver.release();
    }
    let found = sender.recent(everything(8));
    let is_there = |at: usize| found[at].payload.is_some();
    assert_eq!(found.len(), 4);
    assert!(is_there(0) && is_there(1) && !is_there(2) && !is_there(3));
}

proptest! {
    #[test]
    fn recent_payloads_are_true_or_missing(
        sizes in prop::collection::vec((0usize..600, any::<bool>()), 1..60),
    ) {
        let (mut sender, mut receiver) = ring(16, 2048);
        let mut lens = Vec::new();
        for (number, (len, drains)) in sizes.into_iter().enumerate() {
            if send(&mut sender, number as u64, len).is_err() {
                while take(&mut receiver).is_some() {}
                let _ = receiver.release();
                send(&mut sender, number as u64, len).unwrap();
            }
            lens.push(len);
            if drains {
                while take(&mut receiver).is_some() {}
                let _ = receiver.release();
                let _ = sender.is_drained();
            }
        }
        for recent in sender.recent(everything(usize::MAX)) {
            let number = recent.descriptor.aux;
            if let Some(bytes) = recent.payload {
                prop_assert_eq!(bytes, payload(number, lens[number as usize]));
            }
        }
    }
}
