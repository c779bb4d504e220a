//! Which bytes may stand where (RFC 9110 section 5.6, RFC 3986 section 2).

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2): a method, a field name.
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Whether every byte may stand in a token, and there is one.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// A table: names of fields are looked at byte by byte for every request.
static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
};

/// Whether a byte may stand in the value of a field: no control character but the tab.
pub(super) const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Whether a byte never needs an escape in a URI.
pub(super) const fn is_unreserved_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_no_delimiter_no_space_and_nothing_beyond_ascii() {
        assert!(is_token(b"X!#$%&'*+-.^_`|~1"));
        for byte in (0..=b' ').chain(0x7f..=0xff).chain(*b"\"(),/:;<=>?@[\\]{}") {
            assert!(!is_token_byte(byte), "{byte:#x}");
        }
        assert!(!is_token(b""));
    }
}
