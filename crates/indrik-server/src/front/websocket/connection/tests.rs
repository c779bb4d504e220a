//! The connection's rules, without a socket.

use proptest::prelude::*;

use super::super::deflate::{Deflater, Inflater};
use super::super::frame::unmask;
use super::super::negotiation::{DeflatePolicy, negotiate};
use super::*;

const MASK: [u8; 4] = [1, 2, 3, 4];
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// A client's frame; `first` is its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = BytesMut::new();
    frame::encode_header(&mut header, false, false, OpCode::Continuation, payload.len());
    header[0] = first;
    header[1] |= 0x80;
    let mut payload = payload.to_vec();
    unmask(&mut payload, MASK, 0);
    [&header[..], &MASK, &payload].concat()
}

fn text(payload: &str) -> Vec<u8> {
    frame(FIN | 1, payload.as_bytes())
}

fn close_frame(code: u16) -> Vec<u8> {
    frame(FIN | 8, &code.to_be_bytes())
}

fn events(connection: &mut Connection, bytes: &[u8]) -> Vec<Event> {
    connection.feed(bytes);
    std::iter::from_fn(|| connection.poll_event()).collect()
}

fn output(connection: &mut Connection) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        connection.fill_output();
        if connection.output().is_empty() {
            return all;
        }
        all.extend_from_slice(connection.output());
        connection.advance_output(connection.output().len());
    }
}

fn message(payload: &str) -> Event {
    Event::Message(Message::text(payload))
}

fn compressing() -> Connection {
    let policy = DeflatePolicy { compress_size_min: 0, ..DeflatePolicy::default() };
    Connection::new(1_000_000, negotiate(["permessage-deflate"], &policy).unwrap())
}

#[test]
fn what_is_inflated_is_told_of_while_it_grows() {
    let policy = DeflatePolicy { compress_size_min: 0, ..DeflatePolicy::default() };
    let deflate = || negotiate(["permessage-deflate"], &policy).unwrap();
    let mut sender = Connection::new(0, deflate());
    sender.send(Message::Binary(vec![0; 8 << 20].into())).unwrap();
    // Its frames are small; the client's mask is put on.
    let mut bytes = Vec::new();
    let mut sent = &output(&mut sender)[..];
    while let [first, len, rest @ ..] = sent {
        let (len, rest) = match len {
            126 => (usize::from(u16::from_be_bytes([rest[0], rest[1]])), &rest[2..]),
            len => (usize::from(*len), rest),
        };
        bytes.extend(frame(*first, &rest[..len]));
        sent = &rest[len..];
    }
    let mut receiver = Connection::new(16 << 20, deflate());
    receiver.feed(&bytes);
    let (mut before, mut messages) = (receiver.memory(), 0);
    while let Some(event) = receiver.poll_event() {
        let memory = receiver.memory();
        assert!(memory < 2 * before + 3 * (1 << 20), "{before} became {memory} at once");
        before = memory;
        messages += usize::from(matches!(event, Event::Message(_)));
    }
    assert_eq!(messages, 1);
}

