//! Waking the workers once for all that a turn of an io thread brings.
//!
//! A worker that is woken by the first of many requests answers that one, finds no other and sleeps
//! again: with a quick application each wake-up then costs more than the request. So an io thread
//! wakes workers when it has run the tasks that were ready with the one that brought the request (where
//! they have another core), before it sleeps, and at every tick.

use std::cell::OnceCell;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use crate::front::Shared;

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

/// The task behind it, one for each io thread. Never ends.
pub(in crate::front) async fn wake_workers_when_rung(shared: Arc<Shared>) {
    poll_fn(|cx| {
        BELL.with(|bell| {
            bell.get_or_init(|| cx.waker().clone());
        });
        shared.pool.wake_workers();
        Poll::<()>::Pending
    })
    .await;
}
