//! How long the supervision loop is busy at a stretch: while it is, it hears of nothing.
//!
//! The loop writes, any thread reads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The longest turn is remembered for this time at least, and twice that at most.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The loop's turns.
#[derive(Debug)]
pub(crate) struct Turns {
    began: Instant,
    /// When the turn under way began, in microseconds, and one more; 0: the loop sleeps.
    since: AtomicU64,
    /// The longest turn of a period, in microseconds, and the period's number, for even and odd ones.
    longest: [(AtomicU64, AtomicU64); 2],
}

impl Turns {
    pub(super) fn new(began: Instant) -> Self {
        Self { began, since: AtomicU64::new(0), longest: Default::default() }
    }

    /// The loop has woken.
    pub(crate) fn begins(&self, now: Instant) {
        self.since.store(self.micros(now) + 1, Ordering::Relaxed);
    }

    /// The loop is about to sleep.
    pub(crate) fn ends(&self, now: Instant) {
        let since = self.since.swap(0, Ordering::Relaxed);
        if since == 0 {
            return;
        }
        let (now, took) = (self.micros(now), (self.micros(now) + 1).saturating_sub(since));
        let period = period(now);
        let (number, longest) = &self.longest[(period % 2) as usize];
        let before = match number.swap(period, Ordering::Relaxed) == period {
            true => longest.load(Ordering::Relaxed),
            false => 0,
        };
        longest.store(before.max(took), Ordering::Relaxed);
    }

    /// The longest turn lately, the one under way included.
    pub(crate) fn longest(&self, now: Instant) -> Duration {
        let now = self.micros(now);
        let under_way = match self.since.load(Ordering::Relaxed) {
            0 => 0,
            since => (now + 1).saturating_sub(since),
        };
        let lately = self.longest.iter().filter(|(number, _)| {
            let number = number.load(Ordering::Relaxed);
            number == period(now) || number + 1 == period(now)
        });
        let lately = lately.map(|(_, longest)| longest.load(Ordering::Relaxed));
        Duration::from_micros(lately.chain([under_way]).max().unwrap_or(0))
    }

    fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.began).as_micros()).unwrap_or(u64::MAX - 1)
    }
}

/// Periods are counted from 1: 0 is none.
const fn period(micros: u64) -> u64 {
    micros / REMEMBERED.as_micros() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_turn_is_told_while_it_lasts_and_for_a_while_after() {
        let began = Instant::now();
        let turns = Turns::new(began);
        let at = |seconds: f64| began + Duration::from_secs_f64(seconds);
        assert_eq!(turns.longest(at(1.0)), Duration::ZERO);
        turns.begins(at(1.0));
        assert_eq!(turns.longest(at(1.5)), Duration::from_millis(500));
        turns.ends(at(3.0));
        turns.begins(at(4.0));
        turns.ends(at(4.1));
        for later in [4.2, 31.0, 59.0] {
            assert_eq!(turns.longest(at(later)), Duration::from_secs(2), "{later}");
        }
        turns.begins(at(61.0));
        turns.ends(at(61.25));
        assert_eq!(turns.longest(at(62.0)), Duration::from_millis(250));
    }
}
