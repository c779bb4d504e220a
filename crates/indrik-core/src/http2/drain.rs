//! When a connection of a server that is to end is told so.
//!
//! Many clients take any GOAWAY for the end of all their requests, so none is sent while there are some: those
//! that still come are served. Between two requests the client is told which one was the last, and knows that
//! another one, if it crosses the word, was not served. Only a connection that never has such a moment gets the
//! graceful form (RFC 9113 section 6.8): first "ask for nothing more", and the number of the last request when
//! all are answered.

/// Microseconds on the caller's clock.
type Micros = u64;

/// A connection without requests may still bring one for this long.
const QUIET: Micros = 1_000_000;

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing.
    Stay,
    /// Say which request was the last, and close: there is none under way.
    Close,
    /// Ask for nothing more, and close when all are answered.
    Ask,
}

/// A drain as one connection sees it.
#[derive(Clone, Copy, Debug)]
pub struct Drain {
    begun_at: Micros,
    /// How long it may take in all.
    limit: Micros,
}

impl Drain {
    /// A drain that has begun.
    pub const fn new(begun_at: Micros, limit: Micros) -> Self {
        Self { begun_at, limit }
    }

    /// What to do now. `is_busy`: requests are under way. `last_at`: when the last one came, or
    /// ended if none is.
    pub const fn step(&self, now: Micros, is_busy: bool, last_at: Micros) -> Step {
        let passed = now.saturating_sub(self.begun_at);
        let is_quiet = now.saturating_sub(last_at) >= QUIET;
        // Requests go on coming although the time for them runs out.
        let (is_late, is_very_late) = (passed >= self.limit / 2, passed >= self.limit / 4 * 3);
        match is_busy {
            false if is_quiet || is_late => Step::Close,
            // One long answer is nothing to be told of.
            true if is_very_late && !is_quiet => Step::Ask,
            true | false => Step::Stay,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Micros = 1_000_000;
    const DRAIN: Drain = Drain::new(100 * SECOND, 30 * SECOND);

    fn step(passed: Micros, is_busy: bool, since_last: Micros) -> Step {
        let now = 100 * SECOND + passed;
        DRAIN.step(now, is_busy, now - since_last)
    }

    #[test]
    fn nothing_is_said_while_an_answer_is_under_way() {
        for passed in 0..30 {
            assert_eq!(step(passed * SECOND, true, 2 * SECOND), Step::Stay);
        }
    }

    #[test]
    fn a_connection_without_requests_is_closed_after_a_moment_in_which_one_may_still_come() {
        assert_eq!(step(SECOND, false, SECOND / 2), Step::Stay);
        assert_eq!(step(SECOND, false, SECOND), Step::Close);
    }

    #[test]
    fn one_that_goes_on_asking_is_closed_between_two_requests_when_half_of_the_time_is_over() {
        assert_eq!(step(14 * SECOND, false, 0), Step::Stay);
        assert_eq!(step(15 * SECOND, false, 0), Step::Close);
    }

    #[test]
    fn one_that_always_has_requests_is_asked_to_bring_no_more() {
        assert_eq!(step(22 * SECOND, true, 0), Step::Stay);
        assert_eq!(step(23 * SECOND, true, 0), Step::Ask);
    }

    #[test]
    fn without_time_it_is_over_at_once_but_for_what_is_under_way() {
        let drain = Drain::new(0, 0);
        assert_eq!(drain.step(0, false, 0), Step::Close);
        assert_eq!(drain.step(2 * QUIET, true, 0), Step::Stay);
    }
}
