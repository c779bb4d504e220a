//! All that is encoded in the channel: descriptors, heads, and what small payloads and numbers mean.
//!
//! Whoever writes and whoever reads take it from here, so that neither can mean something else.

mod frame;
mod head;
mod parts;

pub(crate) use frame::{Cell, Direction};
pub use frame::{Descriptor, Flags, Kind};
pub use head::{
    HeadError, Headers, RequestHead, ResponseHead, encode_headers, encode_request, encode_response,
    headers_len, request_len, response_len,
};
pub(crate) use parts::FileMark;
pub use parts::{BodyIn, Failure, FilePart, STOP_OVERTIME, TIME_TOO_LONG};
