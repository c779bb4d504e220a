//! WebSockets between a client's connection and an application.

pub(super) mod bridge;
mod line;
pub(super) mod own;
