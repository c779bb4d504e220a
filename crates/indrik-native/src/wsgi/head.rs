//! The head of an application's response: what is allowed in it, and where it is kept until sent.

use std::fmt;

use indrik_core::http1::{is_token, is_value, is_value_byte};

/// Fields an application may give. More would not fit the count of the channel's format anyway.
pub(crate) const RESPONSE_FIELDS_MAX: usize = 1024;
/// Bytes of a reason phrase: a line that clients read, and many of them into a buffer of a few kilobytes.
pub(crate) const REASON_BYTES_MAX: usize = 1024;
/// Bytes of all field names and values of one response.
pub(crate) const RESPONSE_HEAD_BYTES_MAX: usize = 128 * 1024;

/// What is wrong with a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeadError {
    /// The status is not three digits, or three digits, a space and a reason.
    Status(String),
    /// A character that must not be in a reason phrase.
    Reason(String),
    /// A reason phrase of more than [`REASON_BYTES_MAX`]; its length.
    ReasonTooLong(usize),
    /// A field name that is no token; the name.
    Name(String),
    /// A field value with a control character; the name of the field, and the character.
    Value(String, char),
    /// A `Content-Length` that is no number, or a second, different one.
    ContentLength(String),
    /// More than [`RESPONSE_FIELDS_MAX`] fields, or [`RESPONSE_HEAD_BYTES_MAX`] bytes.
    TooLarge,
}

impl fmt::Display for HeadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => write!(
                f,
                "invalid status {status:?}: must be three digits from 200 to 999, a space and a \
                 reason phrase, such as \"200 OK\""
            ),
            Self::Reason(status) => {
                write!(f, "invalid status {status:?}: the reason phrase holds a control character")
            }
            Self::ReasonTooLong(bytes) => write!(
                f,
                "the status has a reason phrase of {bytes} bytes: at most {REASON_BYTES_MAX} are allowed"
            ),
            Self::Name(name) => write!(
                f,
                "invalid header name {name:?}: only letters, digits and !#$%&'*+-.^_`|~ are allowed"
            ),
            Self::Value(name, c) => write!(
                f,
                "invalid value of the header {name:?}: it holds the control character {c:?}; \
                 remove it (line breaks would let a value inject headers)"
            ),
            Self::ContentLength(value) => write!(
                f,
                "invalid value {value:?} of the header \"Content-Length\": must be one decimal \
                 number"
            ),
            Self::TooLarge => write!(
                f,
                "the response's headers are too large: at most {RESPONSE_FIELDS_MAX} headers and \
                 {RESPONSE_HEAD_BYTES_MAX} bytes are allowed"
            ),
        }
    }
}

/// A response's head; the memory is used again for the next response.
#[derive(Debug, Default)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// The value of `Content-Length`, if the application gave one.
    pub(crate) content_length: Option<u64>,
    reason_len: usize,
    /// The reason, then names and values, one after the other.
    bytes: Vec<u8>,
    /// Lengths of name and value of each field.
    fields: Vec<(u32, u32)>,
}

impl Head {
    /// Begins a new head.
    ///
    /// # Errors
    /// [`HeadError`] for a status that cannot be sent.
    pub(crate) fn begin(&mut self, status: &[u8]) -> Result<(), HeadError> {
        self.bytes.clear();
        self.fields.clear();
        self.content_length = None;
        self.reason_len = 0;
        let (code, reason) = parse_status(status)?;
        self.status = code;
        self.reason_len = reason.len();
        self.bytes.extend_from_slice(reason);
        Ok(())
    }

    /// Begins the head of an interim response, which has no reason of its own.
    pub(crate) fn begin_interim(&mut self, status: u16) {
        self.bytes.clear();
        self.fields.clear();
        self.content_length = None;
        self.status = status;
        self.reason_len = 0;
    }

    /// Adds a field that the application gave; those that concern the connection are dropped.
    ///
    /// # Errors
    /// [`HeadError`] for one that must not be sent.
    #[inline]
    pub(crate) fn add(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        if !is_token(name) {
            return Err(HeadError::Name(latin1(name)));
        }
        if !is_value(value) {
            let bad = value.iter().find(|byte| !is_value_byte(**byte)).copied().unwrap_or_default();
            return Err(HeadError::Value(latin1(name), char::from(bad)));
        }
        match kind_of(name) {
            FieldKind::Other => self.push(name, trim_blanks(value)),
            FieldKind::Hop => Ok(()),
            FieldKind::ContentLength => {
                let length = parse_length(value)
                    .filter(|length| self.content_length.is_none_or(|old| old == *length))
                    .ok_or_else(|| HeadError::ContentLength(latin1(value)))?;
                if self.content_length.replace(length).is_some() {
                    return Ok(());
                }
                self.push(name, value.trim_ascii())
            }
        }
    }

