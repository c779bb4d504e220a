//! What a connection holds of its streams, as it is charged for it.

use std::sync::Arc;

use http::HeaderMap;
use indrik_core::http2::Ledger;
use parking_lot::Mutex;

use super::super::reaper::Watch;
use crate::front::account::Charge;

/// What a request takes by being there: its task, its head, its state in the library.
const STREAM_BYTES: usize = 4096;
/// What the library keeps for a frame that it has to answer, by an estimate: an entry of its queue, and of its
/// table of streams for a while after one was reset.
const ANSWER_BYTES: usize = 512;
/// What a field of a head takes beside its name and its value.
const FIELD_BYTES: usize = 32;

/// What is held between the socket and the request path. Every change is charged at once; what the connection's end
/// gives back, and what its streams do, is told apart.
pub(crate) struct Held {
    state: Mutex<State>,
    watch: Arc<Watch>,
}

struct State {
    charge: Charge,
    /// Requests that have begun and are not over.
    streams: usize,
    /// Bodies in the library.
    ledger: Ledger,
    /// Bytes of answers that were taken from whoever makes them, and for which the client has no room.
    waiting: usize,
    /// Heads of answers given to the library since the socket took all it had.
    heads: usize,
    /// Bytes of a request's head that is not complete.
    block: usize,
    /// Frames that may have made the library keep an answer, since the socket took all it had.
    answers: usize,
    /// The connection is over: the library keeps nothing that was to be written.
    is_over: bool,
}

impl Held {
    pub(super) fn new(watch: &Arc<Watch>) -> Self {
        let state = State {
            charge: Charge::of(watch.holder()),
            streams: 0,
            ledger: Ledger::default(),
            waiting: 0,
            heads: 0,
            block: 0,
            answers: 0,
            is_over: false,
        };
        Self { state: Mutex::new(state), watch: Arc::clone(watch) }
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let result = act(&mut state);
        let bytes = state.bytes();
        state.charge.set(bytes);
        self.watch.set_unwritten(state.ledger.unsent() + state.waiting);
        result
    }

    // --- requests

    /// A request has begun.
    pub(super) fn begins(&self) {
        self.change(|state| state.streams += 1);
    }

    /// It is over, with its answer.
    pub(super) fn ends(&self) {
        self.change(|state| state.streams = state.streams.saturating_sub(1));
    }

    /// A frame of a request's body has come.
    pub(super) fn receives(&self, stream: u32, bytes: usize) {
        self.change(|state| state.ledger.receives(stream, bytes));
    }

    /// A frame has come that carries no request and no body of one.
    pub(super) fn answers(&self) {
        self.change(|state| state.answers += 1);
    }

    /// So many bytes of a head are held.
    pub(super) fn hold_block(&self, bytes: usize) {
        self.change(|state| state.block = bytes);
    }

    /// Somebody reads a stream's body from now on.
    pub(super) fn is_read(&self, stream: u32) {
        self.change(|state| state.ledger.is_read(stream));
    }

    /// A frame is taken out of the library by who reads it.
    pub(super) fn took_frame(&self, stream: u32, bytes: usize) {
        self.change(|state| state.ledger.took_frame(stream, bytes));
    }

    /// Bytes of it are somebody else's.
    pub(super) fn took(&self, stream: u32, bytes: usize) {
        self.change(|state| state.ledger.took(stream, bytes));
    }

    /// Nobody reads the body any more, and the library has thrown away what was left.
    pub(super) fn is_read_no_more(&self, stream: u32) {
        self.change(|state| state.ledger.is_read_no_more(stream));
    }

    // --- answers

    /// The library has got a head, or trailers.
    pub(super) fn sends_head(&self, fields: &HeaderMap) {
        let bytes =
            fields.iter().map(|(name, value)| name.as_str().len() + value.len() + FIELD_BYTES);
        let bytes: usize = bytes.sum();
        self.change(|state| state.heads += if state.is_over { 0 } else { bytes });
    }

    /// The library has got bytes of an answer's body.
    pub(super) fn sends(&self, stream: u32, bytes: usize) {
        self.change(|state| state.ledger.sends(stream, if state.is_over { 0 } else { bytes }));
    }

