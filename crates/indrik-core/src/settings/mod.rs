//! Settings: one table (`settings.toml`), several layers, one resolved [`Config`].
//!
//! `table` is the table; `gather` what each source says, in `layers`; `value` the check of one value, and
//! `rules` what holds for a few; [`resolve`] picks the strongest values and derives the rest; `generated`
//! is [`Config`], which `cargo xtask settings` writes from the table, and `field` how its fields are read;
//! [`render`] writes help and reference. A new setting is a row in the table.

mod address;
mod by_hand;
mod config;
mod field;
mod gather;
mod generated;
mod hands;
mod hint;
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
mod rules;
mod seconds;
mod servers;
mod share;
pub mod suggest;
mod table;
mod together;
mod toml_file;
mod types;
mod value;
pub mod words;
mod worker_class;

#[cfg(test)]
mod tests;

/// The settings of an `indrik.toml` with this text, for the tests of whoever reads them.
#[cfg(test)]
pub(crate) fn config_for_tests(text: &str) -> Config {
    tests::config_of(text).expect("right settings")
}

pub use address::{AddressError, BindAddress};
pub use by_hand::{CHANGES_MAX, Difference, Plan, Refusal, Shown, plan, shown};
pub use generated::{
    AlertWebhookFormat, Config, HeaderMap, Http2Cleartext, LogFormat, LogLevel, LogRoutine,
    ProxyProtocol, RealIpHeader,
};
pub use hands::Hands;
pub use launch::{ConfigFileValues, Launch, TextFile, Typed};
pub use layers::{Entry, Layer, Origin, Raw};
pub use network::{Network, NetworkError};
pub use problem::Problem;
pub use quantity::{read_duration, read_size, read_time_limit};
pub use resolve::{Merged, Sourced, merge, resolve, resolve_without_application};
pub use rlimits::{Resource, RlimitError, WorkerRlimit};
pub use servers::{StatsdAddress, SyslogAddress};
pub use share::Share;
pub use table::{
    Kind, OWN_VARIABLE_PREFIX, Rank, Rule, SETTINGS, Setting, Status, Variable, Written,
};
pub use types::{ClassSpec, ControlSocket, LogTarget, WorkerClass};
pub use value::{BadValue, Value};
pub use worker_class::{Found, KnownClass, WORKER_CLASSES};
