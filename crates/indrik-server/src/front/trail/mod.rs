//! How a request can be followed: by its id and its trace, through the application, the logs and to a collector.

pub(super) mod chance;
mod follow;
mod mark;
mod slow;
mod span;
mod tracing;

pub(super) use follow::Trail;
pub(super) use mark::{Mark, Marking, ReturnedId};
pub(super) use slow::{Called, SlowRequests, Submitted};
pub(super) use span::OpenSpan;
pub(super) use tracing::Tracing;
