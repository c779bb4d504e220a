//! How long to look for the other side before sleeping.
//!
//! A wake-up across cores costs tens of microseconds on a virtual machine; looking for a moment
//! costs nothing when the answer comes within it, and only time when it does not. So the time is
//! given where it paid last: a look that finds something keeps the whole budget, looks in vain halve
//! it down to nothing, and after a number of sleeps one more look is taken.

/// The time for looks by one waiter.
#[derive(Debug)]
pub struct SpinBudget {
    max_us: u32,
    now_us: u32,
    sleeps: u32,
}

impl SpinBudget {
    /// Below this it is not worth looking.
    const LEAST_US: u32 = 5;
    /// Sleeps without a look before the next one.
    const SLEEPS_BETWEEN_LOOKS: u32 = 32;

    /// A budget of at most `max_us` microseconds a look; 0: never look.
    #[must_use]
    pub const fn new(max_us: u32) -> Self {
        Self { max_us, now_us: max_us, sleeps: 0 }
    }

    /// Before a sleep: microseconds to look for, perhaps 0.
    pub fn next_us(&mut self) -> u32 {
        if self.now_us == 0 && self.max_us != 0 {
            self.sleeps += 1;
            if self.sleeps >= Self::SLEEPS_BETWEEN_LOOKS {
                self.sleeps = 0;
                self.now_us = self.max_us;
            }
        }
        self.now_us
    }

    /// The look found something.
    pub const fn found(&mut self) {
        self.now_us = self.max_us;
    }

    /// The look found nothing.
    pub const fn missed(&mut self) {
        self.now_us /= 2;
        if self.now_us < Self::LEAST_US {
            self.now_us = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_that_find_something_keep_their_time() {
        let mut budget = SpinBudget::new(100);
        for _ in 0..10 {
            assert_eq!(budget.next_us(), 100);
            budget.found();
        }
    }

    #[test]
    fn looks_in_vain_cost_little_in_the_long_run() {
        let mut budget = SpinBudget::new(100);
        let spent: u32 = (0..10_000)
            .map(|_| {
                let us = budget.next_us();
                if us != 0 {
                    budget.missed();
                }
                us
            })
            .sum();
        assert!(spent / 10_000 < 6, "{spent} µs in 10,000 sleeps");
    }

    #[test]
    fn a_budget_of_nothing_never_looks() {
        let mut budget = SpinBudget::new(0);
        assert!((0..1_000).all(|_| budget.next_us() == 0));
    }
}
