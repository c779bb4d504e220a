//! How far a WSGI response may run ahead of its client.
//!
//! A worker may send so much of a response before it has to wait: its window, and what it is given credit for. All
//! of that may come at any time, so what was promised to workers is as good as held: room is granted ahead only as long as
//! what is held and what is promised together stay below a part of the total. Beyond that a response has its window,
//! and gets credit for what the client took or a file holds. So the account never fills by what was promised before it
//! was short, and an honest client that reads slowly is never cut for it.

use super::account::{Limits, part};

/// Of one response: bytes that lie in the front at most before the worker has to wait (and a window
/// more in the end).
const RESPONSE_BUFFER_BYTES_MAX: u64 = 1024 * 1024 + 64 * 1024;
/// Of all responses together.
const RESPONSE_BUFFERS_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// What a worker may send of a response before the front has taken anything, if it is to lie here anyway: a
/// response of that size is one piece of work for the worker and one for the front. It counts from the start.
pub const ADVANCE_BYTES: u64 = 1024 * 1024;
/// What a piece costs beside its bytes, so that a response of tiny pieces is limited as well.
const PIECE_BYTES: u64 = 128;
/// Hundredths of the total up to which room is granted ahead. The rest is for the windows of those that get none.
const AHEAD_UNTIL: u64 = 30;

/// What all responses together have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// What lies here of them and was granted ahead, as it counts for their common limit.
    pub ahead: u64,
    /// What workers may send without being asked.
    pub promised: u64,
}

/// Where the account stands when something is to be granted.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// How much may be held.
    pub limits: Limits,
    /// How much is.
    pub held: u64,
    /// What all responses have.
    pub shares: Shares,
    /// Nothing is to lie here for this client that need not.
    pub is_short: bool,
}

impl Room {
    /// Whether so much more may be held that could be elsewhere: in a file, or with the worker.
    #[must_use]
    pub fn has(&self, more: u64) -> bool {
        let taken = self.held.saturating_add(self.shares.promised);
        !self.is_short && taken.saturating_add(more) <= part(self.limits.total, AHEAD_UNTIL)
    }
}

/// One response, from when its request goes to a worker.
#[derive(Clone, Copy, Debug)]
pub struct Ahead {
    /// Bytes in the front.
    bytes: u64,
    /// Pieces in the front.
    pieces: u64,
    /// Bytes that do not count as taken yet; these are in the front.
    owed: u64,
    /// Bytes that count as taken already and have not come yet.
    advance: u64,
    /// Bytes that the worker may still send.
    promised: u64,
}

impl Ahead {
    /// A response with nothing but its window.
    #[must_use]
    pub const fn new(window: u64) -> Self {
        Self { bytes: 0, pieces: 0, owed: 0, advance: 0, promised: window }
    }

    /// Its part of what all have.
    #[must_use]
    pub const fn shares(&self) -> Shares {
        Shares { ahead: self.cost() + self.advance, promised: self.promised }
    }

    /// Grants [`ADVANCE_BYTES`], or nothing. Says for how many bytes the worker gets credit.
    pub fn begin(&mut self, room: &Room) -> u64 {
        let all = room.shares.ahead.saturating_add(ADVANCE_BYTES);
        if all > RESPONSE_BUFFERS_BYTES_MAX || !room.has(ADVANCE_BYTES) {
            return 0;
        }
        self.advance = ADVANCE_BYTES;
        self.promised += ADVANCE_BYTES;
        ADVANCE_BYTES
    }

    /// A piece has come from the worker. Says for how many bytes the worker gets credit.
    pub fn received(&mut self, bytes: u64, room: &Room) -> u64 {
        let advance = self.advance.min(bytes);
        self.advance -= advance;
        self.bytes += bytes;
        self.pieces += 1;
        self.owed += bytes - advance;
        self.promised = self.promised.saturating_sub(bytes);
        self.credit(room)
    }

    /// The client's side, or a file, has taken a piece. Says for how many bytes the worker gets credit.
    pub fn taken(&mut self, bytes: u64, room: &Room) -> u64 {
        self.bytes = self.bytes.saturating_sub(bytes);
        self.pieces = self.pieces.saturating_sub(1);
        self.credit(room)
    }

    /// The worker sends nothing more.
    pub const fn is_complete(&mut self) {
        (self.advance, self.promised) = (0, 0);
    }

    /// Whether the worker is not given credit for all that it has sent.
    #[must_use]
    pub const fn holds_up(&self) -> bool {
        self.owed != 0
    }

    const fn cost(&self) -> u64 {
        self.bytes + self.pieces * PIECE_BYTES
    }

