//! Whether messages to another process (syslog, statsd) arrive, and what is told of it.
//!
//! A connection says so at once. A datagram that nobody takes is answered later, if at all, and the system reports
//! that with a later one: such a destination is taken to be well again when messages went to it for a while and
//! nothing was reported.

use crate::time::Micros;

/// So long nothing must be reported of datagrams. Systems answer datagrams that nobody takes about once a second.
const SILENCE_US: Micros = 5_000_000;

/// Whether messages arrive.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reach {
    /// It was told that they do not.
    is_down: bool,
    /// When the first datagram went since the last one that was reported lost.
    quiet_since: Option<Micros>,
    /// Datagrams of that time, which may be lost as well.
    unheard: u64,
    lost: u64,
}

impl Reach {
    /// A message is known to be lost, for whatever reason.
    pub fn loses(&mut self, messages: u64) {
        self.lost = self.lost.saturating_add(messages);
    }

    /// The other side cannot be reached. Whether to tell it: once, until it can.
    pub fn fails(&mut self) -> bool {
        let unheard = std::mem::take(&mut self.unheard);
        self.loses(unheard);
        self.quiet_since = None;
        !std::mem::replace(&mut self.is_down, true)
    }

    /// A datagram that went to it is reported lost, and those that went since may be too. As [`Self::fails`].
    pub fn refuses(&mut self) -> bool {
        self.unheard = self.unheard.max(1);
        self.fails()
    }

    /// It has been reached. To be told if `Some`: it can be again, and so many messages were lost.
    pub fn works(&mut self) -> Option<u64> {
        self.quiet_since = None;
        self.unheard = 0;
        std::mem::take(&mut self.is_down).then(|| std::mem::take(&mut self.lost))
    }

    /// A datagram went to it, and nothing was reported of those before. As [`Self::works`].
    pub fn sends(&mut self, now: Micros) -> Option<u64> {
        if !self.is_down {
            return None;
        }
        if let Some(told) = self.looks(now) {
            return Some(told);
        }
        self.quiet_since.get_or_insert(now);
        self.unheard += 1;
        None
    }

    /// Nothing was reported until now. As [`Self::works`].
    pub fn looks(&mut self, now: Micros) -> Option<u64> {
        let since = self.quiet_since?;
        if now.saturating_sub(since) < SILENCE_US { None } else { self.works() }
    }

    /// Whether it was told that messages do not arrive.
    #[must_use]
    pub const fn is_down(&self) -> bool {
        self.is_down
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Micros = 1_000_000;

    #[test]
    fn datagrams_that_nobody_takes_are_told_once_until_nothing_was_reported_for_a_while() {
        let mut reach = Reach::default();
        assert_eq!(reach.sends(0), None);
        assert!(reach.refuses());
        for second in 1..9 {
            assert_eq!(reach.sends(second * SECOND), None);
            assert!(!reach.refuses());
        }
        for second in 9..14 {
            assert_eq!(reach.sends(second * SECOND), None);
        }
        assert_eq!(reach.sends(14 * SECOND), Some(9));
        assert!(!reach.is_down());
        assert_eq!(reach.sends(15 * SECOND), None);
        assert!(reach.refuses());
    }

    #[test]
    fn silence_alone_does_not_say_that_anybody_listens() {
        let mut reach = Reach::default();
        assert!(reach.fails());
        assert_eq!(reach.looks(100 * SECOND), None);
        assert_eq!(reach.sends(100 * SECOND), None);
        assert_eq!(reach.looks(104 * SECOND), None);
        assert_eq!(reach.looks(105 * SECOND), Some(0));
    }

    proptest! {
        #[test]
        fn what_is_told_alternates_and_no_datagram_counts_twice(
            steps in prop::collection::vec((0u64..3 * SECOND, 0u8..4), 1..300),
        ) {
            let (mut reach, mut now, mut sent, mut told_lost, mut is_down) =
                (Reach::default(), 0, 0u64, 0u64, false);
            for (pause, step) in steps {
                now += pause;
                let again = match step {
                    0 => {
                        let told = reach.fails();
                        prop_assert_eq!(told, !is_down);
                        is_down = true;
                        None
                    }
                    1 => reach.works(),
                    2 => reach.looks(now),
                    _ => {
                        sent += 1;
                        reach.sends(now)
                    }
                };
                if let Some(lost) = again {
                    prop_assert!(is_down);
                    is_down = false;
                    told_lost += lost;
                }
                prop_assert_eq!(reach.is_down(), is_down);
                prop_assert!(told_lost <= sent);
            }
        }
    }
}
