//! The shell around the decisions of `indrik-core`: it owns sockets, processes, files and the clock.
//!
//! [`run`] is the server. The supervision loop ([`drive`]) stays on the thread that calls it; the
//! front ([`front`]) has threads of its own and talks to the loop through its handle and its events.
#![forbid(unsafe_code)]

mod admin;
mod ailing;
mod alerts;
mod app_metrics;
pub mod boot;
pub mod control;
pub mod drive;
pub mod flames;
pub mod front;
mod hearing;
mod history;
mod lane;
pub mod log;
pub mod look;
pub mod metrics;
mod otlp;
pub mod paths;
mod post;
mod preflight;
mod rehearsal;
mod zygote;

pub use boot::word::say_wrong;
pub use drive::{Outcome, run};
pub use preflight::preflight;
pub use rehearsal::Rehearsal;
pub use zygote::Loaded;