    fn credit(&mut self, room: &Room) -> u64 {
        let fits = self.cost() <= RESPONSE_BUFFER_BYTES_MAX
            && room.shares.ahead <= RESPONSE_BUFFERS_BYTES_MAX
            && room.has(self.owed);
        let left = if fits { 0 } else { self.owed.min(self.bytes) };
        let credit = self.owed - left;
        self.owed = left;
        self.promised += credit;
        credit
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PIECE: u64 = 64 * 1024;
    const WINDOW: u64 = 256 * 1024;
    const MIB: u64 = 1 << 20;

    /// What all of these have, where nothing else is held.
    fn room(total: u64, all: &[Ahead]) -> Room {
        let shares = all.iter().map(Ahead::shares).fold(Shares::default(), |sum, one| Shares {
            ahead: sum.ahead + one.ahead,
            promised: sum.promised + one.promised,
        });
        let held = all.iter().map(|ahead| ahead.bytes).sum();
        Room { limits: Limits { total, connection: u64::MAX }, held, shares, is_short: false }
    }

    fn alone(ahead: Ahead) -> Room {
        room(u64::MAX, &[ahead])
    }

    #[test]
    fn a_page_of_a_mebibyte_never_waits_for_its_client() {
        let mut ahead = Ahead::new(WINDOW);
        for _ in 0..1024 * 1024 / PIECE {
            assert_eq!(ahead.received(PIECE, &alone(ahead)), PIECE);
        }
    }

    #[test]
    fn beyond_the_limit_only_what_the_client_took_counts() {
        let mut ahead = Ahead::new(WINDOW);
        let credit: u64 = (0..64).map(|_| ahead.received(PIECE, &alone(ahead))).sum();
        assert!(credit <= RESPONSE_BUFFER_BYTES_MAX);
        let mut total = credit;
        for taken in 1..=64 {
            total += ahead.taken(PIECE, &alone(ahead));
            assert!(total >= taken * PIECE, "the worker waits for what was taken");
        }
        assert_eq!(total, 64 * PIECE);
    }

    #[test]
    fn when_memory_is_short_nothing_runs_ahead() {
        let mut ahead = Ahead::new(WINDOW);
        let short = |ahead| Room { is_short: true, ..alone(ahead) };
        assert_eq!(ahead.begin(&short(ahead)), 0);
        assert_eq!(ahead.received(PIECE, &short(ahead)), 0);
        assert_eq!(ahead.received(PIECE, &short(ahead)), 0);
        let credit = ahead.taken(PIECE, &short(ahead));
        assert_eq!(credit, PIECE, "what the client took counts all the same");
        assert_eq!(ahead.taken(PIECE, &short(ahead)), PIECE);
    }

    #[test]
    fn an_advance_is_counted_once_and_given_back() {
        let mut ahead = Ahead::new(WINDOW);
        assert_eq!(ahead.begin(&alone(ahead)), ADVANCE_BYTES);
        let credit: u64 =
            (0..ADVANCE_BYTES / PIECE).map(|_| ahead.received(PIECE, &alone(ahead))).sum();
        assert_eq!(credit, 0, "it had that credit before");
        assert!(!ahead.holds_up());
        assert_eq!(ahead.received(PIECE / 2, &alone(ahead)), PIECE / 2);
        ahead.is_complete();
        assert_eq!(ahead.shares().promised, 0);
    }

    #[test]
    fn all_together_have_a_limit_however_much_memory_there_is() {
        let mut all = vec![Ahead::new(WINDOW); 1000];
        for at in 0..all.len() {
            let room = room(u64::MAX, &all);
            all[at].begin(&room);
        }
        let granted = all.iter().filter(|ahead| ahead.advance > 0).count() as u64;
        assert_eq!(granted, RESPONSE_BUFFERS_BYTES_MAX / ADVANCE_BYTES);
    }

    #[test]
    fn tiny_pieces_cost_more_than_their_bytes() {
        let mut ahead = Ahead::new(WINDOW);
        let credit: u64 = (0..1_000_000).map(|_| ahead.received(1, &alone(ahead))).sum();
        assert!(credit < 10_000);
    }

    proptest! {
        /// Workers that send all they may, and clients that read when they like, as much as they like: what is here
        /// and what may still come is never more than was granted, and what every response has by its window.
        #[test]
        fn nothing_that_was_promised_fills_the_account(
            total in 4 * MIB..200 * MIB,
            responses in 1usize..80,
            steps in prop::collection::vec((any::<prop::sample::Index>(), 0u64..4), 1..600),
        ) {
            let mut all = vec![Ahead::new(WINDOW); responses];
            for at in 0..responses {
                let room = room(total, &all);
                all[at].begin(&room);
            }
            for (which, step) in steps {
                let at = which.index(responses);
                let room = room(total, &all);
                let (bytes, promised) = (all[at].bytes.min(PIECE), all[at].promised.min(PIECE));
                match step {
                    // The client, or the file, takes a piece.
                    0 if bytes > 0 => all[at].taken(bytes, &room),
                    _ if promised > 0 => all[at].received(promised, &room),
                    _ => 0,
                };
                let room = self::room(total, &all);
                let windows = responses as u64 * WINDOW;
                let most = part(total, AHEAD_UNTIL) + windows;
                prop_assert!(room.held + room.shares.promised <= most);
            }
            // Whatever was taken, the worker goes on: nobody waits for ever.
            for at in 0..responses {
                while all[at].bytes > 0 {
                    let room = room(total, &all);
                    let bytes = all[at].bytes.min(PIECE);
                    all[at].taken(bytes, &room);
                }
                prop_assert!(!all[at].holds_up() && all[at].promised >= WINDOW);
            }
        }
    }
}
