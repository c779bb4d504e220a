//! Why is it slow, since when, whose fault, and what to do: named in words from looks at a server a few seconds apart.
//!
//! A rule names a cause only when both the first and the last look show it, or what was counted between them does; so a
//! moment of load is no finding. What a rule needs and nobody knows (`None` in [`sight`]) makes it silent, never guess.

mod finding;
mod judge;
mod pair;
mod processes;
mod requests;
mod service;
mod sight;
mod usual;
mod watch;

pub use finding::{Cause, Finding, Whose};
pub use judge::diagnose;
pub use sight::{Front, Machine, Pool, Running, Server, Sight, Stalled, Worker};
pub use usual::Usual;
pub use watch::{Standing, Watch};
