//! A worker as the supervisor hands it over.

use indrik_core::ids::Generation;
use indrik_ring::FrontChannel;

use crate::front::events::Interface;

/// A worker that is ready for requests.
pub struct NewWorker {
    /// Its process.
    pub pid: u32,
    /// The front's end of its channel.
    pub channel: FrontChannel,
    /// What it runs.
    pub interface: Interface,
    /// Requests it can run at once.
    pub capacity: usize,
    /// Requests after which it is to be replaced; 0: never.
    pub requests_max: u64,
    /// Whose code it runs.
    pub generation: Generation,
    /// Whether [`FrontEvent::WorkerServed`] is wanted.
    pub tells_served: bool,
}
