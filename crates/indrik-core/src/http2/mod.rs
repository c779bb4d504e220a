//! HTTP/2: what frames pass by, how many of them a client may send, and when a connection is told to end.
//!
//! The frames themselves are the library's work. Here their heads are read in passing, whatever pieces the bytes
//! come in, and decided upon.

mod allowance;
mod begun;
mod block;
mod drain;
mod field;
mod frame;
mod huffman;
mod ledger;

pub use allowance::{Allowance, Flood};
pub use begun::Begun;
pub use block::{Blocks, Passed};
pub use drain::{Drain, Step};
pub use frame::{FrameHead, FrameKind, FrameReader};
pub use ledger::Ledger;
