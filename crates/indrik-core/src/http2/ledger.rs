//! What a connection's library holds of bodies, stream by stream: of requests, what nobody has taken out of it; of
//! answers, what is not written.
//!
//! The library does not say it. It is known by the frames that pass, and by what its users take and give; each
//! byte that is counted is given back by exactly one of: it was taken, it was written, its stream's half is over.

/// What a frame of a body takes beside its bytes: its place in the library's queue, and its padding.
const FRAME_BYTES: usize = 512;

/// What is held of all streams.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// Those of which something is held or awaited, by their numbers.
    streams: Vec<(u32, Entry)>,
    received: usize,
    unsent: usize,
    /// Some of it may have been thrown away.
    is_any_unread: bool,
    /// The frame of an answer that is being written.
    passing: Option<(u32, usize)>,
}

/// One stream.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Of its request's body.
    received: usize,
    /// Of its answer's body.
    unsent: usize,
    /// Somebody has its request's body.
    is_read: bool,
}

impl Ledger {
    /// Bytes of requests.
    #[must_use]
    pub const fn received(&self) -> usize {
        self.received
    }

    /// Bytes of answers.
    #[must_use]
    pub const fn unsent(&self) -> usize {
        self.unsent
    }

    // --- requests

    /// A frame of a body has come. Whether the library keeps it is not known yet.
    pub fn receives(&mut self, stream: u32, bytes: usize) {
        if bytes > 0 {
            let entry = self.entry(stream);
            entry.received += bytes + FRAME_BYTES;
            let is_read = entry.is_read;
            self.received += bytes + FRAME_BYTES;
            self.is_any_unread |= !is_read;
        }
    }

    /// The library has looked at all that came, and every request that it found has its reader: what belongs to
    /// others was thrown away.
    pub fn was_looked_at(&mut self) {
        if !std::mem::take(&mut self.is_any_unread) {
            return;
        }
        self.received = 0;
        self.streams.retain_mut(|(_, entry)| {
            if !entry.is_read {
                entry.received = 0;
            }
            self.received += entry.received;
            !entry.is_empty()
        });
    }

    /// A stream's body has a reader from now on.
    pub fn is_read(&mut self, stream: u32) {
        self.entry(stream).is_read = true;
    }

    /// A frame has been taken out of the library; its bytes are held by its reader yet ([`Self::took`]).
    pub fn took_frame(&mut self, stream: u32, bytes: usize) {
        if bytes > 0 {
            self.give_back(stream, FRAME_BYTES);
        }
    }

    /// The reader holds so many bytes less.
    pub fn took(&mut self, stream: u32, bytes: usize) {
        self.give_back(stream, bytes);
    }

    fn give_back(&mut self, stream: u32, bytes: usize) {
        if let Ok(at) = self.find(stream) {
            let entry = &mut self.streams[at].1;
            let bytes = bytes.min(entry.received);
            entry.received -= bytes;
            self.received -= bytes;
        }
    }

    /// Nobody has the body any more, and the library keeps nothing of it.
    pub fn is_read_no_more(&mut self, stream: u32) {
        self.change(stream, |entry| (entry.received, entry.is_read) = (0, false));
    }

    // --- answers

    /// The library has got bytes of an answer.
    pub fn sends(&mut self, stream: u32, bytes: usize) {
        if bytes > 0 {
            self.entry(stream).unsent += bytes;
            self.unsent += bytes;
        }
    }

    /// The head of a frame of an answer is written: all before it is.
    pub fn writes(&mut self, stream: u32, bytes: usize) {
        self.wrote_all();
        self.passing = Some((stream, bytes));
    }

    /// The socket has all that the client has room for.
    pub fn wrote_all(&mut self) {
        if let Some((stream, bytes)) = self.passing.take() {
            self.change(stream, |entry| entry.unsent = entry.unsent.saturating_sub(bytes));
        }
    }

    /// The stream is reset: what was not written will not be.
    pub fn is_reset(&mut self, stream: u32) {
        self.change(stream, |entry| entry.unsent = 0);
    }

    /// The connection is over: nothing more is written.
    pub fn is_over(&mut self) {
        self.was_looked_at();
        self.passing = None;
        self.unsent = 0;
        self.streams.retain_mut(|(_, entry)| {
            entry.unsent = 0;
            !entry.is_empty()
        });
    }

    fn find(&self, stream: u32) -> Result<usize, usize> {
        self.streams.binary_search_by_key(&stream, |(number, _)| *number)
    }

    fn entry(&mut self, stream: u32) -> &mut Entry {
        let at = self.find(stream).unwrap_or_else(|at| {
            self.streams.insert(at, (stream, Entry::default()));
            at
        });
        &mut self.streams[at].1
    }

    fn change(&mut self, stream: u32, act: impl FnOnce(&mut Entry)) {
        let Ok(at) = self.find(stream) else { return };
        let entry = &mut self.streams[at].1;
        let before = *entry;
        act(entry);
        self.received -= before.received - entry.received;
        self.unsent -= before.unsent - entry.unsent;
        if entry.is_empty() {
            self.streams.remove(at);
        }
    }
}

