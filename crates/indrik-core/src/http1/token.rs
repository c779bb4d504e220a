//! Which bytes may stand where (RFC 9110 section 5.6, RFC 3986 section 2).

/// Whether a byte may stand in a token (RFC 9110 section 5.6.2): a method, a field name.
#[inline]
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    TOKEN[byte as usize]
}

/// Whether every byte may stand in a token, and there is one.
#[inline]
#[must_use]
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|byte| is_token_byte(*byte))
}

/// A table: names of fields are looked at byte by byte for every request.
static TOKEN: [bool; 256] = letters_digits_and(b"!#$%&'*+-.^_`|~");

/// Which bytes belong to a set, as a table.
pub(super) const fn letters_digits_and(others: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < others.len() {
        table[others[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether a byte may stand in the value of a field: no control character but the tab.
#[inline]
#[must_use]
pub const fn is_value_byte(byte: u8) -> bool {
    matches!(byte, b'\t' | b' '..=b'~' | 0x80..)
}

/// Whether every byte may stand in the value of a field. Eight at a time; who has a tab, or may have
/// something worse, is looked at byte by byte.
#[inline]
#[must_use]
pub fn is_value(value: &[u8]) -> bool {
    let (words, rest) = value.as_chunks::<8>();
    let is_plain = words.iter().all(|word| !may_have_control(u64::from_ne_bytes(*word)));
    if is_plain {
        return rest.iter().all(|byte| is_value_byte(*byte));
    }
    value.iter().all(|byte| is_value_byte(*byte))
}

/// Whether one of eight bytes is a control character (also the tab); sometimes too when none is.
const fn may_have_control(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7f);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & (ONES * 0x80) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_judged_the_same_eight_bytes_at_a_time_as_byte_by_byte() {
        for byte in 0..=u8::MAX {
            for (len, at) in (1..=17).flat_map(|len| (0..len).map(move |at| (len, at))) {
                for filler in [b' ', b'~', b'\t', 0x80, 0xff] {
                    let mut value = vec![filler; len];
                    value[at] = byte;
                    assert_eq!(is_value(&value), is_value_byte(byte), "{value:?}");
                }
            }
        }
    }

    #[test]
    fn a_token_has_no_delimiter_no_space_and_nothing_beyond_ascii() {
        assert!(is_token(b"X!#$%&'*+-.^_`|~1"));
        for byte in (0..=b' ').chain(0x7f..=0xff).chain(*b"\"(),/:;<=>?@[\\]{}") {
            assert!(!is_token_byte(byte), "{byte:#x}");
        }
        assert!(!is_token(b""));
    }
}
