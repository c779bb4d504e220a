//! Tests of blocks on their way.

use proptest::prelude::*;

use super::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Bytes that fields may have.
const FIELDS_MAX: usize = 200_000;
const GET: &[u8] = b"\x82\x87\x01\x04test\x04\x06/hello";

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![len[1], len[2], len[3], kind, flags, 0, 0, 0, 1];
    bytes.extend_from_slice(payload);
    bytes
}

fn headers(block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, block)
}

fn literal(first: u8, name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first, u8::try_from(name.len()).unwrap()];
    bytes.extend_from_slice(name);
    bytes.push(u8::try_from(value.len()).unwrap());
    bytes.extend_from_slice(value);
    bytes
}

/// What is passed on of these bytes, which come in pieces of this size.
fn passed(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut blocks = Blocks::new(FIELDS_MAX);
    let mut all = Vec::new();
    for piece in [PREFACE, bytes].concat().chunks(piece) {
        match blocks.pass(piece) {
            Passed::AsTheyCame => all.extend_from_slice(piece),
            Passed::Others(others) => all.extend_from_slice(&others),
        }
    }
    all.split_off(PREFACE.len())
}

#[test]
fn a_field_that_no_message_may_have_is_replaced_by_one_of_the_same_size() {
    let bad: [(&[u8], &[u8]); 7] = [
        (b"Upper", b"1"),
        (b"a b", b"1"),
        (b"", b"value"),
        (b"x", b"line\nbreak"),
        (b"x", b"\0"),
        (b":unknown", b"1"),
        (b":path", b"\xff"),
    ];
    for (name, value) in bad {
        for first in [0x40, 0x00, 0x10] {
            let field = literal(first, name, value);
            let expected = literal(
                first & 0x40,
                REPLACEMENT,
                &vec![b'x'; name.len() + value.len() - REPLACEMENT.len()],
            );
            let sent = headers(&[GET, &field, GET].concat());
            assert_eq!(passed(&sent, 1000), headers(&[GET, &expected, GET].concat()), "{name:?}");
        }
    }
}

#[test]
fn what_a_message_may_have_is_passed_on_as_it_came() {
    let mut blocks = Blocks::new(FIELDS_MAX);
    let block = [GET, &literal(0x40, b"x-a", b"\tvalue \xe9"), b"\xbe\x3f\xe1\x1f"].concat();
    let sent = [PREFACE, &headers(&block), &frame(0, 0, b"any Bytes\0"), &headers(&block)].concat();
    assert_eq!(blocks.pass(&sent), Passed::AsTheyCame);
    assert_eq!(blocks.held(), 0);
}

#[test]
fn padding_and_priority_are_left_out_of_what_is_mended() {
    let bad = literal(0, b"Upper", b"1");
    let payload = [&[3][..], &[0, 0, 0, 3, 10], GET, &bad, &[0; 3]].concat();
    let sent = frame(HEADERS, END_STREAM | END_HEADERS | PADDED | PRIORITY, &payload);
    assert_eq!(passed(&sent, 7), headers(&[GET, &literal(0, REPLACEMENT, b"xxxx")].concat()));
}

#[test]
fn a_block_in_several_frames_is_one() {
    let bad = literal(0, b"Upper", b"1");
    let (one, two) = bad.split_at(3);
    let sent = [
        frame(HEADERS, END_STREAM, &[GET, one].concat()),
        frame(CONTINUATION, 0, b""),
        frame(CONTINUATION, END_HEADERS, two),
        frame(6, 0, &[0; 8]),
    ]
    .concat();
    let mended = headers(&[GET, &literal(0, REPLACEMENT, b"xxxx")].concat());
    assert_eq!(passed(&sent, 5), [mended, frame(6, 0, &[0; 8])].concat());
}

#[test]
fn a_block_without_end_is_held_up_to_a_limit() {
    let mut blocks = Blocks::new(FIELDS_MAX);
    blocks.pass(&[PREFACE, &frame(HEADERS, 0, GET)].concat());
    let more = frame(CONTINUATION, 0, &[0x82; 16_000]);
    let held = (0..1_000).take_while(|_| blocks.pass(&more) == Passed::Others(Vec::new())).count();
    assert!(held * more.len() < FIELDS_MAX + FRAMING_BYTES_MAX);
    assert_eq!(blocks.pass(&more), Passed::AsTheyCame);
}

/// A name whose every value but one is malformed, as `field` has it.
const REPLACEMENT: &[u8] = b"te";

proptest! {
    #[test]
    fn sound_frames_in_any_pieces_come_out_as_they_are(
        kinds in prop::collection::vec((0u8..12, prop::collection::vec(any::<u8>(), 0..40)), 0..20),
        piece in 1usize..50,
    ) {
        let frames: Vec<u8> = kinds.iter().flat_map(|(kind, payload)| match *kind {
            HEADERS => headers(GET),
            CONTINUATION => frame(0, 0, payload),
            kind => frame(kind, 0, payload),
        }).collect();
        let out = passed(&frames, piece);
        prop_assert_eq!(out, frames);
    }

    #[test]
    fn whatever_comes_nothing_is_lost_in_front_of_what_is_held(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        piece in 1usize..50,
    ) {
        let (whole, pieces) = (passed(&bytes, 10_000), passed(&bytes, piece));
        prop_assert_eq!(whole, pieces);
    }
}
