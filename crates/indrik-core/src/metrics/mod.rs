//! Metrics: the table of what Indrik counts, one model for every source, and how a scraper is told.
//!
//! What there is stands in `metrics.toml`; `cargo xtask metrics` makes [`generated`] of it, one typed handle for
//! each row. Whoever counts fills a handle with samples and has a [`Family`]; applications' own metrics are
//! families too. [`expose`] writes families as the scraper asks for them.

mod accept;
mod expose;
mod family;
pub mod generated;
mod grid;
mod names;
mod protobuf;
mod table;
mod text;

pub use accept::{Format, negotiate};
pub use expose::{Exposed, expose};
pub use family::{Distribution, Exemplar, Family, Kind, Label, Labels, Native, Sample, Value};
pub use grid::{BUCKETS, CELLS, bucket, cell, distribution};
pub use names::is_name;
pub use table::{Counter, Gauge, Histogram, Info, LabelRow, Row};
