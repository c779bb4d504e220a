//! The dashboard: its files, the past for its charts, and a frame every second.
//!
//! The files hold nothing of the server, so that anybody may load them; what they show is asked for with a token where
//! one is needed.

mod files;
mod live;

pub(super) use files::file;
#[cfg(test)]
pub(super) use files::paths;
pub(super) use live::{history, live};
