//! What proxies in front say about their clients: the PROXY protocol, and the headers that carry a
//! client's address.

mod extensions;
mod header;
mod malformed;
mod real_ip;

pub use header::{Accepts, Ends, Found, Header, Transport, read_header};
pub use malformed::Malformed;
pub use real_ip::{Hop, Source, client};
