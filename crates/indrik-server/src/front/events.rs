//! What the front tells the supervisor, and what both call what a worker runs.

use std::sync::Arc;

use indrik_core::ids::WorkerId;

/// What a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// PEP 3333.
    Wsgi,
    /// ASGI 3.
    Asgi,
}

/// What the front tells the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontEvent {
    /// A draining worker has nothing in flight any more.
    WorkerDrained(WorkerId),
    /// A worker has served as many requests as it may.
    WorkerUsedUp(WorkerId),
    /// A worker has served some more requests: it may have grown. See [`NewWorker::tells_served`].
    WorkerServed {
        /// Which.
        worker: WorkerId,
        /// How many since it was added.
        served: u64,
    },
    /// A request of this worker ran longer than it may; it has been answered 504. Nothing else goes
    /// on in the worker.
    RequestStuck(WorkerId),
    /// The same, but other requests go on in the worker.
    RequestHangs(WorkerId),
    /// The worker's threads are to look which requests shall stop.
    Interrupt(WorkerId),
    /// A worker wrote what cannot be into its channel; nothing of it is used any more.
    ChannelBroken(WorkerId),
    /// A worker has answered all requests of its warm-up well.
    WorkerWarm(WorkerId),
    /// A worker has not: why, in one line.
    WarmUpFailed(WorkerId, String),
    /// After [`Front::stop_accepting`]: nothing is left to do.
    Idle,
}

/// Where the front's events go; called from any thread, must not block.
pub type EventSink = Arc<dyn Fn(FrontEvent) + Send + Sync>;
