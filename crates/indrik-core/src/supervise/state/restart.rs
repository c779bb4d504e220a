//! Restart policy: at once after the first death, ever later while it repeats. [`Backoff`] serves every
//! child that is started again; [`Restarts`] keeps one for each place of a worker.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::supervise::limits::{
    BOOT_DELAY, BOOT_DELAY_MAX, CRASH_DELAY, CRASH_DELAY_MAX, USEFUL_REQUESTS, YOUNG_AGE,
};
use crate::supervise::reason::EndReason;
use crate::time::Now;

/// How fast something is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// So many failures cost no time.
    pub(crate) free: u32,
    /// After the next one; then it doubles.
    pub(crate) first: Duration,
    pub(crate) max: Duration,
}

impl Pace {
    /// A zygote that died or could not start.
    pub(crate) const ZYGOTE: Self = Self { free: 1, first: BOOT_DELAY, max: BOOT_DELAY_MAX };
    /// A worker that never became ready.
    const BOOT: Self = Self { free: 0, first: BOOT_DELAY, max: BOOT_DELAY_MAX };
    /// A worker that died young.
    const CRASH: Self = Self { free: 1, first: CRASH_DELAY, max: CRASH_DELAY_MAX };
    /// A worker that died young, and had been of use.
    const USEFUL: Self = Self { free: 1, first: CRASH_DELAY, max: CRASH_DELAY };
}

/// Failures in a row of a child that is started again and again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Backoff {
    pub(crate) failures: u32,
}

impl Backoff {
    pub(crate) fn fail(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    pub(crate) const fn failures(self) -> u32 {
        self.failures
    }

    /// How long to wait before the next start.
    pub(crate) fn delay(self, pace: Pace) -> Duration {
        match self.failures.saturating_sub(pace.free) {
            0 => Duration::ZERO,
            n => pace.first.saturating_mul(1 << (n - 1).min(16)).min(pace.max),
        }
    }
}

/// How a worker's life ended, as far as its successor's start is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Death {
    /// It never became ready.
    Booting,
    /// It was killed from outside before it became ready, which says nothing about it.
    Killed,
    /// It had been ready.
    Ready {
        /// For so long.
        age: Duration,
        /// Requests it had finished.
        requests: u64,
    },
}

/// The failures in a row of one place, and when it may be filled again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Place {
    pub(crate) backoff: Backoff,
    pub(crate) not_before: Now,
    /// Why its last worker went, until the next one is started.
    pub(crate) vacancy: Option<EndReason>,
}

/// The back-off of one generation's places.
#[derive(Clone, Debug, Default)]
pub(crate) struct Restarts {
    pub(crate) places: BTreeMap<u32, Place>,
}

impl Restarts {
    /// A worker at `place` died of itself. Returns how long the place stays empty.
    pub(crate) fn died(&mut self, place: u32, death: Death, now: Now) -> Duration {
        let place = self.places.entry(place).or_default();
        let pace = match death {
            Death::Ready { age, .. } if age >= YOUNG_AGE => {
                place.backoff = Backoff::default();
                place.not_before = now;
                return Duration::ZERO;
            }
            Death::Ready { requests, .. } if requests >= USEFUL_REQUESTS => Pace::USEFUL,
            Death::Ready { .. } | Death::Killed => Pace::CRASH,
            Death::Booting => Pace::BOOT,
        };
        place.backoff.fail();
        let delay = place.backoff.delay(pace);
        place.not_before = now + delay;
        delay
    }

    /// The worker at `place` goes, or has gone, for this reason.
    pub(crate) fn vacate(&mut self, place: u32, reason: EndReason) {
        self.places.entry(place).or_default().vacancy = Some(reason);
    }

    /// The place gets a worker: why its last one went, if it had one.
    pub(crate) fn take_vacancy(&mut self, place: u32) -> Option<EndReason> {
        self.places.get_mut(&place)?.vacancy.take()
    }

    /// What failed works again: nothing is waited for.
    pub(crate) fn forgive(&mut self) {
        for place in self.places.values_mut() {
            place.backoff = Backoff::default();
            place.not_before = Now::ZERO;
        }
    }

    /// When the place may be filled.
    pub(crate) fn not_before(&self, place: u32) -> Now {
        self.places.get(&place).map_or(Now::ZERO, |place| place.not_before)
    }

    /// How often in a row the place's workers died early.
    pub(crate) fn failures(&self, place: u32) -> u32 {
        self.places.get(&place).map_or(0, |place| place.backoff.failures())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_early_death_is_repaired_at_once_and_the_next_ones_ever_later() {
        let mut restarts = Restarts::default();
        let young = Death::Ready { age: Duration::from_secs(1), requests: 0 };
        let now = Duration::from_secs(100);
        assert_eq!(restarts.died(0, young, now), Duration::ZERO);
        assert_eq!(restarts.died(0, young, now), CRASH_DELAY);
        assert_eq!(restarts.died(0, young, now), CRASH_DELAY * 2);
        for _ in 0..50 {
            let _ = restarts.died(0, young, now);
        }
        assert_eq!(restarts.died(0, young, now), CRASH_DELAY_MAX);
        assert_eq!(restarts.not_before(0), now + CRASH_DELAY_MAX);
    }

    #[test]
    fn a_worker_that_was_of_use_is_replaced_soon_however_often_that_happens() {
        let mut restarts = Restarts::default();
        let death = Death::Ready { age: Duration::from_secs(1), requests: USEFUL_REQUESTS };
        assert_eq!(restarts.died(0, death, Now::ZERO), Duration::ZERO);
        for _ in 0..20 {
            assert_eq!(restarts.died(0, death, Now::ZERO), CRASH_DELAY);
        }
    }

    #[test]
    fn a_long_life_clears_the_record() {
        let mut restarts = Restarts::default();
        let now = Duration::from_secs(100);
        let _ = restarts.died(3, Death::Booting, now);
        assert_eq!(restarts.failures(3), 1);
        assert_eq!(
            restarts.died(3, Death::Ready { age: YOUNG_AGE, requests: 0 }, now),
            Duration::ZERO
        );
        assert_eq!(restarts.failures(3), 0);
    }

    #[test]
    fn a_worker_killed_while_it_boots_is_replaced_as_one_that_was_ready() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.died(0, Death::Killed, Now::ZERO), Duration::ZERO);
        for _ in 0..20 {
            assert!(restarts.died(0, Death::Killed, Now::ZERO) <= CRASH_DELAY_MAX);
        }
    }

    #[test]
    fn a_failed_boot_is_never_repeated_at_once() {
        let mut restarts = Restarts::default();
        assert_eq!(restarts.died(0, Death::Booting, Now::ZERO), BOOT_DELAY);
        assert_eq!(restarts.died(0, Death::Booting, Now::ZERO), BOOT_DELAY * 2);
    }
}
