//! Export of spans to a collector, from a thread of its own: one that is slow, dead or talks nonsense costs the
//! server the spans, and a request nothing.
//!
//! `queue` is where spans wait, `carry` the thread, `client` one request to the collector.

mod carry;
mod client;
mod counts;
mod full;
mod queue;

pub(crate) use counts::Counts;
pub use counts::SpanStats;
pub(crate) use queue::Exporter;
