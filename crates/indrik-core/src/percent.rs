//! Percent signs with two digits behind them, as URLs have them.

/// The text that is meant. What is no two digits stays as it is, and what is no UTF-8 is replaced.
#[must_use]
pub fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let digits = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &after[2..];
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_are_a_byte_and_everything_else_is_itself() {
        assert_eq!(decoded("%74oken%C3%A4"), "tokenä");
        for same in ["", "%", "%7", "%zz", "100%"] {
            assert_eq!(decoded(same), same);
        }
    }
}
