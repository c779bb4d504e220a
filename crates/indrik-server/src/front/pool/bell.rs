//! Waking the workers once for all that a turn of an io thread brings.
//!
//! A worker that is woken by the first of many requests answers that one, finds no other and sleeps
//! again: with a quick application each wake-up then costs more than the request. So an io thread
//! wakes workers when it has run the tasks that were ready with the one that brought the request (where
//! they have another core), before it sleeps, and at every tick.

use std::cell::OnceCell;
use std::task::{Context, Waker};

thread_local! {
    /// The task of this io thread that wakes the workers. None on other threads.
    static BELL: OnceCell<Waker> = const { OnceCell::new() };
}

/// Has the workers woken after the tasks of this thread that are ready now: its queue is first in,
/// first out.
pub(super) fn ring() {
    BELL.with(|bell| {
        if let Some(task) = bell.get() {
            task.wake_by_ref();
        }
    });
}

/// Makes the calling task the one that [`ring`] wakes on this thread, from its first poll on.
pub(crate) fn answer(cx: &Context<'_>) {
    BELL.with(|bell| {
        bell.get_or_init(|| cx.waker().clone());
    });
}
