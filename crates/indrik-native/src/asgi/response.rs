//! The head of a response: what is allowed in it, and how it is written for the channel.
//!
//! Pure: no Python here. Fields are copied one by one because the application's list is read only
//! once, and may change before there is a body to send the head with.

use std::fmt;

use indrik_core::http1::is_token;
use indrik_ring::{encode_headers, encode_response, headers_len, response_len};

/// The longest head of a response that is accepted, bytes of its fields. The first piece of the
/// body goes into the same descriptor.
pub(super) const HEAD_BYTES_MAX: usize = 48 * 1024;
/// As many fields a head may have.
const FIELDS_MAX: u16 = 1024;

/// What is wrong with a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadFault {
    /// A status outside 100–999.
    Status(i64),
    /// A name that is not a token.
    Name(String),
    /// A value with CR, LF or NUL in it; the name is given.
    Value(String),
    /// Content-Length is not a number, or given twice with different ones.
    Length(String),
    /// More than [`HEAD_BYTES_MAX`] or [`FIELDS_MAX`].
    TooLong,
}

impl fmt::Display for HeadFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => {
                write!(f, "Invalid response status {status}: it must be between 100 and 999")
            }
            Self::Name(name) => write!(
                f,
                "Invalid response header name {name:?}: it must consist of letters, digits and hyphens"
            ),
            Self::Value(name) => write!(
                f,
                "Invalid value of the response header {name:?}: line breaks and NUL are not allowed in it"
            ),
            Self::Length(value) => {
                write!(f, "Invalid Content-Length {value:?}: give one decimal number of bytes")
            }
            Self::TooLong => {
                write!(
                    f,
                    "The response headers are too large: at most {FIELDS_MAX} headers and \
                     {HEAD_BYTES_MAX} bytes are allowed; send fewer"
                )
            }
        }
    }
}

/// The head of a response, and what the fields say about the body.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// The status.
    pub(super) status: u16,
    /// The reason phrase; for a WebSocket the subprotocol.
    pub(super) reason: Vec<u8>,
    /// The Content-Length that the application declared.
    pub(super) length: Option<u64>,
    /// The application wants the connection closed.
    pub(super) close: bool,
    /// A Content-Length is not sent: trailers follow a body in chunks.
    pub(super) drops_length: bool,
    /// The application named its trailers.
    names_trailers: bool,
    /// Every field: two lengths, the name, the value.
    fields: Vec<u8>,
    count: u16,
}

impl Head {
    /// Begins a head.
    ///
    /// # Errors
    /// [`HeadFault::Status`].
    pub(super) fn begin(status: i64) -> Result<Self, HeadFault> {
        match u16::try_from(status).ok().filter(|code| (100..1000).contains(code)) {
            Some(status) => Ok(Self { status, ..Self::default() }),
            None => Err(HeadFault::Status(status)),
        }
    }

    /// Adds a field of the application: checked, and hop-by-hop fields left out.
    ///
    /// # Errors
    /// [`HeadFault`].
    #[inline]
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadFault> {
        check_field(name, value)?;
        match name.len() {
            // Lengths of the names below; most fields are none of them.
            2 | 7 | 10 | 14 | 16 | 17 | 18 | 19 if self.is_ours(name, value)? => Ok(()),
            _ => self.push(name, value),
        }
    }

    /// Looks at the fields that mean something here. True: the field must not go out.
    fn is_ours(&mut self, name: &[u8], value: &[u8]) -> Result<bool, HeadFault> {
        let is = |text: &str| name.eq_ignore_ascii_case(text.as_bytes());
        if is("content-length") {
            let parsed = std::str::from_utf8(value).ok().and_then(|text| decimal(text.trim()));
            let Some(parsed) = parsed else { return Err(length_fault(value)) };
            if self.length.is_some_and(|length| length != parsed) {
                return Err(length_fault(value));
            }
            let repeated = self.length.replace(parsed).is_some();
            return Ok(repeated || self.drops_length);
        }
        if is("trailer") {
            self.names_trailers = true;
            return Ok(false);
        }
        if is("connection") {
            self.close |= value
                .split(|byte| *byte == b',')
                .any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"));
            return Ok(true);
        }
        Ok(is("te")
            || is("upgrade")
            || is("keep-alive")
            || is("proxy-connection")
            || is("transfer-encoding")
            || is("proxy-authenticate") && value.is_empty()
            || is("proxy-authorization"))
    }

    /// Adds a field that is known to be good.
    ///
    /// # Errors
    /// [`HeadFault::TooLong`].
    #[inline]
    pub(super) fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadFault> {
        let len = self.fields.len() + FIELD_FIXED + name.len() + value.len();
        if len > HEAD_BYTES_MAX || self.count >= FIELDS_MAX {
            return Err(HeadFault::TooLong);
        }
        let lengths = (name.len() as u64) << 32 | value.len() as u64;
        self.fields.extend_from_slice(&lengths.to_ne_bytes());
        self.fields.extend_from_slice(name);
        self.fields.extend_from_slice(value);
        self.count += 1;
        Ok(())
    }

    /// Names the trailers in a `Trailer` field, unless the application did: in HTTP/1.1 what is not
    /// named there is not sent.
    ///
    /// # Errors
    /// [`HeadFault::TooLong`].
    pub(super) fn announce_trailers(&mut self, trailers: &Self) -> Result<(), HeadFault> {
        if self.names_trailers {
            return Ok(());
        }
        let names: Vec<&[u8]> = trailers.fields().map(|(name, _)| name).collect();
        if names.is_empty() { Ok(()) } else { self.push(b"trailer", &names.join(&b", "[..])) }
    }

