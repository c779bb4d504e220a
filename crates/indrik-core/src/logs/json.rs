//! JSON lines: one object each, valid whatever the bytes.

use super::escape::is_active;

/// An object in the making, appended to a line.
#[derive(Debug)]
pub struct Object<'a> {
    line: &'a mut Vec<u8>,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// Begins an object at the end of `line`.
    pub fn begin(line: &'a mut Vec<u8>) -> Self {
        line.push(b'{');
        Self { line, is_empty: true }
    }

    /// A field that is text. What is not UTF-8 is shown as U+FFFD.
    pub fn text(&mut self, name: &str, value: &[u8]) {
        self.name(name);
        string(value, self.line);
    }

    /// A field that is text, or null.
    pub fn optional(&mut self, name: &str, value: Option<&[u8]>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.raw(name, b"null"),
        }
    }

    /// A field that is a number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.raw(name, value.to_string().as_bytes());
    }

    /// A field whose value is JSON already.
    pub fn raw(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.line.extend_from_slice(json);
    }

    /// A field that is an object of its own.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) {
        self.name(name);
        let mut inner = Object::begin(self.line);
        fill(&mut inner);
        inner.end();
    }

    /// Ends the object.
    pub fn end(self) {
        self.line.push(b'}');
    }

    fn name(&mut self, name: &str) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.line.push(b',');
        }
        string(name.as_bytes(), self.line);
        self.line.push(b':');
    }
}

/// Appends `bytes` as a JSON string.
pub fn string(bytes: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    if bytes.iter().all(|byte| matches!(byte, b' '..=b'~') && *byte != b'"' && *byte != b'\\') {
        line.extend_from_slice(bytes);
    } else {
        for chunk in bytes.utf8_chunks() {
            chunk.valid().chars().for_each(|character| escape(character, line));
            if !chunk.invalid().is_empty() {
                line.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    line.push(b'"');
}

fn escape(character: char, line: &mut Vec<u8>) {
    match character {
        '"' => line.extend_from_slice(b"\\\""),
        '\\' => line.extend_from_slice(b"\\\\"),
        '\n' => line.extend_from_slice(b"\\n"),
        '\r' => line.extend_from_slice(b"\\r"),
        '\t' => line.extend_from_slice(b"\\t"),
        // All of these are in the Basic Multilingual Plane: four digits are enough.
        character if is_active(character) => {
            line.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
        }
        character => {
            line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}
