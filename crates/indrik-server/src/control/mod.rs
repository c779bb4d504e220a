//! The control socket: how an operator talks to a running server.
//!
//! `listen` opens the sockets, `server` keeps the clients' connections, `name` is the address that
//! is found without any configuration, `client` is the other side, for `indrik ctl`, `follow` what it does while a server
//! goes on sending, and `over_http` the other side of the admin listener, for `indrik set`. What the
//! commands mean stands in `indrik_core::control`; what they do, in `drive/control`.

pub mod client;
mod find;
mod follow;
mod listen;
mod name;
pub mod over_http;
mod server;

pub use find::Marks;
pub(crate) use listen::{Open, open, open_admin};
pub(crate) use server::{ControlServer, Token, error};
