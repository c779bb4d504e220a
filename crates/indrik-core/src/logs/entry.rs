//! What an entry of the error log looks like: Gunicorn's line, or a JSON object.

use super::escape;
use super::json::Object;
use crate::supervise::Level;

impl Level {
    /// The level's name, as Python's `logging` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}

/// `[time] [pid] [LEVEL] text`, with its line end. The text may have several lines.
#[must_use]
pub fn line(time: &str, level: Level, pid: u32, text: &str) -> Vec<u8> {
    let mut line = format!("[{time}] [{pid}] [{}] ", level.name()).into_bytes();
    line.reserve(text.len() + 1);
    escape::block(text, &mut line);
    line.push(b'\n');
    line
}

/// A JSON object, with its line end. A traceback, or whatever else follows the first line of the
/// text, is a field of its own.
#[must_use]
pub fn object(time: &str, level: Level, pid: u32, text: &str) -> Vec<u8> {
    let mut line = Vec::with_capacity(text.len() + 128);
    let (message, details) = match text.split_once('\n') {
        Some((message, details)) => (message, Some(details)),
        None => (text, None),
    };
    let mut object = Object::begin(&mut line);
    object.text("time", time.as_bytes());
    object.text("log", b"error");
    object.text("level", level.name().as_bytes());
    object.number("pid", u64::from(pid));
    object.text("message", message.as_bytes());
    if let Some(details) = details {
        object.text("details", details.as_bytes());
    }
    object.end();
    line.push(b'\n');
    line
}
