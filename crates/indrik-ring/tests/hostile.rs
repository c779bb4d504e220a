//! A front against a worker that writes what it likes into the shared memory. The front may lose
//! that worker's requests; it must never panic, read outside the memory, or go on for ever.
#![cfg(not(loom))]
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::fs::File;
use std::os::unix::fs::FileExt;

use indrik_ring::{
    ChannelLimits, Descriptor, Flags, FrontChannel, Headers, Kind, RequestHead, ResponseHead,
    Violation, channel_pair,
};
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: ChannelLimits = ChannelLimits {
    slots: 4,
    descriptors: 8,
    request_area: 128 * 1024,
    response_area: 128 * 1024,
    body_area: 0,
};

/// Offsets in the memory; the layout is fixed between both sides, so a hostile worker knows it.
const REQUESTS_HEAD: u64 = 256;
const REQUESTS_STARVING: u64 = 512;
const RESPONSES_TAIL: u64 = 896;
const SLOTS: u64 = 4096;
const RESPONSE_CELLS: u64 = SLOTS + 4 * 256 + 8 * 32;
const RESPONSE_AREA: u64 = 8192 + 128 * 1024;

/// The front's end, and the memory for writing behind its back.
fn hostile_channel() -> (FrontChannel, File) {
    let (ours, theirs) = channel_pair(LIMITS).unwrap();
    (FrontChannel::open(ours, LIMITS).unwrap(), File::from(theirs.memory))
}

/// Does what a front does with everything a worker can have written.
fn serve(front: &mut FrontChannel) -> Result<usize, Violation> {
    let mut payload = Vec::new();
    let mut received = 0;
    while let Some(descriptor) = front.responses.receive()? {
        received += 1;
        assert!(received <= LIMITS.descriptors as usize, "one look gives at most one ring");
        front.responses.copy_payload(&descriptor, &mut payload);
        let head = payload.get(..descriptor.aux as usize).unwrap_or(&payload);
        let _ = ResponseHead::decode(head).map(|head| head.headers.count());
        let _ = Headers::decode(&payload).map(Iterator::count);
        let _ = RequestHead::decode(&payload);
        let _ = front.slots.state(descriptor.slot, descriptor.generation);
        let _ = front.slots.response_took(descriptor.slot, u64::from(descriptor.len));
        let _ = front.slots.request_taken(descriptor.slot);
    }
    let _ = front.responses.release();
    Ok(received)
}

fn send(front: &mut FrontChannel, slot: u16, generation: u32, len: usize) {
    front.slots.begin(slot, generation);
    let descriptor = Descriptor::new(Kind::Request, Flags::END, slot, generation, 0);
    if front.requests.send(descriptor, len, |bytes| bytes.fill(0x55)).is_err() {
        let _ = front.requests.starve();
    }
    let _ = front.slots.reclaim(slot, generation);
    front.slots.want_request_credit(slot);
    let _ = front.slots.set_gone(slot);
    front.flush();
}

#[derive(Clone, Debug)]
enum Attack {
    /// Any bytes anywhere, also over the header.
    Scribble(u64, Vec<u8>),
    /// A plausible index into one of the ring's words.
    Index(u64, u64),
    /// One descriptor with arbitrary words, published.
    Publish([u64; 4]),
    /// A well-formed descriptor of any kind, with arbitrary payload.
    Answer(u8, u16, u32, Vec<u8>),
    Send(u16, u32, usize),
    Serve,
}

fn attack() -> impl Strategy<Value = Attack> {
    let word = prop_oneof![0..64u64, any::<u64>()];
    prop_oneof![
        (0..RESPONSE_AREA + 4096, vec(any::<u8>(), 1..64))
            .prop_map(|(at, bytes)| Attack::Scribble(at, bytes)),
        (128..2304u64, vec(any::<u8>(), 1..16)).prop_map(|(at, b)| Attack::Scribble(at, b)),
        (prop_oneof![Just(REQUESTS_HEAD), Just(REQUESTS_STARVING), Just(RESPONSES_TAIL)], word)
            .prop_map(|(at, value)| Attack::Index(at, value)),
        any::<[u64; 4]>().prop_map(Attack::Publish),
        (0..32u8, 0..6u16, 0..200_000u32, vec(any::<u8>(), 0..64))
            .prop_map(|(kind, slot, len, bytes)| Attack::Answer(kind, slot, len, bytes)),
        (0..4u16, 0..4u32, 0..70_000usize)
            .prop_map(|(slot, generation, len)| Attack::Send(slot, generation, len)),
        Just(Attack::Serve),
    ]
}

