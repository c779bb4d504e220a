//! Bytes on a worker's lane. Whatever they are, they are read as one message and written back as the same bytes,
//! or refused.
#![no_main]

use indrik_ring::{LaneAnswer, LaneAsk};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok((number, ask)) = LaneAsk::decode(bytes) {
        assert_eq!(ask.encode(number), bytes);
    }
    if let Ok((number, answer)) = LaneAnswer::decode(bytes) {
        assert_eq!(answer.encode(number), bytes);
    }
});
