//! What the command writes.

use std::io::Write as _;

use indrik_core::logs::escape;
use serde_json::Value as Json;

/// A reader that has seen enough and closed the pipe is no error.
pub(crate) fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// A text of our own that may quote others, who do not command the terminal by it. Nowhere is left to complain about
/// a closed standard error.
pub(crate) fn print_error(text: &str) {
    let mut shown = Vec::with_capacity(text.len());
    escape::block(text, &mut shown);
    let _ = std::io::stderr().lock().write_all(&shown);
}

pub(crate) fn pretty(answer: &Json) -> String {
    let mut text = serde_json::to_string_pretty(answer).unwrap_or_else(|_| answer.to_string());
    text.push('\n');
    text
}
