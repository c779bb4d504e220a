//! What others than the supervision loop see of the server, without asking it.
//!
//! The loop publishes a [`Look`] whenever something that matters has changed; with it go the [`Board`]'s chronicle and the
//! front's [`Eye`](crate::front::Eye). Whoever shows them (the admin listener) needs neither the loop nor a worker.

mod board;
mod shown;
mod snapshot;
mod turns;

pub use board::Board;
pub(crate) use shown::{shown_findings, shown_front};
pub(crate) use snapshot::unix_ms;
pub use snapshot::{
    CensusLook, HealthLook, Look, ReloadLook, ServerLook, SettingsLook, SteeringLook, TotalsLook,
    WorkerLook,
};
