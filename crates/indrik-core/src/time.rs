//! Moments, as whoever decides is told them.

use std::time::Duration;

/// A moment, in microseconds on the caller's monotonic clock.
pub type Micros = u64;

/// Monotonic time since some moment the caller chose.
pub type Now = Duration;
