//! HTTP/1.1 framing, stricter than the parser behind it.

mod broken;
mod chunked;
mod host;
mod lines;
mod method;
mod request_line;
mod rewrite;
mod screen;
mod token;

pub use broken::Broken;
pub use host::Host;
pub use method::is_conventional_method;
pub use request_line::target_as_sent;
pub use rewrite::{Permits, Rewriter};
pub use screen::{HEAD_BYTES_MAX, Limits, Screen, TLS_HANDSHAKE};
pub use token::{is_token, is_token_byte, is_value, is_value_byte};
