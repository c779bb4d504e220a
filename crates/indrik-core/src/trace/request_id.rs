//! The id of a request.

use super::hex;

/// The longest id that is taken over, bytes.
pub const BYTES_MAX: usize = 128;
/// How long an id is that is made here.
pub const MADE_BYTES: usize = 32;

/// Whether an id that came with a request may be its id: it goes into headers, logs and records as it stands.
#[must_use]
pub fn is_acceptable(id: &[u8]) -> bool {
    (1..=BYTES_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// An id of 128 random bits.
#[must_use]
pub fn made(chance: [u64; 2]) -> [u8; MADE_BYTES] {
    let mut id = [0; MADE_BYTES];
    let (first, second) = id.split_at_mut(MADE_BYTES / 2);
    hex::write(&chance[0].to_be_bytes(), first);
    hex::write(&chance[1].to_be_bytes(), second);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_forge_anything_is_not_taken_over() {
        for good in ["a", "7b0c-41/x=+\"", &"x".repeat(BYTES_MAX)] {
            assert!(is_acceptable(good.as_bytes()), "{good}");
        }
        let long = "x".repeat(BYTES_MAX + 1);
        for bad in ["", " ", "a b", "a\tb", "a\nb", "ü", "a\u{7f}", &long] {
            assert!(!is_acceptable(bad.as_bytes()), "{bad:?}");
        }
    }

    #[test]
    fn a_made_id_is_its_random_bits_in_hexadecimal() {
        assert_eq!(&made([0x0123_4567_89ab_cdef, 0xff]), b"0123456789abcdef00000000000000ff");
    }
}