/// Bytes that do not compress.
fn noise() -> impl Iterator<Item = u8> {
    let next = |x: &u32| Some(x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    std::iter::successors(Some(1), next).map(|x| (x >> 24) as u8)
}

/// The code of the violation that `bytes` are.
fn violation(connection: &mut Connection, bytes: &[u8]) -> u16 {
    match events(connection, bytes).pop() {
        Some(Event::Violation(violation)) => violation.code,
        other => panic!("expected a violation, not {other:?}"),
    }
}

#[test]
fn a_message_comes_out_and_goes_back() {
    let mut connection = Connection::new(100, None);
    assert_eq!(events(&mut connection, &text("Hello")), [message("Hello")]);
    connection.send(Message::text("Hello")).unwrap();
    assert_eq!(output(&mut connection), b"\x81\x05Hello");
}

#[test]
fn fragments_with_a_ping_between_them_make_one_message() {
    let mut connection = Connection::new(100, None);
    let bytes = [frame(1, b"Hel"), frame(FIN | 9, b"?"), frame(FIN, b"lo")].concat();
    let expected = [Event::Part(3), Event::Ping(Bytes::from_static(b"?")), message("Hello")];
    assert_eq!(events(&mut connection, &bytes), expected);
    assert_eq!(output(&mut connection), b"\x8a\x01?");
}

#[test]
fn bad_text_is_refused_inside_a_frame_that_is_still_arriving() {
    let mut connection = Connection::new(100, None);
    let bytes = text("abcdefgh");
    assert_eq!(events(&mut connection, &bytes[..8]), []);
    assert_eq!(violation(&mut connection, &[0xff ^ MASK[2]]), 1007);
    connection.answer_close();
    assert_eq!(output(&mut connection)[..4], [0x88, 2 + 33, 0x03, 0xef]);
    assert!(connection.is_done());
}

#[test]
fn wrong_sequences_of_frames_are_protocol_errors() {
    for bytes in [
        frame(FIN, b"x"),                                // a continuation of nothing
        [frame(1, b"x"), frame(FIN | 1, b"y")].concat(), // a message in a message
        frame(FIN | RSV1 | 1, b"x"),                     // compressed without an agreement
        frame(FIN | 8, b"\x03"),                         // half a close code
    ] {
        assert_eq!(violation(&mut Connection::new(100, None), &bytes), 1002);
    }
    for bytes in [
        frame(FIN | RSV1 | 9, b""),                        // a compressed ping
        [frame(1, b"x"), frame(FIN | RSV1, b"")].concat(), // the bit on a continuation
    ] {
        assert_eq!(violation(&mut compressing(), &bytes), 1002);
    }
}

#[test]
fn a_message_above_the_limit_is_refused_from_its_header() {
    let mut connection = Connection::new(10, None);
    assert_eq!(violation(&mut connection, &text("0123456789a")[..6]), 1009);
}

#[test]
fn a_bomb_is_refused_at_the_limit() {
    let mut data = Vec::new();
    Deflater::new(15, false).push(&vec![b'a'; 5_000_000], &mut data, true);
    assert_eq!(violation(&mut compressing(), &frame(FIN | RSV1 | 1, &data)), 1009);
    assert_eq!(violation(&mut compressing(), &frame(FIN | RSV1 | 1, &[0xff; 9])), 1007);
}

#[test]
fn the_peers_close_is_answered_with_its_code_after_what_was_left_to_say() {
    let mut connection = Connection::new(100, None);
    let got = events(&mut connection, &[close_frame(1001), text("ignored")].concat());
    assert_eq!(got, [Event::Close(CloseFrame::new(1001, ""))]);
    assert!(!connection.is_done());
    connection.send(Message::text("bye")).unwrap();
    connection.answer_close();
    assert_eq!(output(&mut connection), b"\x81\x03bye\x88\x02\x03\xe9");
    assert!(connection.is_done());
    assert_eq!(connection.send(Message::text("late")), Err(Closed));
}

#[test]
fn an_empty_close_is_answered_with_an_empty_close() {
    let mut connection = Connection::new(100, None);
    events(&mut connection, &frame(FIN | 8, b""));
    connection.close(CloseFrame::new(4000, "the application's comes too late"));
    assert_eq!(output(&mut connection), b"\x88\x00");
}

#[test]
fn our_close_waits_for_the_peers_and_nothing_follows_it() {
    let mut connection = Connection::new(5, None);
    connection.send(Message::text("last")).unwrap();
    connection.close(CloseFrame::new(1000, "done"));
    connection.ping(b"x");
    // Messages on their way, even too large ones, and pings mean nothing any more.
    let got = events(&mut connection, &[text("too large now"), frame(FIN | 9, b"p")].concat());
    assert_eq!(got, [Event::Part(13), Event::Ping(Bytes::from_static(b"p"))]);
    assert_eq!(output(&mut connection), b"\x81\x04last\x88\x06\x03\xe8done");
    assert!(!connection.is_done());
    events(&mut connection, &close_frame(1000));
    assert!(connection.is_done());
    assert!(output(&mut connection).is_empty());
}

#[test]
fn a_close_code_that_must_not_be_sent_becomes_1011() {
    let mut connection = Connection::new(5, None);
    connection.close(CloseFrame::new(1006, ""));
    assert_eq!(output(&mut connection), b"\x88\x02\x03\xf3");
}

#[test]
fn output_is_made_piece_by_piece_and_pongs_slip_in_between_frames_only() {
    let mut connection = Connection::new(100, None);
    let payload = Bytes::from(vec![7; 300_000]);
    connection.send(Message::Binary(payload.clone())).unwrap();
    connection.fill_output();
    assert!(connection.output_len() < 3 * OUTPUT_TARGET_BYTES);
    events(&mut connection, &frame(FIN | 9, b"?"));
    let bytes = output(&mut connection);
    assert_eq!(&bytes[10..10 + payload.len()], &payload[..]);
    assert_eq!(&bytes[10 + payload.len()..], b"\x8a\x01?");
}

#[test]
fn a_large_compressed_message_goes_out_in_fragments_that_inflate_to_it() {
    let mut connection = compressing();
    let noise: Vec<u8> = noise().take(300_000).collect();
    connection.send(Message::Binary(noise.clone().into())).unwrap();
    connection.release_memory();
    let bytes = output(&mut connection);
    let (mut rest, mut data, mut firsts) = (&bytes[..], Vec::new(), Vec::new());
    while let [first, second, tail @ ..] = rest {
        let (len, size) = match second {
            126 => (usize::from(u16::from_be_bytes([tail[0], tail[1]])), 2),
            127 => (u64::from_be_bytes(tail[..8].try_into().unwrap()) as usize, 8),
            len => (usize::from(*len), 0),
        };
        firsts.push(*first);
        data.extend_from_slice(&tail[size..size + len]);
        rest = &tail[size + len..];
    }
    assert_eq!(firsts[0], RSV1 | 2);
    assert!(firsts.len() > 2 && firsts[1..firsts.len() - 1].iter().all(|first| *first == 0));
    assert_eq!(firsts.last(), Some(&FIN));
    let (mut inflater, mut out) = (Inflater::new(12, false), Vec::new());
    inflater.push(&data, &mut out, 300_000).unwrap();
    inflater.finish(&mut out, 300_000).unwrap();
    assert_eq!(out, noise);
}

/// Mostly sensible frames, so that sequences get somewhere.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        8 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a, 0xc1]),
        1 => any::<u8>(),
    ];
    let payload = prop_oneof![
        "[a-zé€]{0,5}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..200),
    ];
    (first, payload).prop_map(|(first, payload)| frame(first, &payload))
}

