//! Which request is which, across processes: its id, its place in a trace of the W3C's, and what a collector is told of it.
//!
//! `request_id` is what an id may be, `parent` the header `traceparent`, `span` what is known of a request at its end,
//! `otlp` the words of OpenTelemetry for that, `export` where they go by settings and environment, `delivery` what
//! becomes of a batch that was not taken. Chance, time and environment come from outside.

pub mod delivery;
pub mod endpoint;
pub mod export;
mod hex;
pub mod otlp;
pub mod parent;
pub mod request_id;
pub mod span;
