//! A real front's end of a channel whose shared memory the input scribbles on, as a hostile worker
//! could. The front may report a violation; it must not panic, read outside or loop.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use indrik_ring::{
    ChannelLimits, Descriptor, Flags, FrontChannel, Headers, Kind, ResponseHead, channel_pair,
};
use libfuzzer_sys::fuzz_target;

const LIMITS: ChannelLimits =
    ChannelLimits { slots: 4, descriptors: 8, request_area: 128 * 1024, response_area: 128 * 1024, body_area: 0 };
/// Where the parts begin that a worker would attack; see `layout.rs` of the ring.
const RESPONSES_TAIL: u64 = 896;
const RESPONSE_CELLS: u64 = 4096 + 4 * 256 + 8 * 32;
const RESPONSE_AREA: u64 = 8192 + 128 * 1024;

/// The input as a row of small numbers and byte strings; zeros when it is used up.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn number(&mut self, bytes: usize) -> u64 {
        self.take(bytes).iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

/// Takes whatever is there. False: a violation, at which a front gives the channel up.
fn serve(front: &mut FrontChannel, payload: &mut Vec<u8>) -> bool {
    for _ in 0..=LIMITS.descriptors {
        let Ok(received) = front.responses.receive() else { return false };
        let Some(descriptor) = received else {
            let _ = front.responses.release();
            return true;
        };
        front.responses.copy_payload(&descriptor, payload);
        let head = payload.get(..descriptor.aux as usize).unwrap_or(payload);
        let _ = ResponseHead::decode(head).map(|head| head.headers.count());
        let _ = Headers::decode(payload).map(Iterator::count);
        let _ = front.slots.state(descriptor.slot, descriptor.generation);
        let _ = front.slots.response_took(descriptor.slot, u64::from(descriptor.len));
        let _ = front.slots.request_taken(descriptor.slot);
    }
    panic!("a ring gave more than its cells without a look at the tail");
}

fuzz_target!(|bytes: &[u8]| {
    let (ours, theirs) = channel_pair(LIMITS).expect("the limits are good");
    let memory = File::from(theirs.memory);
    let write = |bytes: &[u8], at: u64| memory.write_all_at(bytes, at).expect("inside the memory");
    let mut front = FrontChannel::open(ours, LIMITS).expect("it was just made");
    let mut input = Input(bytes);
    let (mut payload, mut tail, mut generation) = (Vec::new(), 0u64, 0u32);
    while !input.0.is_empty() {
        match input.number(1) % 5 {
            0 => {
                let at = input.number(2) % 8192;
                write(input.take(8), at);
            }
            1 => {
                // A descriptor, published as the next one.
                let cell = RESPONSE_CELLS + tail % 8 * 32;
                let first = input.number(1) | (input.number(1) % 5) << 16;
                let place = input.number(3) % 140_000 | (input.number(3) % 140_000) << 32;
                for (index, word) in [first, input.number(1), place, input.number(2)].iter().enumerate() {
                    write(&word.to_ne_bytes(), cell + index as u64 * 8);
                }
                tail += 1;
                write(&tail.to_ne_bytes(), RESPONSES_TAIL);
            }
            2 => {
                let len = input.number(1) as usize;
                write(input.take(len), RESPONSE_AREA);
            }
            3 => {
                let (slot, len) = ((input.number(1) % 4) as u16, input.number(2) as usize);
                generation += 1;
                front.slots.begin(slot, generation);
                let descriptor = Descriptor::new(Kind::Request, Flags::END, slot, generation, 0);
                if front.requests.send(descriptor, len, |into| into.fill(1)).is_err() {
                    let _ = front.requests.starve();
                }
                let _ = front.slots.reclaim(slot, generation);
                front.flush();
            }
            _ => {
                if !serve(&mut front, &mut payload) || front.responses.prepare_sleep().is_err() {
                    return;
                }
            }
        }
    }
    let _ = serve(&mut front, &mut payload);
});
