//! Escaping for lines of text: what a client sends cannot end a quoted part, begin a line or
//! command a terminal.

/// Appends `bytes` to a line. UTF-8 stays as it is, but for quotes, backslashes and what a terminal
/// or a viewer obeys instead of showing; every other byte becomes `\xNN`.
pub fn text(bytes: &[u8], line: &mut Vec<u8>) {
    if bytes.iter().all(|byte| is_plain(*byte)) {
        line.extend_from_slice(bytes);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            escape(character, line);
        }
        for byte in chunk.invalid() {
            hex_escape(*byte, line);
        }
    }
}

/// Appends a text of our own that may quote others: its lines and tabs stay, what a terminal obeys
/// does not.
pub fn block(text: &str, line: &mut Vec<u8>) {
    if !text.chars().any(is_active) {
        line.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        match character {
            '\n' | '\t' => line.push(character as u8),
            character if is_active(character) => escape(character, line),
            character => line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// A text that somebody else wrote, to stand in a line of our own: nothing in it ends the line or is obeyed by a
/// terminal, and it has so many characters at most.
#[must_use]
pub fn line(text: &str, chars_max: usize) -> String {
    short(text, chars_max, is_active)
}

/// The same between quotes, which it cannot end.
#[must_use]
pub fn quoted(text: &str, chars_max: usize) -> String {
    short(text, chars_max, |character| is_active(character) || matches!(character, '"' | '\\'))
}

fn short(text: &str, chars_max: usize, is_escaped: impl Fn(char) -> bool) -> String {
    let mut bytes = Vec::new();
    let mut characters = text.chars();
    for character in characters.by_ref().take(chars_max) {
        match is_escaped(character) {
            true => escape(character, &mut bytes),
            false => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    if characters.next().is_some() {
        bytes.extend_from_slice("…".as_bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether `character` does something to a terminal or viewer rather than being seen: controls
/// (C0, DEL, C1), the separators that some viewers break lines at, and what turns the direction of
/// the text around it.
#[must_use]
pub fn is_active(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Printable ASCII that means nothing in a quoted part.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn escape(character: char, line: &mut Vec<u8>) {
    match character {
        '"' => line.extend_from_slice(b"\\\""),
        '\\' => line.extend_from_slice(b"\\\\"),
        character if is_active(character) => match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => hex_escape(byte, line),
            // Two digits would be those of a byte that is not UTF-8.
            _ => line.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes()),
        },
        character => {
            line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

fn hex_escape(byte: u8, line: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS[usize::from(half & 15)];
    line.extend_from_slice(&[b'\\', b'x', digit(byte >> 4), digit(byte)]);
}
