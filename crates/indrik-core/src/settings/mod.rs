//! Settings: one table (`settings.toml`), several layers, one resolved [`Config`].

mod address;
mod config;
mod launch;
mod layers;
mod problem;

pub use address::{AddressError, BindAddress};
pub use config::{Config, LogLevel, LogTarget, WorkerClass};
pub use launch::{ConfigFileValues, Launch, TextFile};
pub use layers::{Entry, Layer, Origin, Raw};
pub use problem::Problem;
