//! One place that chooses between the real atomics, loom's, and (in unit tests) real ones that can
//! be made to stop before any step, as if the process had been killed there.

use core::time::Duration;

#[cfg(all(not(loom), not(test)))]
pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(all(not(loom), test))]
pub(crate) use crate::testing::steps::{AtomicU32, AtomicU64, Ordering, fence, step};

/// A point between two system calls at which a unit test can stop the side.
#[cfg(all(not(loom), not(test)))]
pub(crate) const fn step() {}

/// Wakes everybody who sleeps on `word`.
#[cfg(not(loom))]
pub(crate) fn wake_futex(word: &AtomicU32) {
    // The word lies in memory shared between processes, so the flag must not be PRIVATE.
    let flags = rustix::thread::futex::Flags::empty();
    let _ = rustix::thread::futex::wake(raw(word), flags, u32::MAX >> 1);
}

/// Sleeps until somebody wakes `word`; not at all if it is not `expected` any more.
#[cfg(not(loom))]
pub(crate) fn sleep_on_futex(word: &AtomicU32, expected: u32, limit: Duration) {
    let limit = rustix::thread::futex::Timespec {
        tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i64::from(limit.subsec_nanos()),
    };
    // Every outcome (woken, word already moved, time over, signal) means: look again.
    let flags = rustix::thread::futex::Flags::empty();
    let _ = rustix::thread::futex::wait(raw(word), flags, expected, Some(&limit));
}

#[cfg(all(not(loom), not(test)))]
const fn raw(word: &AtomicU32) -> &AtomicU32 {
    word
}

#[cfg(all(not(loom), test))]
fn raw(word: &AtomicU32) -> &core::sync::atomic::AtomicU32 {
    word.raw()
}

#[cfg(loom)]
loom::lazy_static! {
    /// The kernel's side of every futex of a model: the look at the word and the going to sleep
    /// are one step.
    static ref FUTEX: (loom::sync::Mutex<()>, loom::sync::Condvar) =
        (loom::sync::Mutex::new(()), loom::sync::Condvar::new());
}

/// Wakes everybody who sleeps on a word.
#[cfg(loom)]
pub(crate) fn wake_futex(_word: &AtomicU32) {
    let guard = FUTEX.0.lock();
    FUTEX.1.notify_all();
    drop(guard);
}

/// Sleeps until woken; without a limit, so that loom reports a lost wake-up as a deadlock.
#[cfg(loom)]
pub(crate) fn sleep_on_futex(word: &AtomicU32, expected: u32, _limit: Duration) {
    let guard = FUTEX.0.lock().expect("no test panics while it holds the lock");
    if word.load(Ordering::Relaxed) == expected {
        drop(FUTEX.1.wait(guard));
    }
}
