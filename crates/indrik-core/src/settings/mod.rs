//! Settings: one table (`settings.toml`), several layers, one resolved [`Config`].
//!
//! `table` is the table; `layers` what each source says; `value` the check of one value;
//! [`resolve`] picks the strongest values and derives the rest; [`render`] writes help
//! and reference. A new setting is a row in the table, and, if the server reads it, a field of
//! [`Config`] of the same name.

mod address;
mod config;
mod launch;
mod layers;
mod network;
mod problem;
mod python;
mod quantity;
pub mod render;
pub mod report;
mod resolve;
mod rlimits;
mod servers;
mod share;
pub mod suggest;
mod table;
mod toml_file;
mod value;
pub mod words;
mod worker_class;

#[cfg(test)]
mod tests;

pub use address::{AddressError, BindAddress};
pub use config::{
    ClassSpec, Config, ControlSocket, HeaderMap, Http2Cleartext, LogFormat, LogLevel, LogTarget,
    ProxyProtocol, RealIpHeader, WorkerClass,
};
pub use launch::{ConfigFileValues, Launch, TextFile, Typed};
pub use layers::{Entry, Layer, Origin, Raw};
pub use network::{Network, NetworkError};
pub use problem::Problem;
pub use quantity::{read_duration, read_time_limit};
pub use resolve::{Settled, Settlement, resolve, resolve_without_application, settle};
pub use rlimits::{Resource, RlimitError, WorkerRlimit};
pub use servers::{StatsdAddress, SyslogAddress};
pub use share::Share;
pub use table::{Kind, OWN_VARIABLE_PREFIX, Rank, SETTINGS, Setting, Status, Variable, Written};
pub use value::{BadValue, Value};
pub use worker_class::{Found, KnownClass, WORKER_CLASSES};
