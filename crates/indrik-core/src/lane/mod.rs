//! Decisions about lanes: how much a worker may say there, and the names that it may give to routes.

mod allowance;
mod route_names;

pub use allowance::Allowance;
pub use route_names::{OTHER, RouteId, RouteNames, UNKNOWN};
