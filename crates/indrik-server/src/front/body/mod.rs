//! The bodies of requests, on their way from the client to a worker.

mod incoming;
pub(super) mod pump;
pub(super) mod upload;

pub(super) use incoming::RequestBody;