    /// A frame of an answer's body goes out.
    pub(super) fn writes(&self, stream: u32, bytes: usize) {
        self.change(|state| state.ledger.writes(stream, bytes));
    }

    /// A stream was reset, by either side.
    pub(super) fn is_reset(&self, stream: u32) {
        self.change(|state| state.ledger.is_reset(stream));
    }

    /// For an answer that waits for its client's room.
    pub(super) const fn waiting(&self) -> Waiting<'_> {
        Waiting { held: self, bytes: 0 }
    }

    // --- the connection

    /// The library has looked at all that came, and the socket has taken all that it had to write.
    pub(super) fn is_idle(&self) {
        self.change(|state| {
            (state.heads, state.answers) = (0, 0);
            state.ledger.wrote_all();
            state.ledger.was_looked_at();
        });
    }

    /// The connection is over. What its requests have taken out, and will, is theirs to give back.
    pub(super) fn is_over(&self) {
        self.change(|state| {
            (state.heads, state.answers, state.block) = (0, 0, 0);
            state.ledger.is_over();
            state.is_over = true;
        });
    }
}

impl State {
    /// All of it. The first stream is covered by what every connection is charged.
    fn bytes(&self) -> usize {
        let bodies = self.ledger.received() + self.ledger.unsent() + self.waiting;
        self.streams.saturating_sub(1) * STREAM_BYTES
            + bodies
            + self.heads
            + self.block
            + self.answers * ANSWER_BYTES
    }
}

/// What an answer has taken out and cannot pass on; given back when it is dropped.
pub(super) struct Waiting<'a> {
    held: &'a Held,
    bytes: usize,
}

impl Waiting<'_> {
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes != self.bytes {
            let before = std::mem::replace(&mut self.bytes, bytes);
            self.held.change(|state| state.waiting = state.waiting + bytes - before);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use indrik_core::memory::account::Limits;

    use super::super::super::reaper::Connections;
    use super::*;
    use crate::front::account::Account;

    fn held() -> (Held, Arc<Watch>) {
        let limits = Limits { total: u64::MAX, connection: u64::MAX };
        let watch = Connections::default().add(&Account::new(limits)).1;
        (Held::new(&watch), watch)
    }

    #[test]
    fn what_is_given_out_and_not_written_is_what_the_watch_says() {
        let (held, watch) = held();
        let mut waiting = held.waiting();
        waiting.set(200_000);
        assert_eq!(watch.unwritten(), 200_000);
        waiting.set(150_000);
        held.sends(1, 50_000);
        held.writes(1, 16_384);
        assert_eq!(watch.unwritten(), 200_000, "of a frame, the head is written only");
        held.is_idle();
        assert_eq!(watch.unwritten(), 200_000 - 16_384);
        drop(waiting);
        held.is_reset(1);
        assert_eq!(watch.unwritten(), 0);
    }

    #[test]
    fn a_connection_that_ends_is_charged_for_what_its_requests_still_have_and_then_for_nothing() {
        let (held, watch) = held();
        let charged = || watch.holder().bytes();
        (0..5).for_each(|_| held.begins());
        assert_eq!(charged(), 4 * STREAM_BYTES as u64);
        held.is_read(1);
        for stream in [1, 3] {
            held.receives(stream, 100_000);
            held.sends(stream, 100_000);
        }
        let mut fields = HeaderMap::new();
        fields.insert("x", HeaderValue::from_bytes(&[b'x'; 50_000]).unwrap());
        held.sends_head(&fields);
        held.hold_block(50_000);
        (0..100).for_each(|_| held.answers());
        assert!(charged() > 550_000);
        held.is_over();
        (0..5).for_each(|_| held.ends());
        assert!((100_000..110_000).contains(&charged()), "{} bytes", charged());
        held.sends(1, 100_000);
        held.sends_head(&fields);
        held.took_frame(1, 100_000);
        held.took(1, 60_000);
        held.is_read_no_more(1);
        assert_eq!((charged(), watch.unwritten()), (0, 0));
    }
}
