//! What the front tells the supervisor, and what both call what a worker runs.

use std::fmt;
use std::sync::Arc;

use indrik_core::ids::WorkerId;
use indrik_ring::{NotSent, Violation};

use crate::lane::LaneFault;

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
        /// The worker that served them.
        worker: WorkerId,
        /// How many since it was added.
        served: u64,
    },
    /// A request of this worker ran longer than it may; it has been answered 504. Nothing else goes
    /// on in the worker.
    RequestStuck(WorkerId),
    /// The same, but other requests go on in the worker.
    RequestHangs(WorkerId),
    /// A request that this worker runs takes long; what is to be logged of it.
    RequestSlow(WorkerId, String),
    /// The worker's threads are to look which requests shall stop.
    Interrupt(WorkerId),
    /// A worker wrote what cannot be into its channel; nothing of it is used any more.
    ChannelBroken(WorkerId, ChannelFault),
    /// A worker sent on its lane what it must not, and has none any more; its channel is used on.
    LaneCut(WorkerId, LaneFault),
    /// A worker has answered all requests of its warm-up well.
    WorkerWarm(WorkerId),
    /// A worker has not: why, in one line.
    WarmUpFailed(WorkerId, String),
    /// Requests are refused, and for want of what; `None`: not any more.
    Overloaded(Option<&'static str>),
    /// After [`Front::stop_accepting`]: nothing is left to do.
    Idle,
}

/// Where the front's events go; called from any thread, must not block.
pub type EventSink = Arc<dyn Fn(FrontEvent) + Send + Sync>;

/// Why a worker's channel cannot be used any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelFault {
    /// The worker wrote something impossible into the shared memory.
    Memory(Violation),
    /// Files cannot be handed over: the worker has closed its end of the socket.
    FilesClosed,
    /// It sent more than its windows allow.
    Flood,
}

impl ChannelFault {
    /// What a push that failed says of the channel, if it says anything.
    pub(crate) const fn of(reason: NotSent) -> Option<Self> {
        match reason {
            NotSent::Broken(violation) => Some(Self::Memory(violation)),
            NotSent::FilesClosed => Some(Self::FilesClosed),
            NotSent::NoSpace | NotSent::FilesFull | NotSent::TooLarge => None,
        }
    }
}

impl fmt::Display for ChannelFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory(violation) => return violation.fmt(f),
            Self::FilesClosed => "the worker has closed the socket that files are handed over by",
            Self::Flood => "the worker sent more than its windows allow",
        })
    }
}
