//! The client's side of a WebSocket: any bytes in any pieces, taken as slowly as the client likes. No panic, what
//! is held stays bounded at every step, and what is read does not depend on the pieces.
#![no_main]

use bytes::Bytes;
use indrik_server::front::websocket::negotiation::{DeflatePolicy, negotiate};
use indrik_server::front::websocket::{Connection, Event, Part};
use libfuzzer_sys::fuzz_target;

const MESSAGE_MAX: usize = 1000;
/// A message twice, what was fed, output, and a compressor with an inflater.
const MEMORY_MAX: usize = 2 * MESSAGE_MAX + 4096 + 4 * 64 * 1024 + 300 * 1024;

fuzz_target!(|input: (bool, Vec<u8>, Vec<u8>)| {
    let (compress, pieces, bytes) = input;
    let new = || {
        let policy = DeflatePolicy { compress_size_min: 0, ..DeflatePolicy::default() };
        let offer = ["permessage-deflate"];
        let deflate = compress.then(|| negotiate(offer, &policy).ok().flatten()).flatten();
        Connection::new(MESSAGE_MAX, deflate)
    };
    let mut whole = new();
    whole.feed(&bytes);
    let expected: Vec<Event> = std::iter::from_fn(|| whole.poll_event()).collect();

    let (mut connection, mut events) = (new(), Vec::new());
    let mut sizes = pieces.iter().map(|size| usize::from(*size)).chain(std::iter::repeat(256));
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        let len = sizes.next().unwrap_or(1).clamp(1, rest.len());
        connection.feed(&rest[..len]);
        rest = &rest[len..];
        while let Some(event) = connection.poll_event() {
            events.push(event);
            if !connection.is_sending() {
                let payload = Bytes::copy_from_slice(&bytes[..len]);
                let _ = connection.send(Part { text: false, payload, end: len % 2 == 0 });
            }
            connection.fill_output();
            let taken = connection.output().len().min(len);
            connection.advance_output(taken);
            assert!(connection.memory() <= MEMORY_MAX, "{}", connection.memory());
        }
    }
    assert_eq!(events, expected);
});
