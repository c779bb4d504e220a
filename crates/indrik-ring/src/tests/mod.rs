//! Tests of the channel's parts.

mod crash;
mod head;
mod ring;
mod slot;
