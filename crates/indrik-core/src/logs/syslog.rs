//! The wire form of syslog: RFC 3164, as Python's `logging` writes it.

use super::escape::is_active;
use super::level::Level;

/// A message longer than this is cut: a datagram cannot be longer than 64 KiB, and what receives
/// them mostly takes less.
pub const MESSAGE_BYTES_MAX: usize = 32 * 1024;

/// A kind of socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One message is one datagram.
    Datagram,
    /// Messages follow each other.
    Stream,
}

/// The facility `user`.
pub const USER: u8 = 1;

/// The number of a facility.
#[must_use]
pub fn facility(name: &str) -> Option<u8> {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4",
        "local5", "local6", "local7",
    ];
    let name = name.to_ascii_lowercase();
    let name = if name == "security" { "auth" } else { name.as_str() };
    let at = NAMES.iter().position(|known| !known.is_empty() && *known == name)?;
    u8::try_from(at).ok()
}

/// The number of a level.
const fn severity(level: Level) -> u8 {
    match level {
        Level::Critical => 2,
        Level::Error => 3,
        Level::Warning => 4,
        Level::Routine | Level::Info => 6,
        Level::Debug => 7,
    }
}

/// One message as bytes. In a stream a message ends with its line, so lines within it are joined
/// the way syslog servers do it.
#[must_use]
pub fn message(facility: u8, level: Level, tag: &str, text: &str, kind: Kind) -> Vec<u8> {
    let priority = u16::from(facility) * 8 + u16::from(severity(level));
    let mut message = format!("<{priority}>{tag}: ").into_bytes();
    let room = MESSAGE_BYTES_MAX.saturating_sub(message.len() + 1);
    match kind {
        Kind::Datagram => message.extend_from_slice(cut(text, room).as_bytes()),
        Kind::Stream => {
            for character in cut(text, room).chars() {
                if is_active(character) && character.is_ascii() {
                    message.extend_from_slice(format!("#{:03o}", u32::from(character)).as_bytes());
                } else {
                    message.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }
    message.push(match kind {
        Kind::Datagram => 0,
        Kind::Stream => b'\n',
    });
    message
}

fn cut(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}
