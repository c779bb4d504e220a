//! The last entries of something that goes on for ever, by number: a reader that comes again asks for what is new.

use std::collections::VecDeque;

/// Entries kept.
const ENTRIES_MAX: usize = 1_000;
/// Bytes that they have together.
const BYTES_MAX: usize = 1 << 20;

/// The last entries, each with its number, from 1.
#[derive(Debug)]
pub struct Recent<T> {
    entries: VecDeque<(T, usize)>,
    bytes: usize,
    /// The number of the next one.
    next: u64,
}

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self { entries: VecDeque::new(), bytes: 0, next: 1 }
    }
}

impl<T> Recent<T> {
    /// An empty one whose numbers follow that one.
    #[must_use]
    pub fn beginning_after(newest: u64) -> Self {
        Self { next: newest.max(1), ..Self::default() }
    }

    /// Keeps one more, which takes so many bytes, and forgets the oldest where there is no room.
    pub fn push(&mut self, entry: T, bytes: usize) {
        self.next += 1;
        self.entries.push_back((entry, bytes));
        self.bytes += bytes;
        while self.entries.len() > ENTRIES_MAX || self.bytes > BYTES_MAX {
            let Some((_, bytes)) = self.entries.pop_front() else { break };
            self.bytes -= bytes;
        }
    }

    /// The number that the next one gets.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Those that are kept from this number on, with their numbers.
    pub fn since(&self, number: u64) -> impl Iterator<Item = (u64, &T)> {
        let first = self.next - self.entries.len() as u64;
        let skipped = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        let numbered = (first..).zip(self.entries.iter().map(|(entry, _)| entry));
        numbered.skip(skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(recent: &Recent<u64>, since: u64) -> Vec<u64> {
        recent
            .since(since)
            .map(|(number, entry)| {
                assert_eq!(number, *entry);
                number
            })
            .collect()
    }

    #[test]
    fn a_reader_gets_what_is_new_and_of_what_is_forgotten_nothing() {
        let mut recent = Recent::default();
        assert_eq!((numbers(&recent, 0), recent.next()), (Vec::new(), 1));
        for number in 1..=3 {
            recent.push(number, 10);
        }
        assert_eq!(numbers(&recent, 0), [1, 2, 3]);
        assert_eq!(numbers(&recent, 3), [3]);
        assert!(numbers(&recent, 4).is_empty());
        assert!(numbers(&recent, u64::MAX).is_empty());
        for number in 4..=5_000 {
            recent.push(number, 10);
        }
        assert_eq!(numbers(&recent, 0).len(), ENTRIES_MAX);
        assert_eq!(numbers(&recent, 4_999), [4_999, 5_000]);
    }

    #[test]
    fn large_entries_have_no_more_bytes_than_may_be() {
        let mut recent = Recent::default();
        for number in 1..=10 {
            recent.push(number, BYTES_MAX / 2);
        }
        assert_eq!(numbers(&recent, 0), [9, 10]);
        recent.push(11, BYTES_MAX + 1);
        assert_eq!((numbers(&recent, 0), recent.next()), (Vec::new(), 12));
    }
}
