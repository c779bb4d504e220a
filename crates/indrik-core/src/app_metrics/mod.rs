//! The application's own metrics: what stands in the table of each process, and how all of them together are one.
//!
//! `shape` is what a metric is, `key` how that is written into a table (`indrik_ring::Table`) by the process that
//! counts, `totals` how the supervisor adds up what it finds there, `mirror` how it reads the files of prometheus_client.
//! All that is read was written by processes that may be broken: it is checked, and what cannot be right is left out
//! and counted.

mod key;
mod loss;
mod mirror;
mod pools;
mod series;
mod shape;
mod shown;
#[cfg(test)]
mod tests;
mod totals;

pub use key::{family_key, family_shape, series_key};
pub use loss::{LOSSES, Loss};
pub use mirror::{Mirror, MirrorFile};
pub use pools::{PoolNumbers, pools};
pub use series::Source;
pub use shape::{
    Across, AppKind, BUCKETS_MAX, LABEL_VALUE_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, Part, Shape,
    Unfit,
};
pub use totals::{Row, Totals};
