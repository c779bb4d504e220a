//! What others say, as it may stand in a line; and what this machine is called.

/// More of what somebody says is not repeated in the log.
const SAID_CHARS_MAX: usize = 200;

/// What somebody said, as it may stand in a line.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(SAID_CHARS_MAX).map(|it| if it.is_control() { ' ' } else { it }).collect()
}

/// The machine's name.
pub(crate) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
