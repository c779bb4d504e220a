//! From a worker's events to what is sent: heads, and bodies with their sources.

mod body;
mod file;
mod head;
mod http2;
mod invalid;
mod refusal;
mod spool;
mod spools;
mod worker;

pub(super) use body::{Body, with_file};
pub(super) use file::{FilePart, Sent};
pub use head::set_server_header;
pub(super) use head::{close_for_http_1_0, copy_headers, head};
pub(super) use http2::{http2_head, strip_connection_fields};
pub(super) use spool::may_be_spooled;
pub use spools::SpoolStats;
pub(super) use spools::Spools;
pub(super) use worker::{RestOfUpload, Stream, Upcoming};
