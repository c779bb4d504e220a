//! The framing of a chunked body (RFC 9112 section 7.1), byte by byte outside the data.

use super::broken::Broken;
use super::token::{is_token, is_token_byte, is_value_byte};

/// Bytes of one chunk's size line, extensions included.
const SIZE_LINE_MAX: usize = 4096;
/// Bytes of all trailers together.
const TRAILERS_MAX: usize = 64 * 1024;
/// Bytes of one chunk: 2⁶⁰ are more than anybody sends.
const SIZE_MAX: u64 = (1 << 60) - 1;

#[derive(Debug)]
pub(super) struct Chunks {
    state: ChunkState,
    size: u64,
    digits: usize,
    /// The extension of the current size line, or the current trailer line.
    line: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailer,
    TrailerLf,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self { state: ChunkState::Size, size: 0, digits: 0, line: Vec::new(), trailer_bytes: 0 }
    }

    /// Takes bytes; says how many, and whether the body is over.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Result<(usize, bool), Broken> {
        let mut at = 0;
        while at < bytes.len() {
            if self.state == ChunkState::Data {
                let left = usize::try_from(self.size).unwrap_or(usize::MAX);
                let used = left.min(bytes.len() - at);
                self.size -= used as u64;
                at += used;
                if self.size == 0 {
                    self.state = ChunkState::DataCr;
                }
                continue;
            }
            let done = self.byte(bytes[at])?;
            at += 1;
            if done {
                return Ok((at, true));
            }
        }
        Ok((at, false))
    }

    fn byte(&mut self, byte: u8) -> Result<bool, Broken> {
        match (self.state, byte) {
            (ChunkState::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => self.digit(byte)?,
            (ChunkState::Size, b'\r') if self.digits > 0 => self.state = ChunkState::SizeLf,
            (ChunkState::Size, b';' | b' ' | b'\t') if self.digits > 0 => {
                self.line.push(byte);
                self.state = ChunkState::Extension;
            }
            (ChunkState::Size, _) => return Err(Broken::ChunkSize),
            (ChunkState::Extension, b'\r') => {
                if !is_extension(&self.line) {
                    return Err(Broken::ChunkExtension);
                }
                self.line.clear();
                self.state = ChunkState::SizeLf;
            }
            (ChunkState::Extension, b'\n') => return Err(Broken::ChunkExtension),
            (ChunkState::Extension, _) => {
                self.line.push(byte);
                if self.line.len() > SIZE_LINE_MAX {
                    return Err(Broken::ChunkExtension);
                }
            }
            (ChunkState::SizeLf, b'\n') => self.size_line_done(),
            (ChunkState::SizeLf, _) => return Err(Broken::ChunkSize),
            (ChunkState::Data, _) | (ChunkState::DataCr, b'\r') => self.state = ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => {
                self.digits = 0;
                self.state = ChunkState::Size;
            }
            (ChunkState::DataCr | ChunkState::DataLf, _) => return Err(Broken::ChunkEnd),
            (ChunkState::Trailer, b'\r') => self.state = ChunkState::TrailerLf,
            (ChunkState::Trailer, b'\n') => return Err(Broken::BareLineFeed),
            (ChunkState::Trailer, _) => self.trailer_byte(byte)?,
            (ChunkState::TrailerLf, b'\n') => return self.trailer_line_done(),
            (ChunkState::TrailerLf, _) => return Err(Broken::BareCarriageReturn),
        }
        Ok(false)
    }

    fn digit(&mut self, byte: u8) -> Result<(), Broken> {
        // Zeros in front of a number are digits like others (`1*HEXDIG`).
        self.digits += 1;
        let value = char::from(byte).to_digit(16).ok_or(Broken::ChunkSize)?;
        if self.size > SIZE_MAX >> 4 || self.digits > SIZE_LINE_MAX {
            return Err(Broken::ChunkSize);
        }
        self.size = self.size << 4 | u64::from(value);
        Ok(())
    }

    fn size_line_done(&mut self) {
        self.state = if self.size == 0 { ChunkState::Trailer } else { ChunkState::Data };
    }

    fn trailer_byte(&mut self, byte: u8) -> Result<(), Broken> {
        self.line.push(byte);
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILERS_MAX {
            return Err(Broken::Trailer);
        }
        Ok(())
    }

    /// An empty line ends the body.
    fn trailer_line_done(&mut self) -> Result<bool, Broken> {
        if self.line.is_empty() {
            return Ok(true);
        }
        if !is_trailer(&self.line) {
            return Err(Broken::Trailer);
        }
        self.line.clear();
        self.state = ChunkState::Trailer;
        Ok(false)
    }
}

