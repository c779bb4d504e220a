//! Whose death the kernel's OOM killer was, told by the counter of a control group.
//!
//! The kernel counts before it kills. So a worker that died by SIGKILL was killed by it if the
//! counter has risen and no other death has been put down to that rise.

use std::time::Duration;

/// How long after a rise was seen a death may be put down to it: the kernel kills at once, and the
/// supervisor hears of it within moments, but several may be killed one after the other. An older
/// rise was the death of somebody else: a child of the application, a neighbour in the group.
pub const RISE_MAX: Duration = Duration::from_secs(10);

/// The counter of one group.
#[derive(Clone, Copy, Debug)]
pub struct Kills {
    seen: u64,
    /// Rises that no death was put down to.
    open: u64,
    risen: Duration,
}

impl Kills {
    /// The counter as it is at the start.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self { seen: count, open: 0, risen: Duration::ZERO }
    }

    /// Takes in the counter as it is now.
    pub fn look(&mut self, count: u64, now: Duration) {
        if now.saturating_sub(self.risen) > RISE_MAX {
            self.open = 0;
        }
        if count > self.seen {
            self.open += count - self.seen;
            self.risen = now;
        }
        self.seen = count;
    }

    /// A worker has died by SIGKILL that nobody here sent, and the counter stands so. True: the
    /// kernel did it.
    #[must_use]
    pub fn did_it(&mut self, count: u64, now: Duration) -> bool {
        self.look(count, now);
        let did = self.open > 0;
        self.open = self.open.saturating_sub(1);
        did
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_rise_explains_one_death() {
        let mut kills = Kills::new(3);
        assert!(!kills.did_it(3, at(1)));
        assert!(kills.did_it(4, at(2)));
        assert!(!kills.did_it(4, at(3)));
        assert!(kills.did_it(6, at(4)));
        assert!(kills.did_it(6, at(4)));
        assert!(!kills.did_it(6, at(4)));
    }

    #[test]
    fn a_rise_that_is_seen_between_two_deaths_explains_the_second() {
        let mut kills = Kills::new(0);
        assert!(kills.did_it(1, at(1)));
        kills.look(2, at(2));
        assert!(kills.did_it(2, at(3)));
    }

    #[test]
    fn an_old_rise_was_the_death_of_somebody_else() {
        let mut kills = Kills::new(0);
        kills.look(1, at(1));
        assert!(!kills.did_it(1, at(60)));
    }
}
