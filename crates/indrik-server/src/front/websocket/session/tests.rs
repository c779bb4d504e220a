//! The driver against an application and a peer in memory. Time is tokio's, paused: it moves only
//! when everything waits.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::task::JoinHandle;

use super::super::pace;
use super::*;

impl Socket for DuplexStream {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Socket for tokio::io::BufWriter<DuplexStream> {
    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// A stream that says so when it is reset.
struct Resettable {
    stream: DuplexStream,
    gone: Pin<Box<tokio::sync::futures::OwnedNotified>>,
}

impl Socket for Resettable {
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.gone.as_mut().poll(cx)
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The application's end, shared with the test.
#[derive(Default)]
struct Told {
    room: usize,
    delivered: Vec<Message>,
    told: Vec<CloseFrame>,
    commands: VecDeque<Command>,
    asked: usize,
    yields: usize,
    leave: Option<CloseFrame>,
    /// The most that was ever not sent, and held.
    unsent_max: usize,
    held_max: usize,
    waker: Option<Waker>,
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<Told>>);

impl Fake {
    fn with_room(room: usize) -> Self {
        let fake = Self::default();
        fake.0.lock().unwrap().room = room;
        fake
    }

    fn change<T>(&self, change: impl FnOnce(&mut Told) -> T) -> T {
        let mut state = self.0.lock().unwrap();
        let result = change(&mut state);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        result
    }

    fn command(&self, command: Command) {
        self.change(|state| state.commands.push_back(command));
    }

    fn delivered(&self) -> usize {
        self.0.lock().unwrap().delivered.len()
    }

