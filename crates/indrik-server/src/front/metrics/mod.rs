//! What the front counts: one table for each I/O thread, filled where requests, connections and WebSockets end.
//!
//! Only its own thread writes a table, so counting is a load and a store, without a lock and without an atomic
//! addition; whoever reads adds the tables up. The numbers of routes are the same for all threads and
//! for all generations ([`routes`]), so a reload loses nothing.

mod all;
mod connection;
mod count;
mod exemplars;
mod families;
mod key;
mod own;
mod request;
mod routes;
mod table;
mod websocket;

pub(super) use all::Metrics;
pub(super) use connection::{Handshake, OpenConnection, handshake, received, sent};
pub(super) use exemplars::Traceable;
pub(super) use families::POOL;
pub(super) use request::{Begun, refused_unread, replayed};
pub(super) use websocket::OpenWebSocket;
