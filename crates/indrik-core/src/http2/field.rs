//! Blocks of fields (HPACK, RFC 7541), looked through for fields that no message may have.
//!
//! The library decompresses a block before it looks at the fields, and ends the connection for a name with capitals or
//! a value with a control character, although only its stream is wrong (RFC 9113 section 8.1.1). Here such a
//! field is replaced, before the library sees it, by one that it takes for what it is: malformed in this
//! stream. The replacement takes as much room in the table that all streams share as the field would.

use super::huffman;
use crate::http1::is_token;

/// Bytes of the names in the static table (RFC 7541 appendix A); the first 14 are pseudo-fields.
const STATIC_NAMES: [usize; 61] = [
    10, 7, 7, 5, 5, 7, 7, 7, 7, 7, 7, 7, 7, 7, 14, 15, 15, 13, 6, 27, 3, 5, 13, 13, 19, 16, 16, 14,
    16, 13, 12, 6, 4, 4, 6, 7, 4, 4, 8, 17, 13, 8, 19, 13, 4, 8, 12, 18, 19, 5, 7, 7, 11, 6, 10,
    25, 17, 10, 4, 3, 16,
];
/// A name whose every value but one is malformed.
const REPLACEMENT: &[u8] = b"te";

/// The block without fields that no message may have; `None`: there are none, or it cannot be told.
pub(super) fn mend(block: &[u8]) -> Option<Vec<u8>> {
    let mut mended: Option<Vec<u8>> = None;
    let mut rest = Cursor { bytes: block, at: 0 };
    while let Some(first) = rest.peek() {
        let begin = rest.at;
        let bad = match first {
            0x80.. => rest.int(7).map(|_| None),
            0x40.. => rest.literal(6),
            0x20.. => rest.int(5).map(|_| None),
            _ => rest.literal(4),
        }?;
        match (&mut mended, bad) {
            (None, None) => {}
            (Some(mended), None) => mended.extend_from_slice(&block[begin..rest.at]),
            (mended, Some(bad)) => {
                let mended = mended.get_or_insert_with(|| block[..begin].to_vec());
                // Whether it goes into the table stays as it was.
                mended.push(if first & 0x40 != 0 { 0x40 } else { 0 });
                replace(mended, bad.bytes?)?;
            }
        }
    }
    mended
}

/// A field as malformed as one of `bytes` bytes, in the room of that.
fn replace(block: &mut Vec<u8>, bytes: usize) -> Option<()> {
    let value = bytes.checked_sub(REPLACEMENT.len())?;
    block.push(2);
    block.extend_from_slice(REPLACEMENT);
    push_int(block, value);
    block.resize(block.len() + value, b'x');
    Some(())
}

/// A length of seven bits and more.
fn push_int(block: &mut Vec<u8>, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else {
        return block.push(u8::try_from(value).unwrap_or(126));
    };
    block.push(127);
    while rest >= 128 {
        block.push(0x80 | (rest % 128) as u8);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// A field that no message may have: bytes of its name and value together, if they are known.
struct Bad {
    bytes: Option<usize>,
}

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A string, as far as it matters.
#[derive(Default)]
struct Text {
    len: usize,
    /// As a value of a field.
    is_value: bool,
    /// The bytes, where they are needed.
    bytes: Vec<u8>,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn int(&mut self, prefix: u32) -> Option<usize> {
        let mask = (1usize << prefix) - 1;
        let first = usize::from(self.peek()?) & mask;
        self.at += 1;
        if first < mask {
            return Some(first);
        }
        let mut value = mask;
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.peek()?);
            self.at += 1;
            value += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// A literal field; whether no message may have it.
    fn literal(&mut self, prefix: u32) -> Option<Option<Bad>> {
        let index = self.int(prefix)?;
        if index == 0 {
            let name = self.text(true)?;
            let value = self.text(name.bytes.first() == Some(&b':'))?;
            let good = is_good(&name.bytes, &value);
            return Some((!good).then_some(Bad { bytes: Some(name.len + value.len) }));
        }
        let is_pseudo = index <= 14;
        let value = self.text(is_pseudo)?;
        let good = match index {
            2 | 3 => is_token(&value.bytes),
            _ if is_pseudo => is_pseudo_value(&value.bytes),
            _ => value.is_value,
        };
        let name = STATIC_NAMES.get(index - 1);
        Some((!good).then(|| Bad { bytes: name.map(|name| name + value.len) }))
    }

    fn text(&mut self, keeps: bool) -> Option<Text> {
        let is_coded = self.peek()? & 0x80 != 0;
        let len = self.int(7)?;
        let coded = self.bytes.get(self.at..self.at.checked_add(len)?)?;
        self.at += len;
        let mut text = Text { is_value: true, ..Text::default() };
        let mut take = |byte: u8| {
            text.len += 1;
            text.is_value &= byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            if keeps {
                text.bytes.push(byte);
            }
        };
        if is_coded {
            huffman::decode(coded, take)?;
        } else {
            coded.iter().for_each(|byte| take(*byte));
        }
        Some(text)
    }
}

fn is_good(name: &[u8], value: &Text) -> bool {
    match name {
        b":method" => is_token(&value.bytes),
        b":authority" | b":scheme" | b":path" | b":protocol" => is_pseudo_value(&value.bytes),
        _ => is_token(name) && !name.iter().any(u8::is_ascii_uppercase) && value.is_value,
    }
}

/// What the library judges when it has decompressed the block, without harm to other streams.
fn is_pseudo_value(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}
