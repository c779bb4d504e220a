//! What the server remembers of its last day, and what it shows of itself every second.
//!
//! A thread of its own ([`sampler`]) reads what the front has counted and what the kernel says of the workers, once a
//! second, and needs neither the supervision loop nor a worker. While somebody looks it makes a [`frame`] of it too.

mod diagnosis;
mod frame;
mod memory;
mod remembered;
mod sampler;
mod workers;

pub(crate) use remembered::{Remembered, Summary};
pub(crate) use sampler::Sampler;
