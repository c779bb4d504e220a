//! HTTP/1.1 framing, stricter than the parser behind it.

mod chunked;
mod screen;

pub use chunked::is_token_byte;
pub use screen::{Broken, Screen};
