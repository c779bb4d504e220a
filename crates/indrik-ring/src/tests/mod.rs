//! Tests of the channel's parts.

mod crash;
#[cfg(not(miri))]
mod handoff;
mod head;
mod ring;
mod slot;
#[cfg(not(miri))]
mod table;
