//! WebSockets between a client's connection and an application.

pub(super) mod bridge;
pub(super) mod own;
