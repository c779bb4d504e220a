//! Connections: their bytes, their versions of HTTP, their timeouts.

mod cleartext;
pub(super) mod close;
pub(super) mod connection;
mod h1;
pub(super) mod h2;
pub(super) mod io;
mod join;
mod lending;
pub(super) mod open;
mod preamble;
mod preface;
pub(super) mod reaper;
pub(super) mod stream;
pub(super) mod tls;
