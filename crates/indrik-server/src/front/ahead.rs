//! How far a WSGI response may run ahead of its client.
//!
//! A thread that sends a response into a full window sleeps until the client takes some of it, so a
//! few clients that read slowly could hold all workers. The front therefore takes ordinary pages in
//! as fast as the application makes them: a response's bytes count as taken when they arrive, as
//! long as what lies here of it, and of all such responses together, is below a limit. Beyond that
//! they count as taken when the client takes them, and the window is what limits the worker again; unless
//! they go into a file ([`Spool`](super::exchange::Spool)).
//! ASGI needs none of this: there, `await send()` holds up one task only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Of one response: bytes that lie in the front at most before the worker has to wait (and a window
/// more in the end).
const RESPONSE_BUFFER_BYTES_MAX: u64 = 1024 * 1024 + 64 * 1024;
/// Of all responses together.
const RESPONSE_BUFFERS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What a worker may send of a response before the front has taken anything, if it is to lie here anyway: a
/// response of that size is one piece of work for the worker and one for the front. It counts from the start.
pub(super) const ADVANCE_BYTES: u64 = 1024 * 1024;
/// What a piece costs beside its bytes, so that a response of tiny pieces is limited as well.
const PIECE_BYTES: u64 = 128;

/// What lies in the front of all responses together, bytes.
#[derive(Debug, Default)]
pub(super) struct Buffered(AtomicU64);

/// One response's account.
#[derive(Debug)]
pub(super) struct Ahead {
    all: Arc<Buffered>,
    /// Bytes in the front.
    bytes: u64,
    /// Pieces in the front.
    pieces: u64,
    /// Bytes that do not count as taken yet; these are in the front.
    owed: u64,
    /// Bytes that count as taken already and have not come yet.
    advance: u64,
}

impl Ahead {
    pub(super) fn new(all: &Arc<Buffered>) -> Self {
        Self { all: Arc::clone(all), bytes: 0, pieces: 0, owed: 0, advance: 0 }
    }

    /// A response that has [`ADVANCE_BYTES`] of credit. `None`: there is too much here already.
    pub(super) fn with_advance(all: &Arc<Buffered>) -> Option<Self> {
        let before = all.0.fetch_add(ADVANCE_BYTES, Ordering::Relaxed);
        let mut ahead = Self::new(all);
        ahead.advance = ADVANCE_BYTES;
        (before + ADVANCE_BYTES <= RESPONSE_BUFFERS_BYTES_MAX).then_some(ahead)
    }

    /// A piece has come from the worker. Says for how many bytes the worker gets credit. `is_short`:
    /// nothing is to lie here for this client that need not.
    pub(super) fn received(&mut self, bytes: u64, is_short: bool) -> u64 {
        let advance = self.advance.min(bytes);
        self.all.0.fetch_add(bytes - advance + PIECE_BYTES, Ordering::Relaxed);
        self.advance -= advance;
        self.bytes += bytes;
        self.pieces += 1;
        self.owed += bytes - advance;
        self.credit(is_short)
    }

    /// The client's side has taken a piece. Says for how many bytes the worker gets credit.
    pub(super) fn taken(&mut self, bytes: u64, is_short: bool) -> u64 {
        self.all.0.fetch_sub(bytes + PIECE_BYTES, Ordering::Relaxed);
        self.bytes -= bytes;
        self.pieces -= 1;
        self.credit(is_short)
    }

    /// Whether the worker is not given credit for all that it has sent.
    pub(super) const fn holds_up(&self) -> bool {
        self.owed != 0
    }

    fn cost(&self) -> u64 {
        self.bytes + self.pieces * PIECE_BYTES
    }

    fn credit(&mut self, is_short: bool) -> u64 {
        let fits = !is_short
            && self.cost() <= RESPONSE_BUFFER_BYTES_MAX
            && self.all.0.load(Ordering::Relaxed) <= RESPONSE_BUFFERS_BYTES_MAX;
        let left = if fits { 0 } else { self.owed.min(self.bytes) };
        let credit = self.owed - left;
        self.owed = left;
        credit
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.cost() + self.advance, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: u64 = 64 * 1024;

    #[test]
    fn a_page_of_a_mebibyte_never_waits_for_its_client() {
        let mut ahead = Ahead::new(&Arc::default());
        for _ in 0..1024 * 1024 / PIECE {
            assert_eq!(ahead.received(PIECE, false), PIECE);
        }
    }

    #[test]
    fn beyond_the_limit_only_what_the_client_took_counts() {
        let mut ahead = Ahead::new(&Arc::default());
        let credit: u64 = (0..64).map(|_| ahead.received(PIECE, false)).sum();
        assert!(credit <= RESPONSE_BUFFER_BYTES_MAX);
        let mut total = credit;
        for taken in 1..=64 {
            total += ahead.taken(PIECE, false);
            assert!(total >= taken * PIECE, "the worker waits for what was taken");
        }
        assert_eq!(total, 64 * PIECE);
    }

    #[test]
    fn when_memory_is_short_nothing_runs_ahead() {
        let mut ahead = Ahead::new(&Arc::default());
        assert_eq!(ahead.received(PIECE, true), 0);
        assert_eq!(ahead.received(PIECE, true), 0);
        assert_eq!(ahead.taken(PIECE, true), PIECE, "what the client took counts all the same");
        assert_eq!(ahead.taken(PIECE, true), PIECE);
    }

    #[test]
    fn all_together_have_a_limit_and_give_back_what_they_used() {
        let all: Arc<Buffered> = Arc::default();
        let mut many: Vec<Ahead> = (0..100).map(|_| Ahead::new(&all)).collect();
        let credit: u64 =
            (0..16).flat_map(|_| 0..100).map(|i| many[i].received(PIECE, false)).sum();
        assert!(credit <= RESPONSE_BUFFERS_BYTES_MAX);
        for ahead in &mut many {
            let _ = ahead.taken(PIECE, false);
        }
        drop(many);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn an_advance_is_counted_once_and_given_back() {
        let all: Arc<Buffered> = Arc::default();
        let mut ahead = Ahead::with_advance(&all).unwrap();
        let mut credit = 0;
        for _ in 0..ADVANCE_BYTES / PIECE {
            credit += ahead.received(PIECE, false);
        }
        assert_eq!(credit, 0, "it had that credit before");
        assert!(!ahead.holds_up());
        assert_eq!(ahead.received(PIECE / 2, false), PIECE / 2);
        drop(ahead);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
        let many: Vec<Ahead> = (0..1000).map_while(|_| Ahead::with_advance(&all)).collect();
        assert_eq!(many.len() as u64, RESPONSE_BUFFERS_BYTES_MAX / ADVANCE_BYTES);
        drop(many);
        assert_eq!(all.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn tiny_pieces_cost_more_than_their_bytes() {
        let mut ahead = Ahead::new(&Arc::default());
        let credit: u64 = (0..1_000_000).map(|_| ahead.received(1, false)).sum();
        assert!(credit < 10_000);
    }
}
