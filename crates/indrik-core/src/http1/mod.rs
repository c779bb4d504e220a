//! HTTP/1.1 framing, stricter than the parser behind it.

mod chunked;
mod screen;

pub use screen::{Broken, Screen};
