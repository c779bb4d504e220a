//! What responses have that run ahead of their clients, one and all together.
//!
//! A thread that sends a response into a full window sleeps until the client takes some of it, so a
//! few clients that read slowly could hold all workers. The front therefore takes ordinary pages in
//! as fast as the application makes them: a response's bytes count as taken when they arrive, as far as
//! there is room (`indrik_core::memory::ahead` decides that). Beyond that they count as taken when the client takes
//! them, and the window is what limits the worker again; unless they go into a file
//! ([`Spool`](super::exchange::Spool)).
//! ASGI needs none of this: there, `await send()` holds up one task only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indrik_core::memory::ahead::{self, Room, Shares};

use indrik_ring::RESPONSE_WINDOW;

use super::account::Holder;

/// What all responses together have.
#[derive(Debug, Default)]
pub(super) struct Buffered {
    ahead: AtomicU64,
    promised: AtomicU64,
}

impl Buffered {
    /// What may be granted for a client.
    pub(super) fn room(&self, holder: &Holder) -> Room {
        let shares = Shares {
            ahead: self.ahead.load(Ordering::Relaxed),
            promised: self.promised.load(Ordering::Relaxed),
        };
        let (limits, held) = holder.account();
        Room { limits, held, shares, is_short: holder.is_short() }
    }

    fn change(&self, from: Shares, to: Shares) {
        let change = |all: &AtomicU64, from: u64, to: u64| {
            if from != to {
                all.fetch_add(to.wrapping_sub(from), Ordering::Relaxed);
            }
        };
        change(&self.ahead, from.ahead, to.ahead);
        change(&self.promised, from.promised, to.promised);
    }
}

/// One response's account.
#[derive(Debug)]
pub(super) struct Ahead {
    all: Arc<Buffered>,
    response: ahead::Ahead,
}

impl Ahead {
    /// A response whose request goes to a worker, and for how many bytes that gets credit at once.
    pub(super) fn begin(all: &Arc<Buffered>, holder: &Holder) -> (Self, u64) {
        let response = ahead::Ahead::new(RESPONSE_WINDOW);
        all.change(Shares::default(), response.shares());
        let mut this = Self { all: Arc::clone(all), response };
        let credit = this.with(holder, ahead::Ahead::begin);
        (this, credit)
    }

    /// A piece has come from the worker. Says for how many bytes the worker gets credit.
    pub(super) fn received(&mut self, bytes: u64, holder: &Holder) -> u64 {
        self.with(holder, |response, room| response.received(bytes, room))
    }

    /// The client's side has taken a piece. Says for how many bytes the worker gets credit.
    pub(super) fn taken(&mut self, bytes: u64, holder: &Holder) -> u64 {
        self.with(holder, |response, room| response.taken(bytes, room))
    }

    /// The worker sends nothing more.
    pub(super) fn is_complete(&mut self) {
        let before = self.response.shares();
        self.response.is_complete();
        self.all.change(before, self.response.shares());
    }

    /// Whether the worker is not given credit for all that it has sent.
    pub(super) const fn holds_up(&self) -> bool {
        self.response.holds_up()
    }

    fn with(&mut self, holder: &Holder, act: impl FnOnce(&mut ahead::Ahead, &Room) -> u64) -> u64 {
        let before = self.response.shares();
        let credit = act(&mut self.response, &self.all.room(holder));
        self.all.change(before, self.response.shares());
        credit
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        self.all.change(self.response.shares(), Shares::default());
    }
}

#[cfg(test)]
mod tests {
    use indrik_core::memory::account::Limits;
    use indrik_core::memory::ahead::ADVANCE_BYTES;

    use super::super::account::Account;
    use super::*;

    #[test]
    fn what_responses_have_is_given_back_however_they_end() {
        let limits = Limits { total: 100 << 20, connection: u64::MAX };
        let holder = Holder::new(&Account::new(limits));
        let all: Arc<Buffered> = Arc::default();
        let mut responses: Vec<Ahead> = (0..100).map(|_| Ahead::begin(&all, &holder).0).collect();
        assert!(all.promised.load(Ordering::Relaxed) > 100 * RESPONSE_WINDOW);
        for (number, response) in responses.iter_mut().enumerate() {
            response.received(ADVANCE_BYTES / 8, &holder);
            if number % 2 == 0 {
                response.taken(ADVANCE_BYTES / 8, &holder);
                response.is_complete();
            }
        }
        drop(responses);
        assert_eq!(all.promised.load(Ordering::Relaxed), 0);
        assert_eq!(all.ahead.load(Ordering::Relaxed), 0);
    }
}
