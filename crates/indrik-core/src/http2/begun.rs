//! Which streams of a connection have become requests: an answer on another one is the library's own.

use std::collections::VecDeque;

/// Streams that were passed over and are remembered at most. The library answers one at once, so that the
/// answer is seen long before.
const SKIPPED_MAX: usize = 256;
/// Between two streams that a client begins (RFC 9113 section 5.1.1).
const STEP: u32 = 2;

/// The streams that have become requests. They do so in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Begun {
    last: u32,
    /// Below the last one.
    skipped: VecDeque<u32>,
}

impl Begun {
    /// A stream becomes a request.
    pub fn begins(&mut self, stream: u32) {
        // The first one has the number 1.
        let mut next = self.last.saturating_add(if self.last == 0 { 1 } else { STEP });
        let all = stream.saturating_sub(next).div_ceil(STEP) as usize;
        if all > SKIPPED_MAX {
            next = stream - STEP * SKIPPED_MAX as u32;
        }
        while next < stream {
            if self.skipped.len() == SKIPPED_MAX {
                self.skipped.pop_front();
            }
            self.skipped.push_back(next);
            next += STEP;
        }
        self.last = self.last.max(stream);
    }

    /// Whether it has become one.
    #[must_use]
    pub fn has(&self, stream: u32) -> bool {
        stream <= self.last && !self.skipped.contains(&stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_passed_over_or_is_yet_to_come_has_not_become_a_request() {
        let mut begun = Begun::default();
        assert!(!begun.has(1));
        for stream in [1, 3, 9, 11] {
            begun.begins(stream);
        }
        let has: Vec<u32> = (1..20).step_by(2).filter(|stream| begun.has(*stream)).collect();
        assert_eq!(has, [1, 3, 9, 11]);
    }

    #[test]
    fn of_a_client_that_wastes_its_numbers_the_last_are_remembered() {
        let mut begun = Begun::default();
        begun.begins(0x7fff_ffff);
        assert_eq!(begun.skipped.len(), SKIPPED_MAX);
        assert!(begun.has(0x7fff_ffff) && !begun.has(0x7fff_fffd));
    }
}
