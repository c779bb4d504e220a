//! What the request path knows beside the request: of its connection, and of the settings it is served by.

mod connection;
mod request;

pub(super) use connection::{ConnectionContext, Successor};
pub(super) use request::RequestContext;
