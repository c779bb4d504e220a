//! The bodies of requests, on their way from the client to a worker.

mod incoming;
mod pieces;
pub(super) mod pump;
mod size;
pub(super) mod unnamed;
pub(super) mod upload;

pub(super) use incoming::RequestBody;
pub(super) use pieces::Pieces;
pub(super) use size::{INLINE_BYTES_MAX, memfd};
