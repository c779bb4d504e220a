//! Whose turn it is to send a piece of a body, where there is not room for all of them.
//!
//! Whoever finds no room, or others who wait for it, stands in line. When there may be room those in front are
//! called, and only they may send, each a piece or two: whoever has sent begins at the end. So one that sends a lot
//! never keeps another from sending at all, and those that cannot be served are not even woken.

use std::collections::VecDeque;

/// So many may try at once: the first of them fill the room that there is, before the thread comes to the others.
const CALLED_MAX: usize = 8;
/// Pieces that are sent in one turn, if nobody else sends in between: what is read from a client at once is often a
/// little more than one.
const TURN_PIECES: usize = 2;

/// Those who wait for room, in the order in which they came.
#[derive(Debug, Default)]
pub struct Line<T> {
    waiting: VecDeque<T>,
    /// So many in front have been told to try.
    called: usize,
    /// Who has sent last, and how many pieces.
    turn: Option<(T, usize)>,
}

impl<T: Copy + Eq> Line<T> {
    /// Whether nobody waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether it may try to send. Else it is in line now, and will be called.
    #[must_use]
    pub fn may_send(&mut self, who: T) -> bool {
        match self.place(who) {
            Some(at) => at < self.called,
            None if self.waiting.is_empty() || self.has_turn(who) => true,
            None => {
                self.waiting.push_back(who);
                false
            }
        }
    }

    /// It tried, and there is no room: it waits where it stands, and nobody tries until there may be some.
    pub fn found_no_room(&mut self, who: T) {
        if self.place(who).is_none() {
            self.waiting.push_back(who);
        }
        (self.called, self.turn) = (0, None);
    }

    /// It has sent a piece. Ask [`Self::call`] afterwards.
    pub fn sent(&mut self, who: T) {
        let before = self.turn.filter(|(last, _)| *last == who).map_or(0, |(_, pieces)| pieces);
        self.turn = Some((who, before + 1));
        self.remove(who);
    }

    /// It will send nothing more. Ask [`Self::call`] afterwards.
    pub fn leave(&mut self, who: T) {
        self.turn = self.turn.filter(|(last, _)| *last != who);
        self.remove(who);
    }

    fn remove(&mut self, who: T) {
        let Some(at) = self.place(who) else { return };
        self.waiting.remove(at);
        if at < self.called {
            self.called -= 1;
        }
    }

    /// There may be room: those who may try from now on, each named once until one finds none.
    pub fn call(&mut self) -> impl Iterator<Item = T> {
        let from = self.called;
        self.called = self.waiting.len().min(CALLED_MAX);
        self.waiting.range(from..self.called).copied()
    }

    fn has_turn(&self, who: T) -> bool {
        self.turn.is_some_and(|(last, pieces)| last == who && pieces < TURN_PIECES)
    }

    fn place(&self, who: T) -> Option<usize> {
        self.waiting.iter().position(|other| *other == who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &mut Line<u16>) -> Vec<u16> {
        line.call().collect()
    }

    #[test]
    fn nobody_waits_while_there_is_room() {
        let mut line = Line::default();
        for who in [1, 2, 1] {
            assert!(line.may_send(who));
            line.sent(who);
        }
        assert!(line.is_empty());
        assert!(called(&mut line).is_empty());
    }

    #[test]
    fn whoever_has_sent_a_piece_stands_behind_those_who_wait() {
        let mut line = Line::default();
        line.found_no_room(1);
        assert!(!line.may_send(2), "it came later");
        assert_eq!(called(&mut line), [1, 2]);
        for _ in 0..TURN_PIECES {
            assert!(line.may_send(1));
            line.sent(1);
        }
        assert!(!line.may_send(1), "another one waits");
        assert!(line.may_send(2));
        line.sent(2);
        assert_eq!(called(&mut line), [1]);
    }

    #[test]
    fn a_turn_ends_when_another_one_sends_and_where_there_is_no_room() {
        let mut line = Line::default();
        line.found_no_room(1);
        assert!(!line.may_send(2));
        assert!(!line.may_send(3));
        assert_eq!(called(&mut line), [1, 2, 3]);
        line.sent(1);
        line.sent(2);
        assert!(!line.may_send(1), "2 has sent");
        assert!(line.may_send(2));
        line.found_no_room(2);
        assert!(!line.may_send(2));
        assert_eq!(called(&mut line), [3, 1, 2]);
    }

    #[test]
    fn whoever_finds_no_room_keeps_its_place_and_the_others_do_not_try() {
        let mut line = Line::default();
        line.found_no_room(1);
        assert!(!line.may_send(2));
        assert_eq!(called(&mut line), [1, 2]);
        line.found_no_room(1);
        assert!(!line.may_send(2));
        assert_eq!(called(&mut line), [1, 2]);
    }

    #[test]
    fn each_is_called_once_and_the_next_when_one_has_left() {
        let mut line = Line::default();
        line.found_no_room(0);
        for who in 1..20 {
            assert!(!line.may_send(who));
        }
        assert_eq!(called(&mut line), (0..8).collect::<Vec<_>>());
        assert!(called(&mut line).is_empty());
        line.leave(3);
        assert_eq!(called(&mut line), [8]);
        line.leave(15);
        assert!(called(&mut line).is_empty(), "it had not been called");
        assert!(!line.may_send(9));
    }
}
