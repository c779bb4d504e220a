//! What the server itself failed in lately, though it serves on: told to whoever asks how it is.

use std::fmt::Write as _;

use crate::supervise::limits::WHY_CHARS_MAX;
use crate::time::Now;

/// How long after the last failure it is still told.
const TOLD_FOR: Now = Now::from_secs(10);

/// What may fail again and again while requests are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Ailment {
    /// Bodies of requests cannot be stored; they are answered 507.
    BodiesUnstored,
    /// Responses that wait for slow clients cannot be stored; workers wait with them.
    ResponsesUnstored,
    /// Connections cannot be accepted.
    NotAccepted,
    /// Connections are cut, because the front has no memory for them.
    ConnectionsCut,
    /// Entries of a log are lost.
    LogLost,
    /// Messages to syslog or metrics to statsd are lost.
    MessagesLost,
}

impl Ailment {
    /// All, in the order in which they are told.
    pub const ALL: [Self; 6] = [
        Self::BodiesUnstored,
        Self::ResponsesUnstored,
        Self::NotAccepted,
        Self::ConnectionsCut,
        Self::LogLost,
        Self::MessagesLost,
    ];
}

/// One that was seen.
#[derive(Clone, Debug)]
struct Seen {
    why: String,
    until: Now,
}

/// Those that were seen lately, each with its last failure.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ailments {
    /// What the front lacks for the requests that it refuses, while it does.
    pub(crate) lacks: Option<&'static str>,
    /// By number of the ailment.
    seen: [Option<Seen>; Ailment::ALL.len()],
}

impl Ailments {
    /// One is seen, again or for the first time.
    pub(crate) fn sees(&mut self, ailment: Ailment, why: &str, now: Now) {
        let why = why.chars().take(WHY_CHARS_MAX).collect();
        self.seen[ailment as usize] = Some(Seen { why, until: now + TOLD_FOR });
    }

    /// Forgets those that were not seen for a while.
    pub(crate) fn expire(&mut self, now: Now) {
        for seen in &mut self.seen {
            seen.take_if(|seen| seen.until <= now);
        }
    }

    /// When the next one is to be forgotten.
    pub(crate) fn next(&self) -> Option<Now> {
        self.seen.iter().flatten().map(|seen| seen.until).min()
    }

    /// All of them in one line; `None` if there is none.
    pub(crate) fn why(&self) -> Option<String> {
        let mut text = String::new();
        for seen in self.seen.iter().flatten() {
            let before = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{before}{}", seen.why);
        }
        (!text.is_empty()).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Now {
        Now::from_secs(seconds)
    }

    #[test]
    fn the_number_of_an_ailment_is_its_place() {
        for (place, ailment) in Ailment::ALL.iter().enumerate() {
            assert_eq!(*ailment as usize, place);
        }
    }

    #[test]
    fn each_is_told_with_its_last_failure_until_a_while_after_that() {
        let mut ailments = Ailments::default();
        ailments.sees(Ailment::LogLost, "the log is full", at(1));
        ailments.sees(Ailment::BodiesUnstored, "no room", at(2));
        ailments.sees(Ailment::BodiesUnstored, "no directory", at(5));
        assert_eq!(ailments.why().as_deref(), Some("no directory; the log is full"));
        assert_eq!(ailments.next(), Some(at(11)));
        ailments.expire(at(11));
        assert_eq!(ailments.why().as_deref(), Some("no directory"));
        ailments.expire(at(15));
        assert_eq!((ailments.why(), ailments.next()), (None, None));
    }

    #[test]
    fn a_text_without_an_end_is_cut() {
        let mut ailments = Ailments::default();
        ailments.sees(Ailment::LogLost, &"é".repeat(100_000), at(1));
        assert_eq!(ailments.why().map(|why| why.chars().count()), Some(WHY_CHARS_MAX));
    }
}
