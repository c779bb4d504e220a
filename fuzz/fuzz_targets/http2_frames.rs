//! Any bytes as frames of HTTP/2: no panic, the pieces in which they come make no difference, and a client that
//! only steers runs out.
#![no_main]

use std::ops::ControlFlow;

use indrik_core::http2::{Allowance, Blocks, FrameReader, Passed};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, u8)| {
    let (bytes, cut) = input;
    let mut whole = Vec::new();
    let mut reader = FrameReader::of_client();
    reader.read(&bytes, |head| {
        assert!(head.body_len() <= head.len as usize);
        whole.push(head);
        ControlFlow::Continue(())
    });
    let mut pieces = Vec::new();
    let mut reader = FrameReader::of_client();
    for piece in bytes.chunks(usize::from(cut).max(1)) {
        let passed = reader.read(piece, |head| {
            pieces.push(head);
            ControlFlow::Continue(())
        });
        assert_eq!(passed, piece.len());
    }
    assert_eq!(whole, pieces);
    let passed = |piece: usize| {
        let mut blocks = Blocks::new(1024);
        let pieces = bytes.chunks(piece).flat_map(|piece| match blocks.pass(piece) {
            Passed::AsTheyCame => piece.to_vec(),
            Passed::Others(others) => others,
        });
        pieces.collect::<Vec<u8>>()
    };
    // A block that is too large is passed on with the piece in which that is found.
    if bytes.len() < 1024 {
        assert_eq!(passed(usize::from(cut).max(1)), passed(bytes.len().max(1)));
    }
    let mut allowance = Allowance::new(0);
    for head in whole {
        let _ = allowance.received(&head, 0);
    }
});