/// `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`
fn is_extension(line: &[u8]) -> bool {
    let mut rest = line;
    loop {
        rest = skip_space(rest);
        let Some(after) = rest.strip_prefix(b";") else { return false };
        let Some(after) = take_token(skip_space(after)) else { return false };
        rest = after;
        if let Some(value) = skip_space(rest).strip_prefix(b"=") {
            let value = skip_space(value);
            let after =
                if value.first() == Some(&b'"') { take_quoted(value) } else { take_token(value) };
            let Some(after) = after else { return false };
            rest = after;
        }
        if rest.is_empty() {
            return true;
        }
    }
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    let space = bytes.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &bytes[space..]
}

fn take_token(bytes: &[u8]) -> Option<&[u8]> {
    let len = bytes.iter().take_while(|byte| is_token_byte(**byte)).count();
    (len > 0).then(|| &bytes[len..])
}

fn take_quoted(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes.strip_prefix(b"\"")?;
    loop {
        match rest.split_first()? {
            (b'"', after) => return Some(after),
            (b'\\', after) => {
                let (escaped, after) = after.split_first()?;
                if !is_value_byte(*escaped) {
                    return None;
                }
                rest = after;
            }
            (byte, after) if is_value_byte(*byte) => rest = after,
            _ => return None,
        }
    }
}

/// A field line whose field may stand behind a body (RFC 9110 section 6.5.1).
fn is_trailer(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    const FORBIDDEN: [&[u8]; 9] = [
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"te",
        b"trailer",
        b"authorization",
        b"content-type",
        b"content-encoding",
        b"connection",
    ];
    is_token(name)
        && value.iter().all(|byte| is_value_byte(*byte))
        && !FORBIDDEN.iter().any(|forbidden| name.eq_ignore_ascii_case(forbidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<bool, Broken> {
        let mut chunks = Chunks::new();
        let (used, done) = chunks.read(body.as_bytes())?;
        assert!(!done || used == body.len(), "bytes behind the body were taken");
        Ok(done)
    }

    #[test]
    fn well_formed_bodies_pass() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "A;name=value;other=\"quo\\\"ted\" ; bare\r\n0123456789\r\n0\r\n\r\n",
            "0000000000000000000000000003\r\nabc\r\n00000000000000000000\r\n\r\n",
            "1 ;a\r\nx\r\n000\r\nX-Sum: 1\r\nOther:\r\n\r\n",
        ] {
            assert_eq!(read(body), Ok(true), "{body:?}");
        }
    }

    #[test]
    fn zeros_in_front_of_a_size_are_bounded_by_its_line() {
        let zeros = |count| format!("{}1\r\nx\r\n0\r\n\r\n", "0".repeat(count));
        assert_eq!(read(&zeros(SIZE_LINE_MAX - 1)), Ok(true));
        assert_eq!(read(&zeros(SIZE_LINE_MAX)), Err(Broken::ChunkSize));
    }

    #[test]
    fn malformed_bodies_are_refused() {
        for (body, broken) in [
            ("\r\n", Broken::ChunkSize),
            ("0x3\r\nabc\r\n", Broken::ChunkSize),
            ("-1\r\n", Broken::ChunkSize),
            ("3\nabc\r\n", Broken::ChunkSize),
            ("1000000000000000\r\n", Broken::ChunkSize),
            ("00001000000000000000\r\n", Broken::ChunkSize),
            ("3 \r\nabc\r\n", Broken::ChunkExtension),
            ("3;\r\nabc\r\n", Broken::ChunkExtension),
            ("3;a=\"b\r\nabc\r\n", Broken::ChunkExtension),
            ("3;a\nabc\r\n", Broken::ChunkExtension),
            ("3\r\nabcd\r\n", Broken::ChunkEnd),
            ("3\r\nabc\n", Broken::ChunkEnd),
            ("0\r\nHost: a\r\n\r\n", Broken::Trailer),
            ("0\r\nTransfer-Encoding: chunked\r\n\r\n", Broken::Trailer),
            ("0\r\n folded\r\n\r\n", Broken::Trailer),
            ("0\r\nA: b\n\r\n", Broken::BareLineFeed),
        ] {
            assert_eq!(read(body), Err(broken), "{body:?}");
        }
    }
}
