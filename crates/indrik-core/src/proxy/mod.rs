//! What proxies in front say about their clients: the PROXY protocol, and the headers that carry a
//! client's address.

mod extensions;
mod header;
mod real_ip;

pub use header::{Accepts, Ends, Found, Header, Malformed, Transport, read_header};
pub use real_ip::{Hop, Source, client};
