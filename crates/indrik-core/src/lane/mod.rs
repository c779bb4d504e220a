//! Decisions about lanes: how much a worker may say there, and the names that it may give to routes.

mod allowance;
mod routes;

pub use allowance::Allowance;
pub use routes::{OTHER, RouteNames, UNKNOWN};
