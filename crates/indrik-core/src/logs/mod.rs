//! What log lines look like: the access log's format, escaping, JSON, and the wire forms of syslog
//! and statsd. Bytes in, bytes out; who writes them is the shell's business.

pub mod access_format;
pub mod burst;
pub mod entry;
pub mod escape;
pub mod json;
mod json_format;
pub mod level;
pub mod metric;
pub mod reach;
pub mod recent;
pub mod repeat;
pub mod rotation;
pub mod syslog;

#[cfg(test)]
mod tests;
