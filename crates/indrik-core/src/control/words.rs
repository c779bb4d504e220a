//! What all commands' messages use.

/// The limit, for messages.
pub(super) const MOST: &str = "a server has 1024 at most";

/// A client's word in a message: its beginning, with nothing that moves a terminal's cursor.
pub(super) fn shown(word: &str) -> String {
    const CHARS_MAX: usize = 40;
    word.chars().take(CHARS_MAX).flat_map(char::escape_default).collect()
}
