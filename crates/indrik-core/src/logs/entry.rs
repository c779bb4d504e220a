//! What an entry of the error log looks like: Gunicorn's line, or a JSON object.

use std::time::Duration;

use super::escape;
use super::json::Object;
use super::level::Level;

/// What an entry says, for machines: names and values.
pub type Fields = Vec<(&'static str, FieldValue)>;

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldValue {
    /// A word or a text.
    Text(String),
    /// A count.
    Number(u64),
    /// A time, told in seconds.
    Seconds(Duration),
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<u64> for FieldValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<Duration> for FieldValue {
    fn from(time: Duration) -> Self {
        Self::Seconds(time)
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

/// The same with the level in colour, for a terminal.
#[must_use]
pub fn coloured_line(time: &str, level: Level, pid: u32, text: &str) -> Vec<u8> {
    let colour = match level {
        Level::Debug | Level::Routine => "2",
        Level::Info => "32",
        Level::Warning => "33",
        Level::Error | Level::Critical => "1;31",
    };
    let name = level.name();
    let mut line = format!("[{time}] [{pid}] [\x1b[{colour}m{name}\x1b[0m] ").into_bytes();
    escape::block(text, &mut line);
    line.push(b'\n');
    line
}

/// Whether a log that goes to a standard stream is coloured: on a terminal that can, unless `NO_COLOR` is set, and
/// wherever it goes where `FORCE_COLOR` is. Both as their inventors have it: empty is as if they were not set.
#[must_use]
pub fn wants_colour(
    is_terminal: bool,
    terminal: Option<&str>,
    no_color: Option<&str>,
    force_color: Option<&str>,
) -> bool {
    let is_set = |value: Option<&str>| value.is_some_and(|value| !value.is_empty());
    let is_forced = is_set(force_color) && force_color != Some("0");
    !is_set(no_color) && (is_forced || (is_terminal && terminal != Some("dumb")))
}

/// A JSON object, with its line end. A traceback, or whatever else follows the first line of the
/// text, is a field of its own.
#[must_use]
pub fn object(
    time: &str,
    level: Level,
    pid: u32,
    text: &str,
    fields: &[(&'static str, FieldValue)],
) -> Vec<u8> {
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
    for (name, value) in fields {
        match value {
            FieldValue::Text(text) => object.text(name, text.as_bytes()),
            FieldValue::Number(number) => object.number(name, *number),
            FieldValue::Seconds(time) => {
                object.raw(name, format!("{:.3}", time.as_secs_f64()).as_bytes());
            }
        }
    }
    object.end();
    line.push(b'\n');
    line
}
