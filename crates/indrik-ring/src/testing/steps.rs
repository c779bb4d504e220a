//! Atomics that count their steps and can stop the thread before any of them, as if its process
//! had been killed there. What it did before stays in the shared memory, what comes after never
//! happens.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

pub(crate) use core::sync::atomic::Ordering;

use core::sync::atomic;

/// Nobody is going to be killed.
const NEVER: u64 = u64::MAX;

thread_local! {
    static STEPS_LEFT: Cell<u64> = const { Cell::new(NEVER) };
}

struct Killed;

/// Runs one side until it is done or has `steps_left` no more. `None`: it was killed.
pub(crate) fn run<R>(steps_left: &mut u64, side: impl FnOnce() -> R) -> Option<R> {
    STEPS_LEFT.set(*steps_left);
    let result = catch_unwind(AssertUnwindSafe(side));
    *steps_left = STEPS_LEFT.replace(NEVER);
    match result {
        Ok(value) => Some(value),
        Err(cause) if cause.is::<Killed>() => None,
        Err(cause) => resume_unwind(cause),
    }
}

/// A point at which a side can be killed.
pub(crate) fn step() {
    match STEPS_LEFT.get() {
        NEVER => {}
        0 => {
            STEPS_LEFT.set(NEVER);
            resume_unwind(Box::new(Killed));
        }
        left => STEPS_LEFT.set(left - 1),
    }
}

pub(crate) fn fence(order: Ordering) {
    step();
    atomic::fence(order);
}

macro_rules! stepping {
    ($name:ident, $value:ty) => {
        #[derive(Debug)]
        #[repr(transparent)]
        pub(crate) struct $name(atomic::$name);

        impl $name {
            pub(crate) const fn new(value: $value) -> Self {
                Self(atomic::$name::new(value))
            }

            pub(crate) fn load(&self, order: Ordering) -> $value {
                step();
                self.0.load(order)
            }

            pub(crate) fn store(&self, value: $value, order: Ordering) {
                step();
                self.0.store(value, order);
            }

            pub(crate) fn fetch_add(&self, value: $value, order: Ordering) -> $value {
                step();
                self.0.fetch_add(value, order)
            }
        }
    };
}

stepping!(AtomicU32, u32);
stepping!(AtomicU64, u64);

impl AtomicU32 {
    pub(crate) fn swap(&self, value: u32, order: Ordering) -> u32 {
        step();
        self.0.swap(value, order)
    }

    pub(crate) fn fetch_or(&self, value: u32, order: Ordering) -> u32 {
        step();
        self.0.fetch_or(value, order)
    }

    pub(crate) const fn raw(&self) -> &atomic::AtomicU32 {
        &self.0
    }
}

impl AtomicU64 {
    pub(crate) fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64> {
        step();
        self.0.compare_exchange(current, new, success, failure)
    }
}
