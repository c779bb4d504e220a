//! Recordings of what clients ask and how it went, for planners, simulators and load testers: what is recorded, what
//! is left out of it, and how it is written. docs/manual/recording.md describes the format.

mod body;
mod line;
mod order;
mod redact;

pub use body::{Body, body};
pub use line::{Ending, Head, Record, Request, head_line, record_line, trailer_line};
pub use order::{Order, Sample};
pub use redact::{field, target};
