//! WebSocket, the protocol: RFC 6455 with permessage-deflate (RFC 7692), for the server side.
//!
//! The engine never touches a socket or a clock: bytes go in, events and bytes come out.
//! [`session`] alone knows about tokio.
//!
//! ```text
//!  HTTP request ──► handshake (+ negotiation) ──► 101, Connection::new
//!                                                   │
//!  socket ──► Connection::feed ─► frame ─► deflate ─► message ──► poll_event ──► application
//!  socket ◄── Connection::output ◄─ frame ◄─ deflate ◄─ send / ping / close  ◄── application
//!             └──────────────── driven by session::run ────────────────────────┘
//! ```
//!
//! Invariants:
//!
//! * Memory is bounded: the socket is read only when what was read before is decoded; at most one
//!   message is assembled at a time, never above `message_size_max`, also while inflating; one more
//!   waits for the application; output is made only while less than
//!   [`connection::OUTPUT_TARGET_BYTES`] of it waits for the socket, and a message to the peer goes
//!   out in the parts in which it comes. Of compressors, which are large, [`deflate::COMPRESSORS_KEPT_MAX`] are kept in the whole process.
//! * Errors are found as early as the bytes allow: a bad header before its payload, bad UTF-8 and
//!   an oversized message inside a frame that is still arriving.
//! * Nothing is sent after a Close frame, and nothing received after one is looked at.

pub mod close;
pub mod connection;
pub mod deflate;
pub mod frame;
pub mod handshake;
pub mod message;
pub mod negotiation;
pub mod outgoing;
mod pace;
pub mod session;
pub mod violation;

pub use close::CloseFrame;
pub use connection::{Connection, Event};
pub use handshake::Handshake;
pub use message::Message;
pub use outgoing::Part;
pub use session::{Application, Command, SessionLimits};
