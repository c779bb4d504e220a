//! POST to somebody else's server, from a thread that serves no request: a collector, a webhook.

mod client;
mod full;
mod said;

pub(crate) use client::{Client, Target};
pub(crate) use said::{cut, host};