    fn told(&self) -> Vec<u16> {
        self.0.lock().unwrap().told.iter().map(|close| close.code).collect()
    }
}

impl Application for Fake {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap();
        if state.room > 0 {
            return Poll::Ready(());
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    fn deliver(&mut self, message: Message) {
        let mut state = self.0.lock().unwrap();
        state.room = state.room.checked_sub(1).expect("deliver is called only when there is room");
        state.delivered.push(message);
    }

    fn disconnected(&mut self, close: &CloseFrame) {
        self.0.lock().unwrap().told.push(close.clone());
    }

    fn poll_leave(&mut self, cx: &mut Context<'_>) -> Poll<CloseFrame> {
        let mut state = self.0.lock().unwrap();
        let Some(close) = state.leave.take() else {
            state.waker = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(close)
    }

    fn yields(&mut self) {
        self.0.lock().unwrap().yields += 1;
    }

    fn unsent(&mut self, bytes: usize) {
        let mut state = self.0.lock().unwrap();
        state.unsent_max = state.unsent_max.max(bytes);
    }

    fn holds(&mut self, bytes: usize) {
        let mut state = self.0.lock().unwrap();
        state.held_max = state.held_max.max(bytes);
    }

    fn poll_command(&mut self, cx: &mut Context<'_>) -> Poll<Command> {
        let mut state = self.0.lock().unwrap();
        state.asked += 1;
        if let Some(command) = state.commands.pop_front() {
            return Poll::Ready(command);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn start(fake: &Fake, buffer: usize) -> (DuplexStream, JoinHandle<Outcome>) {
    let (peer, socket) = duplex(buffer);
    let connection = Connection::new(1_000_000, None);
    let session = run(socket, connection, b"", fake.clone(), SessionLimits::default());
    (peer, tokio::spawn(session))
}

/// A client's short frame, with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

async fn expect(peer: &mut DuplexStream, bytes: &[u8]) {
    let mut got = vec![0; bytes.len()];
    peer.read_exact(&mut got).await.unwrap();
    assert_eq!(got, bytes);
}

async fn expect_end(peer: &mut DuplexStream) {
    assert_eq!(peer.read(&mut [0]).await.unwrap(), 0);
}

/// Lets everything run until it waits.
async fn let_tasks_run() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn messages_go_both_ways_and_the_application_ends_it() {
    let fake = Fake::with_room(9);
    let (mut peer, session) = start(&fake, 1000);
    peer.write_all(&frame(0x81, b"hi")).await.unwrap();
    let_tasks_run().await;
    assert_eq!(fake.delivered(), 1);
    fake.command(Command::Send(Message::text("ho").into()));
    fake.command(Command::Close(CloseFrame::new(4001, "enough")));
    expect(&mut peer, b"\x81\x02ho\x88\x08\x0f\xa1enough").await;
    peer.write_all(&frame(0x88, b"\x0f\xa1")).await.unwrap();
    expect_end(&mut peer).await;
    drop(peer);
    let outcome = session.await.unwrap();
    assert_eq!(
        (outcome.close.code, outcome.messages_received, outcome.messages_sent),
        (4001, 1, 1)
    );
    assert_eq!(fake.told(), [4001]);
}

#[tokio::test(start_paused = true)]
async fn the_socket_is_not_read_while_the_application_has_no_room() {
    let fake = Fake::with_room(1);
    let (mut peer, _session) = start(&fake, 64);
    let message = frame(0x82, &[0; 58]);
    for _ in 0..2 {
        peer.write_all(&message).await.unwrap();
    }
    // One is delivered, one waits in the session, one fits the pipe, a further one does not.
    peer.write_all(&message).await.unwrap();
    let full = tokio::time::timeout(Duration::from_secs(60), peer.write_all(&message)).await;
    assert!(full.is_err());
    assert_eq!(fake.delivered(), 1);
    // Silence during a pause is ours, not the peer's.
    assert!(fake.told().is_empty());
    fake.change(|state| state.room = 9);
    let_tasks_run().await;
    assert_eq!(fake.delivered(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_answer_to_a_close_waits_for_the_applications_last_words() {
    let fake = Fake::with_room(9);
    let (mut peer, session) = start(&fake, 1000);
    peer.write_all(&[frame(0x81, b"hi"), frame(0x88, b"\x03\xe8")].concat()).await.unwrap();
    let_tasks_run().await;
    assert_eq!(fake.told(), [1000]);
    fake.command(Command::Send(Message::text("ho").into()));
    fake.command(Command::Finished);
    expect(&mut peer, b"\x81\x02ho\x88\x02\x03\xe8").await;
    expect_end(&mut peer).await;
    drop(peer);
    assert_eq!(session.await.unwrap().close.code, 1000);
    assert_eq!(fake.told(), [1000]);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_notice_delays_the_answer_for_a_bounded_time() {
    let fake = Fake::with_room(9);
    let (mut peer, _session) = start(&fake, 1000);
    let before = Instant::now();
    peer.write_all(&frame(0x88, b"\x03\xe8")).await.unwrap();
    expect(&mut peer, b"\x88\x02\x03\xe8").await;
    let waited = before.elapsed();
    let limit = SessionLimits::default().answer_timeout;
    assert!(waited >= limit && waited < 2 * limit, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_violation_is_told_to_both_sides() {
    let fake = Fake::with_room(9);
    let (mut peer, session) = start(&fake, 1000);
    peer.write_all(&frame(0x83, b"")).await.unwrap();
    expect(&mut peer, b"\x88").await;
    let mut rest = Vec::new();
    peer.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest[1..3], [0x03, 0xea]);
    drop(peer);
    assert_eq!(session.await.unwrap().close.code, 1002);
    assert_eq!(fake.told(), [1002]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_vanishes_is_1006() {
    let fake = Fake::with_room(9);
    let (peer, session) = start(&fake, 1000);
    drop(peer);
    assert_eq!(session.await.unwrap().close.code, 1006);
    assert_eq!(fake.told(), [1006]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_pinged_and_then_given_up() {
    let fake = Fake::with_room(9);
    let (mut peer, session) = start(&fake, 1000);
    let before = Instant::now();
    expect(&mut peer, b"\x89\x06indrik").await;
    assert!(before.elapsed() >= Duration::from_secs(20));
    peer.write_all(&frame(0x8a, b"indrik")).await.unwrap();
    expect(&mut peer, b"\x89\x06indrik").await;
    assert!(before.elapsed() >= Duration::from_secs(40));
    expect_end(&mut peer).await;
    assert!(before.elapsed() >= Duration::from_secs(60));
    assert_eq!(session.await.unwrap().close.code, 1006);
    assert_eq!(fake.told(), [1006]);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_given_up_and_buffers_stay_bounded() {
    let fake = Fake::with_room(9);
    let (mut peer, session) = start(&fake, 100);
    for _ in 0..1000 {
        fake.command(Command::Send(Message::Binary(vec![0; 10_000].into()).into()));
    }
    let_tasks_run().await;
    // No more is asked for than fills the output once.
    assert!(fake.change(|state| state.asked) < 20);
    // It answers pings all the while, which does not help it.
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(5)).await;
        peer.write_all(&frame(0x8a, b"")).await.unwrap();
    }
    assert_eq!(session.await.unwrap().close.code, 1006);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_never_answers_our_close_is_given_up() {
    let fake = Fake::with_room(9);
    let (mut peer, session) = start(&fake, 1000);
    fake.command(Command::Finished);
    expect(&mut peer, b"\x88\x02\x03\xe8").await;
    let outcome = session.await.unwrap();
    assert_eq!(outcome.close.code, 1006);
    assert!(fake.told().is_empty());
}

#[tokio::test(start_paused = true)]
async fn text_of_the_application_that_is_not_utf8_ends_the_connection_with_1011() {
    let fake = Fake::with_room(9);
    let (mut peer, _session) = start(&fake, 1000);
    fake.command(Command::Send(Message::Text(vec![0xff].into()).into()));
    let mut head = [0; 4];
    peer.read_exact(&mut head).await.unwrap();
    assert_eq!(head[2..], [0x03, 0xf3]);
}

#[tokio::test(start_paused = true)]
async fn bytes_read_behind_the_request_are_the_first_frames() {
    let fake = Fake::with_room(9);
    let (_peer, socket) = duplex(100);
    let first = frame(0x81, b"early");
    let connection = Connection::new(100, None);
    let session = run(socket, connection, &first, fake.clone(), SessionLimits::default());
    let _ = tokio::time::timeout(Duration::from_secs(1), session).await;
    assert_eq!(fake.delivered(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_layer_holds_back_while_the_socket_is_full_goes_out_when_there_is_room() {
    let fake = Fake::with_room(9);
    let (mut peer, socket) = duplex(16);
    // Takes everything at once and passes it on when it is flushed, as TLS may.
    let holding = tokio::io::BufWriter::with_capacity(4096, socket);
    let connection = Connection::new(100, None);
    let session = run(holding, connection, b"", fake.clone(), SessionLimits::default());
    let session = tokio::spawn(session);
    let text = "x".repeat(100);
    fake.command(Command::Send(Message::text(&text).into()));
    let_tasks_run().await;
    let wanted = [b"\x81\x64", text.as_bytes()].concat();
    let came = tokio::time::timeout(Duration::from_secs(1), expect(&mut peer, &wanted));
    came.await.expect("nothing is held back for ever");
    session.abort();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_tells_both_sides_at_once() {
    let fake = Fake::with_room(9);
    let (mut peer, session) = start(&fake, 1000);
    fake.command(Command::Leave(CloseFrame::new(1012, "")));
    expect(&mut peer, b"\x88\x02\x03\xf4").await;
    assert_eq!(fake.told(), [1012], "before the peer has answered");
    peer.write_all(&frame(0x88, b"\x03\xf4")).await.unwrap();
    expect_end(&mut peer).await;
    drop(peer);
    assert_eq!(session.await.unwrap().close.code, 1012);
    assert_eq!(fake.told(), [1012], "and once");
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_tiny_frames_is_never_read_faster_than_it_is_decoded() {
    for first in [0x89, 0x8a, 0x81] {
        let fake = Fake::with_room(usize::MAX);
        let (mut peer, session) = start(&fake, 1 << 20);
        let flood = frame(first, b"").repeat(50_000);
        peer.write_all(&flood).await.unwrap();
        peer.write_all(&frame(0x88, b"\x03\xe8")).await.unwrap();
        let mut answers = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(60), peer.read_to_end(&mut answers));
        read.await.unwrap().unwrap();
        drop(peer);
        assert_eq!(session.await.unwrap().bytes_received, flood.len() as u64 + 8);
        let (held, yields) = fake.change(|state| (state.held_max, state.yields));
        assert!(yields > 50_000 / TURN_STEPS_MAX / 4, "others wait: {yields}");
        assert!(held < 3 * READ_BYTES, "{first:x}: {held}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_sends_what_is_no_message_is_heard_at_a_pace_and_messages_are_not_slowed() {
    const SPANS: u32 = 20;
    let count = (SPANS * pace::FRAMES_MAX) as usize;
    let part = |bytes: &[u8]| [frame(0x01, b""), frame(0x00, bytes).repeat(count)].concat();
    let floods = [
        (frame(0x89, b"").repeat(count), 0x81, SPANS),
        (frame(0x8a, &[0; 125]).repeat(count), 0x81, SPANS),
        (part(b""), 0x80, SPANS),
        (part(&[b'x'; 64]), 0x80, SPANS / 8),
        (frame(0x81, b"").repeat(count), 0x81, 0),
    ];
    for (flood, last, spans) in floods {
        let fake = Fake::with_room(usize::MAX);
        let (mut peer, _session) = start(&fake, 1 << 22);
        let before = Instant::now();
        peer.write_all(&[flood, frame(last, b"end")].concat()).await.unwrap();
        let is_end = |message: &Message| message.payload().ends_with(b"end");
        while !fake.0.lock().unwrap().delivered.last().is_some_and(is_end) {
            let_tasks_run().await;
        }
        let took = before.elapsed();
        // A timer may be a millisecond late.
        assert!(
            took >= spans * pace::SPAN && took <= (spans + spans / 4 + 1) * pace::SPAN,
            "{took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_is_heard_and_its_last_ping_is_answered_when_it_reads() {
    let fake = Fake::with_room(usize::MAX);
    let (mut peer, _session) = start(&fake, 4096);
    fake.command(Command::Send(Message::Binary(vec![0; 300_000].into()).into()));
    for number in 0..10_000u32 {
        peer.write_all(&frame(0x89, &number.to_be_bytes())).await.unwrap();
    }
    peer.write_all(&frame(0x81, b"still here")).await.unwrap();
    // All that is still on its way.
    tokio::time::sleep(16 * pace::SPAN).await;
    assert_eq!(fake.delivered(), 1);
    assert!(fake.0.lock().unwrap().held_max < 300_000 + 4 * OUTPUT_TARGET_BYTES);
    let mut got = vec![0; 10 + 300_000];
    peer.read_exact(&mut got).await.unwrap();
    let mut pongs = Vec::new();
    let mut buffer = vec![0; 4096];
    while let Ok(Ok(len)) =
        tokio::time::timeout(Duration::from_secs(1), peer.read(&mut buffer)).await
    {
        pongs.extend_from_slice(&buffer[..len]);
    }
    assert!(pongs.len() <= 2 * 4096);
    assert!(pongs.ends_with(&[&[0x8a, 4][..], &9_999u32.to_be_bytes()].concat()));
}

#[tokio::test(start_paused = true)]
async fn a_message_in_parts_goes_out_before_its_end_is_known() {
    let fake = Fake::with_room(9);
    let (mut peer, _session) = start(&fake, 1000);
    let part = |payload: &'static [u8], end| {
        Command::Send(Part { text: true, payload: payload.into(), end })
    };
    // A character is divided between them.
    fake.command(part(b"a\xc3", false));
    expect(&mut peer, b"\x01\x02a\xc3").await;
    fake.command(part(b"", false));
    fake.command(part(b"\xa9b", false));
    expect(&mut peer, b"\x00\x02\xa9b").await;
    peer.write_all(&frame(0x89, b"?")).await.unwrap();
    expect(&mut peer, b"\x8a\x01?").await;
    fake.command(part(b"", true));
    expect(&mut peer, b"\x80\x00").await;
    fake.command(part(b"next", true));
    expect(&mut peer, b"\x81\x04next").await;
}

#[tokio::test(start_paused = true)]
async fn what_the_socket_has_not_taken_is_told() {
    let fake = Fake::with_room(9);
    let (mut peer, _session) = start(&fake, 1000);
    fake.command(Command::Send(Message::Binary(vec![0; 50_000].into()).into()));
    let_tasks_run().await;
    let most = fake.change(|state| state.unsent_max);
    // The pipe has taken a thousand.
    assert_eq!(most, 50_000 + 4 - 1000);
    let mut got = vec![0; 50_000 + 4];
    peer.read_exact(&mut got).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_does_not_wait_for_a_peer_that_takes_nothing() {
    let fake = Fake::with_room(9);
    let (_peer, session) = start(&fake, 100);
    fake.command(Command::Send(Message::Binary(vec![0; 300_000].into()).into()));
    let_tasks_run().await;
    let before = Instant::now();
    fake.change(|state| state.leave = Some(CloseFrame::new(1012, "")));
    let_tasks_run().await;
    assert_eq!(fake.told(), [1012]);
    session.await.unwrap();
    assert!(before.elapsed() <= 2 * SessionLimits::default().close_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_goes_waits_for_a_silent_peer_a_moment_only_also_when_it_was_closing() {
    for closes_before in [false, true] {
        let fake = Fake::with_room(9);
        let (_peer, session) = start(&fake, 1000);
        let_tasks_run().await;
        if closes_before {
            fake.command(Command::Close(CloseFrame::new(1000, "")));
            let_tasks_run().await;
        }
        let before = Instant::now();
        fake.change(|state| state.leave = Some(CloseFrame::new(1012, "")));
        session.await.unwrap();
        assert!(before.elapsed() <= SessionLimits::default().leave_timeout, "{closes_before}");
    }
}

/// What a client and an application do in a simulated session.
#[derive(Clone, Debug)]
enum Move {
    /// The client sends so many frames of one kind, as fast as they are taken for a moment.
    Flood(&'static [u8], usize),
    /// It reads so many bytes.
    Reads(usize),
    /// The application takes so many messages.
    Takes(usize),
    /// It sends a part of a message.
    Sends(usize, bool),
}

fn any_move() -> impl Strategy<Value = Move> {
    const FRAMES: [&[u8]; 5] = [
        b"\x89\x80\0\0\0\0",
        b"\x89\x84\0\0\0\0ping",
        b"\x8a\x80\0\0\0\0",
        b"\x81\x80\0\0\0\0",
        b"\x01\x81\0\0\0\0a\x80\x81\0\0\0\0b",
    ];
    prop_oneof![
        4 => (prop::sample::select(&FRAMES[..]), 1usize..30_000).prop_map(|(f, n)| Move::Flood(f, n)),
        2 => (0usize..400_000).prop_map(Move::Reads),
        2 => (0usize..10_000).prop_map(Move::Takes),
        2 => (0usize..70_000, any::<bool>()).prop_map(|(len, end)| Move::Sends(len, end)),
    ]
}

async fn simulate(moves: Vec<Move>) {
    const PIPE: usize = 64 * 1024;
    let fake = Fake::with_room(0);
    let (peer, session) = start(&fake, PIPE);
    let (mut reads, mut writes) = tokio::io::split(peer);
    for next in moves {
        match next {
            Move::Flood(frame, count) => {
                let flood = frame.repeat(count);
                let mut rest = &flood[..];
                let sending = async {
                    while !rest.is_empty() {
                        let Ok(len) = writes.write(rest).await else { return };
                        rest = &rest[len..];
                    }
                };
                let _ = tokio::time::timeout(Duration::from_millis(5), sending).await;
                if !rest.is_empty() {
                    // It is not read, and no frame can follow in the middle of another.
                    break;
                }
            }
            Move::Reads(mut len) => {
                let mut buffer = vec![0; 16 * 1024];
                while len > 0 {
                    let want = len.min(buffer.len());
                    let read = reads.read(&mut buffer[..want]);
                    match tokio::time::timeout(Duration::from_millis(1), read).await {
                        Ok(Ok(got @ 1..)) => len -= got,
                        _ => break,
                    }
                }
            }
            Move::Takes(count) => fake.change(|state| state.room += count),
            Move::Sends(len, end) => {
                let payload = vec![b'x'; len].into();
                fake.command(Command::Send(Part { text: true, payload, end }));
            }
        }
        let_tasks_run().await;
        let state = fake.0.lock().unwrap();
        // What was read last, one part of at most 70,000 bytes and what it makes; never more, however much
        // is sent or not read.
        let most = 2 * READ_BYTES + 2 * OUTPUT_TARGET_BYTES + 2 * 70_000 + 16 * 1024;
        assert!(state.held_max <= most, "{} of {most}", state.held_max);
        assert!(state.unsent_max <= OUTPUT_TARGET_BYTES + 2 * 70_000 + 8192);
    }
    session.abort();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_both_sides_do_a_session_holds_no_more_than_it_may(
        moves in prop::collection::vec(any_move(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(simulate(moves));
    }
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_not_heard_because_nobody_takes_its_messages_is_pinged_and_found_to_have_gone()
 {
    let fake = Fake::with_room(0);
    let (mut peer, session) = start(&fake, 1000);
    peer.write_all(&frame(0x81, b"nobody takes it")).await.unwrap();
    for _ in 0..3 {
        // Its answer lies behind the message, so none is waited for.
        expect(&mut peer, b"\x89\x06indrik").await;
    }
    drop(peer);
    let outcome = session.await.unwrap();
    assert_eq!(outcome.close.code, 1006);
    assert_eq!(fake.told(), [1006]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_over_ends_its_session_though_nobody_reads_it() {
    let fake = Fake::with_room(0);
    let (mut peer, stream) = duplex(1000);
    let gone = Arc::new(tokio::sync::Notify::new());
    let session = {
        let connection = Connection::new(1_000_000, None);
        let socket = Resettable { stream, gone: Box::pin(Arc::clone(&gone).notified_owned()) };
        tokio::spawn(run(socket, connection, b"", fake.clone(), SessionLimits::default()))
    };
    peer.write_all(&frame(0x81, b"nobody takes it")).await.unwrap();
    let_tasks_run().await;
    let before = Instant::now();
    gone.notify_one();
    assert_eq!(session.await.unwrap().close.code, 1006);
    assert_eq!(before.elapsed(), Duration::ZERO, "at once");
}
