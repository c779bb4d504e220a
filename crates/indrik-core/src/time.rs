//! Moments, as whoever decides is told them.

/// A moment, in microseconds on the caller's monotonic clock.
pub type Micros = u64;
