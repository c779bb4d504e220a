//! What clients sent, as text that can be shown to anybody.

/// Bytes of a request's target that are shown.
pub(super) const TARGET_BYTES_MAX: usize = 256;
/// Bytes of a method that are shown.
pub(super) const METHOD_BYTES_MAX: usize = 32;

/// The beginning of what a client sent, as printable ASCII.
pub(super) fn printable(bytes: &[u8], most: usize) -> String {
    let mut text = bytes[..bytes.len().min(most)].escape_ascii().to_string();
    if bytes.len() > most {
        text.push_str("...");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sent_is_shown_shortened_and_escaped() {
        assert_eq!(printable(b"/a b", 10), "/a b");
        assert_eq!(printable("/\u{202e}\n\x1b".as_bytes(), 10), "/\\xe2\\x80\\xae\\n\\x1b");
        assert_eq!(printable(&[b'x'; 300], TARGET_BYTES_MAX).len(), TARGET_BYTES_MAX + 3);
    }
}
