//! HTTP/1.1 framing, stricter than the parser behind it.

mod chunked;
mod rewrite;
mod screen;

pub use chunked::is_token_byte;
pub use rewrite::{Permits, Rewriter};
pub use screen::{Broken, Limits, Screen};
