//! Chance in the supervisor's unit of time.

use std::time::Duration;

use crate::random::Random;

impl Random {
    /// A time between the two, both in milliseconds.
    pub(crate) fn milliseconds(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }
}
