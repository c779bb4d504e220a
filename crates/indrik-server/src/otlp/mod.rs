//! Export of spans to a collector, from a thread of its own: one that is slow, dead or talks nonsense costs the
//! server the spans, and a request nothing.
//!
//! `queue` is where spans wait, `carry` the thread; `post` has the request itself.

mod carry;
mod counts;
mod queue;

pub use counts::SpanStats;
pub(crate) use counts::{Counts, LOST};
pub(crate) use queue::Exporter;