/// Writes descriptor number `tail` and moves the tail behind it.
fn publish<const N: usize>(memory: &File, tail: &mut u64, words: [u64; N]) {
    let cell = RESPONSE_CELLS + *tail % 8 * 32;
    for (index, word) in words.iter().enumerate() {
        memory.write_all_at(&word.to_ne_bytes(), cell + index as u64 * 8).unwrap();
    }
    *tail += 1;
    memory.write_all_at(&tail.to_ne_bytes(), RESPONSES_TAIL).unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_a_worker_writes_makes_the_front_panic_or_hang(attacks in vec(attack(), 1..60)) {
        let (mut front, memory) = hostile_channel();
        let mut tail = 0;
        for attack in attacks {
            match attack {
                Attack::Scribble(at, bytes) => memory.write_all_at(&bytes, at).unwrap(),
                Attack::Index(at, value) => {
                    memory.write_all_at(&value.to_ne_bytes(), at).unwrap();
                }
                Attack::Publish(words) => publish(&memory, &mut tail, words),
                Attack::Answer(kind, slot, len, bytes) => {
                    memory.write_all_at(&bytes, RESPONSE_AREA).unwrap();
                    let first = u64::from(kind) | u64::from(slot) << 16;
                    publish(&memory, &mut tail, [first, 20, u64::from(len) << 32]);
                }
                Attack::Send(slot, generation, len) => send(&mut front, slot, generation, len),
                Attack::Serve => {
                    let _ = serve(&mut front);
                    let _ = front.responses.prepare_sleep();
                    front.responses.awake();
                }
            }
        }
        let _ = serve(&mut front);
        let _ = front.requests.is_drained();
    }
}

#[test]
fn each_kind_of_lie_is_reported_as_what_it_is() {
    let word = |kind: u64, slot: u64| kind | slot << 16;
    for (words, violation) in [
        ([word(0, 0), 0, 0], Violation::Kind),
        ([word(Kind::Request as u64, 0), 0, 0], Violation::Kind),
        ([word(Kind::Done as u64, 4), 0, 0], Violation::Slot),
        ([word(Kind::Done as u64, 0), 0, (128 * 1024 + 1) << 32], Violation::Payload),
        ([word(Kind::Done as u64, 0), 0, 128 * 1024 + 1], Violation::Payload),
    ] {
        let (mut front, memory) = hostile_channel();
        publish(&memory, &mut 0, words);
        assert_eq!(serve(&mut front), Err(violation));
    }
    let (mut front, memory) = hostile_channel();
    publish(&memory, &mut 8, [0; 3]);
    assert_eq!(serve(&mut front), Err(Violation::Index));
}

#[test]
fn a_worker_that_claims_to_have_taken_what_was_not_sent_breaks_the_ring() {
    let (mut front, memory) = hostile_channel();
    send(&mut front, 0, 1, 100);
    memory.write_all_at(&2u64.to_ne_bytes(), REQUESTS_HEAD).unwrap();
    front.requests.begin_batch();
    assert!(front.requests.is_broken());
    let descriptor = Descriptor::new(Kind::Request, Flags::END, 0, 2, 0);
    assert!(front.requests.send(descriptor, 0, |_| ()).is_err());
}

#[test]
fn a_worker_cannot_shrink_the_memory_under_the_front() {
    let (mut front, memory) = hostile_channel();
    let len = memory.metadata().unwrap().len();
    assert!(memory.set_len(0).is_err());
    assert!(memory.set_len(len + 4096).is_err());
    assert_eq!(serve(&mut front), Ok(0));
}