    #[inline]
    fn push(&mut self, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        let grown = self.bytes.len() + name.len() + value.len();
        if self.fields.len() >= RESPONSE_FIELDS_MAX || grown > RESPONSE_HEAD_BYTES_MAX {
            return Err(HeadError::TooLarge);
        }
        self.bytes.extend_from_slice(name);
        self.bytes.extend_from_slice(value);
        // Bounded by RESPONSE_HEAD_BYTES_MAX.
        self.fields.push((name.len() as u32, value.len() as u32));
        Ok(())
    }

    /// Adds the length of a body that is known although the application did not say it.
    pub(crate) fn set_content_length(&mut self, length: u64) {
        let mut digits = [0; 20];
        // The limits leave room for this one: they are far below those of the channel.
        let value = format_decimal(length, &mut digits);
        self.bytes.extend_from_slice(b"Content-Length");
        self.bytes.extend_from_slice(value);
        self.fields.push((14, value.len() as u32));
        self.content_length = Some(length);
    }

    /// Takes the length out again, for a response that cannot have a body.
    pub(crate) fn drop_content_length(&mut self) {
        if self.content_length.take().is_none() {
            return;
        }
        let mut at = self.reason_len;
        for index in 0..self.fields.len() {
            let (name, value) = self.fields[index];
            let (name, value) = (name as usize, value as usize);
            if self.bytes[at..at + name].eq_ignore_ascii_case(b"content-length") {
                self.bytes.drain(at..at + name + value);
                self.fields.remove(index);
                return;
            }
            at += name + value;
        }
    }

    /// Status code and reason phrase, as the application gave them.
    pub(crate) fn status_line(&self) -> Vec<u8> {
        let mut line = self.status.to_string().into_bytes();
        if self.reason_len > 0 {
            line.push(b' ');
            line.extend_from_slice(self.reason());
        }
        line
    }

    /// The reason phrase.
    pub(crate) fn reason(&self) -> &[u8] {
        &self.bytes[..self.reason_len]
    }

    /// How many fields there are.
    pub(crate) fn field_count(&self) -> u16 {
        // Bounded by RESPONSE_FIELDS_MAX + 1.
        self.fields.len() as u16
    }

    /// The fields, in the order the application gave them.
    #[inline]
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let mut rest = &self.bytes[self.reason_len..];
        self.fields.iter().map(move |(name, value)| {
            let (name, tail) = rest.split_at(*name as usize);
            let (value, tail) = tail.split_at(*value as usize);
            rest = tail;
            (name, value)
        })
    }

    /// Whether a response with this status has no body (RFC 9110 §6.4.1).
    pub(crate) const fn forbids_body(&self) -> bool {
        matches!(self.status, 204 | 205 | 304)
    }
}

/// Splits `"404 Not Found"`.
fn parse_status(status: &[u8]) -> Result<(u16, &[u8]), HeadError> {
    let invalid = || HeadError::Status(latin1(status));
    let (digits, rest) = status.split_at_checked(3).ok_or_else(invalid)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return Err(invalid());
    }
    let code = digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0'));
    let reason = match rest {
        [] => rest,
        [b' ', reason @ ..] => reason,
        _ => return Err(invalid()),
    };
    // An interim status is not a response; 101 would take the connection away from the front.
    if code < 200 {
        return Err(invalid());
    }
    if reason.len() > REASON_BYTES_MAX {
        return Err(HeadError::ReasonTooLong(reason.len()));
    }
    if !is_value(reason) {
        return Err(HeadError::Reason(latin1(status)));
    }
    Ok((code, reason))
}

/// Without the blanks around a value, which are no part of it (RFC 9110 §5.5).
#[inline]
fn trim_blanks(value: &[u8]) -> &[u8] {
    match value {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => value.trim_ascii(),
        _ => value,
    }
}

