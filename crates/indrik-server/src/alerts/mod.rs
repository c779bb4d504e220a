//! The server's own alerts: a thread that looks once a second, and the ways of its messages.
//!
//! What is decided stands in `indrik_core::alerts`. `plan` is what the settings ask for, `watcher` the thread, `told` how it
//! tells; `webhook` and `exec` send, each with a queue of its own (`courier`), so that none waits for another; `shown` is what
//! others see, `kept` what outlives the process. Nothing here is waited for by a request or by the supervision loop.

mod courier;
mod exec;
mod kept;
mod plan;
mod shown;
mod told;
mod watcher;
mod webhook;

pub(crate) use plan::Plan;
pub(crate) use shown::{Alerts, Tested};
pub(crate) use watcher::Watcher;