    /// The fields.
    fn fields(&self) -> Fields<'_> {
        Fields(&self.fields)
    }

    /// Bytes of the head in the channel.
    pub(super) fn len(&self) -> usize {
        response_len(&self.reason, headers_len(self.fields()))
    }

    /// Writes the head for the channel into the first [`Self::len`] bytes.
    pub(super) fn encode(&self, into: &mut [u8]) {
        encode_response(into, self.status, &self.reason, self.count, self.fields());
    }

    /// The fields alone, as the channel wants trailers.
    pub(super) fn encode_fields(&self) -> Vec<u8> {
        let mut bytes = vec![0; size_of::<u16>() + headers_len(self.fields())];
        encode_headers(&mut bytes, self.count, self.fields());
        bytes
    }
}

/// Bytes before a name: its length and the value's.
const FIELD_FIXED: usize = 8;

/// Iterates over a head's fields.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (&'a [u8], &'a [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (lengths, rest) = self.0.split_first_chunk::<FIELD_FIXED>()?;
        let lengths = u64::from_ne_bytes(*lengths);
        // Both halves were lengths of slices when `push` wrote them.
        let (name, rest) = rest.split_at_checked((lengths >> 32) as usize)?;
        let (value, rest) = rest.split_at_checked(lengths as u32 as usize)?;
        self.0 = rest;
        Some((name, value))
    }
}

#[cold]
fn length_fault(value: &[u8]) -> HeadFault {
    HeadFault::Length(String::from_utf8_lossy(value).into_owned())
}

/// A decimal number without sign.
fn decimal(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Checks that a field can be written as a line of its own.
#[inline]
pub(super) fn check_field(name: &[u8], value: &[u8]) -> Result<(), HeadFault> {
    if !is_token(name) {
        return Err(HeadFault::Name(String::from_utf8_lossy(name).into_owned()));
    }
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(HeadFault::Value(String::from_utf8_lossy(name).into_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use indrik_ring::{Headers, ResponseHead};

    use super::{Head, HeadFault};

    fn encoded(head: &Head) -> Vec<u8> {
        let mut bytes = vec![0; head.len()];
        head.encode(&mut bytes);
        bytes
    }

    #[test]
    fn a_head_is_encoded_as_the_ring_decodes_it() {
        let mut head = Head::begin(201).unwrap();
        head.reason = b"chat".to_vec();
        head.field(b"content-type", b"text/plain").unwrap();
        head.field(b"x-a", b"").unwrap();
        let bytes = encoded(&head);
        let decoded = ResponseHead::decode(&bytes).unwrap();
        assert_eq!((decoded.status, decoded.reason), (201, &b"chat"[..]));
        let fields: Vec<_> = decoded.headers.collect();
        assert_eq!(fields, [(&b"content-type"[..], &b"text/plain"[..]), (b"x-a", b"")]);
        assert_eq!(Headers::decode(&head.encode_fields()).unwrap().count(), 2);
    }

    #[test]
    fn hop_by_hop_fields_are_left_out_and_close_is_remembered() {
        let mut head = Head::begin(200).unwrap();
        for (name, value) in [
            ("Connection", "keep-alive, Close"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("te", "trailers"),
        ] {
            head.field(name.as_bytes(), value.as_bytes()).unwrap();
        }
        assert_eq!(ResponseHead::decode(&encoded(&head)).unwrap().headers.count(), 0);
        assert!(head.close);
    }

    #[test]
    fn a_line_break_in_a_field_is_a_fault() {
        let mut head = Head::begin(200).unwrap();
        assert_eq!(head.field(b"x", b"a\r\nset-cookie: b"), Err(HeadFault::Value("x".into())));
        assert_eq!(head.field(b"x\n", b"a"), Err(HeadFault::Name("x\n".into())));
        assert_eq!(head.field(b"", b"a"), Err(HeadFault::Name(String::new())));
    }

    #[test]
    fn content_length_must_be_one_number() {
        let mut head = Head::begin(200).unwrap();
        head.field(b"content-length", b"5").unwrap();
        head.field(b"Content-Length", b"5").unwrap();
        assert_eq!(head.length, Some(5));
        assert_eq!(head.field(b"content-length", b"6"), Err(HeadFault::Length("6".into())));
        let mut head = Head::begin(200).unwrap();
        assert_eq!(head.field(b"content-length", b"-1"), Err(HeadFault::Length("-1".into())));
        assert_eq!(head.field(b"content-length", b""), Err(HeadFault::Length(String::new())));
    }

    #[test]
    fn a_status_out_of_range_is_a_fault() {
        assert_eq!(Head::begin(99).unwrap_err(), HeadFault::Status(99));
        assert_eq!(Head::begin(1000).unwrap_err(), HeadFault::Status(1000));
    }

    #[test]
    fn a_head_that_is_too_long_is_a_fault() {
        let mut head = Head::begin(200).unwrap();
        let value = vec![b'a'; super::HEAD_BYTES_MAX];
        assert_eq!(head.field(b"x", &value), Err(HeadFault::TooLong));
        let mut head = Head::begin(200).unwrap();
        let mut fields = (0..2000).map(|_| head.field(b"x", b""));
        assert_eq!(fields.position(|added| added.is_err()), Some(usize::from(super::FIELDS_MAX)));
    }
}