/// Parts of messages from an application, some of them large.
fn any_part() -> impl Strategy<Value = Part> {
    let len = prop_oneof![0usize..10, 0usize..200_000];
    (any::<bool>(), len).prop_map(|(end, len)| Part {
        text: false,
        payload: noise().take(len).collect::<Vec<u8>>().into(),
        end,
    })
}

proptest! {
    /// Whatever the peer sends in whatever pieces, and whatever it takes: driven as the session drives it,
    /// a connection holds at most a message, what was read last, and what it may make of output.
    #[test]
    fn memory_is_bounded_at_every_step(
        frames in prop::collection::vec(any_frame(), 1..30),
        times in 1usize..60,
        cuts in prop::collection::vec(1usize..5_000, 1..8),
        parts in prop::collection::vec(any_part(), 0..4),
        takes in prop::collection::vec(prop_oneof![2 => Just(0usize), 1 => 0usize..100_000], 1..6),
        compress: bool,
    ) {
        const MESSAGE_MAX: usize = 150;
        let policy = DeflatePolicy { compress_size_min: 0, ..DeflatePolicy::default() };
        let deflate = compress.then(|| negotiate(["permessage-deflate"], &policy).unwrap()).flatten();
        let mut connection = Connection::new(MESSAGE_MAX, deflate);
        let codecs = if compress { 300 * 1024 } else { 0 };
        let (mut parts, mut takes) = (parts.into_iter(), takes.iter().cycle());
        let stream = frames.concat().repeat(times);
        let (mut rest, mut cuts) = (&stream[..], cuts.iter().cycle());
        while !rest.is_empty() && connection.is_reading() {
            let cut = rest.len().min(*cuts.next().unwrap());
            connection.feed(&rest[..cut]);
            rest = &rest[cut..];
            loop {
                if !connection.is_sending() && connection.output_len() < OUTPUT_TARGET_BYTES {
                    parts.next().map(|part| connection.send(part));
                }
                connection.fill_output();
                let taken = connection.output().len().min(*takes.next().unwrap());
                connection.advance_output(taken);
                let fits = 4 * MESSAGE_MAX + 2 * 5_000 + 200_000 + 4 * OUTPUT_TARGET_BYTES + 16_384 + codecs;
                prop_assert!(connection.memory() <= fits, "{}", connection.memory());
                if connection.poll_event().is_none() {
                    break;
                }
            }
        }
    }

    #[test]
    fn bytes_split_anywhere_give_the_same_events(
        frames in prop::collection::vec(any_frame(), 0..8),
        garbage in prop::collection::vec(any::<u8>(), 0..10),
        cuts in prop::collection::vec(1usize..40, 1..8),
        compress: bool,
    ) {
        let bytes = [frames.concat(), garbage].concat();
        let new = || if compress { compressing() } else { Connection::new(150, None) };
        let whole = events(&mut new(), &bytes);
        let (mut split, mut rest, mut cuts) = (Vec::new(), &bytes[..], cuts.iter().cycle());
        let mut connection = new();
        while !rest.is_empty() {
            let cut = rest.len().min(*cuts.next().unwrap());
            split.extend(events(&mut connection, &rest[..cut]));
            rest = &rest[cut..];
        }
        prop_assert_eq!(split, whole);
    }

    #[test]
    fn nothing_but_one_close_frame_ends_the_output(
        frames in prop::collection::vec(any_frame(), 0..8), code: u16, reason in ".{0,80}",
    ) {
        let mut connection = Connection::new(150, None);
        events(&mut connection, &frames.concat());
        connection.close(CloseFrame::new(code, reason));
        connection.ping(b"late");
        prop_assert!(connection.send(Message::text("late")).is_err());
        let bytes = output(&mut connection);
        let closes = bytes.windows(2).rev().find(|pair| pair[0] == 0x88);
        prop_assert!(closes.is_some());
        events(&mut connection, &close_frame(1000));
        prop_assert!(connection.is_done());
        prop_assert!(output(&mut connection).is_empty());
    }
}
