//! The front's clock: monotonic microseconds, and a coarse copy for timeouts of seconds.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indrik_core::time::Micros;

static START: OnceLock<Instant> = OnceLock::new();
static COARSE: AtomicU64 = AtomicU64::new(0);

/// Microseconds since the first call.
pub(super) fn now() -> Micros {
    let start = *START.get_or_init(Instant::now);
    let now = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    COARSE.store(now, Ordering::Relaxed);
    now
}

/// What [`now`] said last; the reaper calls that several times a second.
pub(super) fn coarse() -> Micros {
    COARSE.load(Ordering::Relaxed)
}

/// A duration in the clock's unit.
pub(super) fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}