/// A decimal number without sign.
fn parse_length(value: &[u8]) -> Option<u64> {
    let digits = value.trim_ascii();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    digits.iter().try_fold(0u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}

/// Writes a number into the end of `into` and returns the digits.
pub(crate) fn format_decimal(mut number: u64, into: &mut [u8; 20]) -> &[u8] {
    let mut at = into.len();
    loop {
        at -= 1;
        into[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &into[at..];
        }
    }
}

enum FieldKind {
    Other,
    /// Concerns the connection, or is the front's to set: dropped, as Gunicorn does.
    Hop,
    ContentLength,
}

#[inline]
fn kind_of(name: &[u8]) -> FieldKind {
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    // By length first: nearly all names are through after one comparison.
    let hop = match name.len() {
        2 => is(b"te"),
        4 => is(b"date"),
        6 => is(b"server"),
        7 => is(b"upgrade") || is(b"trailer"),
        8 => is(b"trailers"),
        10 => is(b"connection") || is(b"keep-alive"),
        14 if is(b"content-length") => return FieldKind::ContentLength,
        16 => is(b"proxy-connection"),
        17 => is(b"transfer-encoding"),
        18 => is(b"proxy-authenticate"),
        19 => is(b"proxy-authorization"),
        _ => false,
    };
    if hop { FieldKind::Hop } else { FieldKind::Other }
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|b| char::from(*b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: &str, fields: &[(&str, &str)]) -> Result<Head, HeadError> {
        let mut head = Head::default();
        head.begin(status.as_bytes())?;
        for (name, value) in fields {
            head.add(name.as_bytes(), value.as_bytes())?;
        }
        Ok(head)
    }

    fn names(head: &Head) -> Vec<String> {
        head.fields().map(|(name, _)| latin1(name)).collect()
    }

    #[test]
    fn a_status_is_three_digits_and_perhaps_a_reason() {
        let ok = head("404 Nope at all", &[]).unwrap();
        assert_eq!((ok.status, ok.reason()), (404, &b"Nope at all"[..]));
        assert_eq!(head("200", &[]).unwrap().reason(), b"");
        assert_eq!(head("200 ", &[]).unwrap().reason(), b"");
        for bad in ["", "20", "2000 x", "abc x", "200OK", "-20 x", "100 Continue", "101 x"] {
            assert_eq!(head(bad, &[]).unwrap_err(), HeadError::Status(bad.to_owned()));
        }
        let split = "200 OK\r\nX: y";
        assert_eq!(head(split, &[]).unwrap_err(), HeadError::Reason(split.to_owned()));
    }

    #[test]
    fn control_characters_in_names_and_values_are_refused() {
        for bad in ["a\r\nb", "a\nb", "a\rb", "a\0b", "a\x7fb", "\x1b"] {
            let error = head("200 OK", &[("X-A", bad)]).unwrap_err();
            assert!(matches!(error, HeadError::Value(name, _) if name == "X-A"), "{bad:?}");
        }
        for bad in ["", "X A", "X:A", "X\r\nA", "X\u{e9}"] {
            assert!(matches!(head("200 OK", &[(bad, "v")]), Err(HeadError::Name(_))), "{bad:?}");
        }
        assert!(head("200 OK", &[("X-A", "tab\tand \u{e9}")]).is_ok());
    }

    #[test]
    fn fields_of_the_connection_are_dropped_and_the_others_keep_order_and_case() {
        let fields = [
            ("Connection", "close"),
            ("X-One", "1"),
            ("Transfer-Encoding", "chunked"),
            ("SERVER", "x"),
            ("date", "x"),
            ("set-cookie", "a"),
            ("Set-Cookie", "b"),
        ];
        let head = head("200 OK", &fields).unwrap();
        assert_eq!(names(&head), ["X-One", "set-cookie", "Set-Cookie"]);
        assert_eq!(head.field_count(), 3);
    }

    #[test]
    fn a_content_length_is_one_plain_number() {
        assert_eq!(head("200 OK", &[("Content-length", " 12 ")]).unwrap().content_length, Some(12));
        let twice = head("200 OK", &[("Content-Length", "5"), ("content-length", "5")]).unwrap();
        assert_eq!((twice.content_length, twice.field_count()), (Some(5), 1));
        for bad in ["", "-1", "+1", "1,1", "0x10", "18446744073709551616", "1 2"] {
            let error = head("200 OK", &[("Content-Length", bad)]).unwrap_err();
            assert_eq!(error, HeadError::ContentLength(bad.to_owned()));
        }
        let two = head("200 OK", &[("Content-Length", "5"), ("Content-Length", "6")]);
        assert_eq!(two.unwrap_err(), HeadError::ContentLength("6".to_owned()));
    }

    #[test]
    fn a_content_length_can_be_added_and_taken_out() {
        let mut head = head("200 OK", &[("A", "1"), ("content-length", "7"), ("B", "2")]).unwrap();
        head.drop_content_length();
        assert_eq!((names(&head), head.content_length), (vec!["A".into(), "B".into()], None));
        head.set_content_length(u64::MAX);
        let last = head.fields().last().unwrap();
        assert_eq!(last, (&b"Content-Length"[..], &b"18446744073709551615"[..]));
        head.set_content_length(0);
        assert_eq!(head.fields().last().unwrap().1, b"0");
    }

    #[test]
    fn too_many_or_too_long_fields_are_refused() {
        let long = "x".repeat(RESPONSE_HEAD_BYTES_MAX);
        assert_eq!(head("200 OK", &[("A", &long)]).unwrap_err(), HeadError::TooLarge);
        let many = vec![("A", "1"); RESPONSE_FIELDS_MAX + 1];
        assert_eq!(head("200 OK", &many).unwrap_err(), HeadError::TooLarge);
    }
}