impl Entry {
    const fn is_empty(&self) -> bool {
        self.received == 0 && self.unsent == 0 && !self.is_read
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, VecDeque};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_library_throws_away_is_not_held() {
        let mut ledger = Ledger::default();
        ledger.receives(1, 1000);
        ledger.receives(3, 1000);
        assert_eq!(ledger.received(), 2 * (1000 + FRAME_BYTES));
        ledger.is_read(1);
        ledger.was_looked_at();
        assert_eq!(ledger.received(), 1000 + FRAME_BYTES);
        ledger.is_read_no_more(1);
        ledger.receives(1, 1000);
        ledger.was_looked_at();
        assert_eq!((ledger.received(), ledger.streams.len()), (0, 0));
    }

    #[test]
    fn a_frame_is_held_until_the_next_one_begins_or_all_is_written() {
        let mut ledger = Ledger::default();
        ledger.sends(1, 3000);
        ledger.writes(1, 1000);
        assert_eq!(ledger.unsent(), 3000);
        ledger.writes(1, 1000);
        assert_eq!(ledger.unsent(), 2000);
        ledger.wrote_all();
        // The client has no room for the rest.
        assert_eq!(ledger.unsent(), 1000);
        ledger.wrote_all();
        assert_eq!(ledger.unsent(), 1000);
        ledger.is_reset(1);
        assert_eq!((ledger.unsent(), ledger.streams.len()), (0, 0));
    }

    /// What a client, the library and its users do to one of a few streams.
    #[derive(Clone, Copy, Debug)]
    enum Act {
        Receive(usize),
        Accept,
        Take,
        GiveUp,
        Look,
        Send(usize),
        Write(usize),
        WroteAll,
        Reset,
    }

    /// A library as it is to its ledger.
    #[derive(Default)]
    struct Stream {
        frames: VecDeque<usize>,
        is_read: bool,
        unsent: usize,
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0usize..3000).prop_map(Act::Receive),
            Just(Act::Accept),
            Just(Act::Take),
            Just(Act::GiveUp),
            Just(Act::Look),
            (0usize..3000).prop_map(Act::Send),
            (1usize..2000).prop_map(Act::Write),
            Just(Act::WroteAll),
            Just(Act::Reset),
        ]
    }

    proptest! {
        #[test]
        fn what_is_counted_is_what_is_held_and_all_of_it_is_given_back(
            acts in prop::collection::vec((0u32..4, act()), 0..200),
        ) {
            let mut ledger = Ledger::default();
            let mut streams: BTreeMap<u32, Stream> = BTreeMap::new();
            let mut passing: Option<(u32, usize)> = None;
            for (number, act) in acts {
                let stream = streams.entry(number).or_default();
                match act {
                    Act::Receive(bytes) => {
                        ledger.receives(number, bytes);
                        stream.frames.push_back(bytes);
                    }
                    Act::Accept => {
                        ledger.is_read(number);
                        stream.is_read = true;
                    }
                    Act::Take if stream.is_read => {
                        if let Some(bytes) = stream.frames.pop_front() {
                            ledger.took_frame(number, bytes);
                            ledger.took(number, bytes / 2);
                            ledger.took(number, bytes - bytes / 2);
                        }
                    }
                    Act::Take => {}
                    Act::GiveUp => {
                        ledger.is_read_no_more(number);
                        stream.is_read = false;
                        stream.frames.clear();
                    }
                    Act::Look => {
                        ledger.was_looked_at();
                        streams.values_mut().filter(|it| !it.is_read).for_each(|it| it.frames.clear());
                    }
                    Act::Send(bytes) => {
                        ledger.sends(number, bytes);
                        stream.unsent += bytes;
                    }
                    Act::Write(bytes) => {
                        let bytes = bytes.min(stream.unsent);
                        if passing.is_none() && bytes > 0 {
                            ledger.writes(number, bytes);
                            passing = Some((number, bytes));
                        }
                    }
                    Act::WroteAll => {
                        ledger.wrote_all();
                        if let Some((number, bytes)) = passing.take() {
                            let stream = streams.entry(number).or_default();
                            stream.unsent = stream.unsent.saturating_sub(bytes);
                        }
                    }
                    Act::Reset => {
                        ledger.is_reset(number);
                        stream.unsent = 0;
                    }
                }
                let frames = |it: &Stream| it.frames.iter().map(|it| match it {
                    0 => 0,
                    bytes => bytes + FRAME_BYTES,
                }).sum::<usize>();
                prop_assert_eq!(ledger.received(), streams.values().map(frames).sum::<usize>());
                prop_assert_eq!(ledger.unsent(), streams.values().map(|it| it.unsent).sum::<usize>());
            }
            ledger.is_over();
            prop_assert_eq!(ledger.unsent(), 0);
            for number in 0..4 {
                ledger.is_read_no_more(number);
            }
            prop_assert_eq!((ledger.received(), ledger.streams.len()), (0, 0));
        }
    }
}
