//! The screen: a second, independent reader of a connection's bytes that knows nothing but framing.
//!
//! Request smuggling lives on two parsers that disagree on where a message ends. The front parses
//! with hyper, which is lenient in places (bare LF as a line end, `Content-Length` beside
//! `Transfer-Encoding`, repeated lengths). The screen sees every byte first and lets only what is
//! beyond doubt pass: RFC 9112 sections 2.2, 3, 5, 6 and 7 in their strict reading. What it rejects
//! is answered with 400 and the connection is closed, because nobody can say where the next
//! message would begin.
//!
//! A head is held until it is whole: the parser sees no head that the screen has not passed, and so
//! never refuses one by itself, without a page and a line in the log.

use std::borrow::Cow;

use super::broken::Broken;
use super::chunked::Chunks;
use super::lines::Lines;
use super::request_line::RequestLine;
use super::token::{is_token, is_value};

/// Bytes of one head that are looked at before it is too large in any case; what a worker's channel
/// takes whatever the settings allow.
pub const HEAD_BYTES_MAX: usize = 128 * 1024;

/// Bytes of a refused request line that are kept.
const REFUSED_LINE_BYTES_MAX: usize = 4096;

/// The first byte of a connection that begins with TLS: a record of the type `handshake` (RFC 8446 section 5.1).
pub const TLS_HANDSHAKE: u8 = 0x16;

/// How large the parts of a head may be, counted as Gunicorn does.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the request line without its line end.
    pub line: usize,
    /// Field lines.
    pub fields: usize,
    /// Bytes of a field line with its line end.
    pub field: usize,
}

impl Limits {
    /// None but what the channel takes.
    pub const NONE: Self = Self { line: usize::MAX, fields: usize::MAX, field: usize::MAX };
}

/// Follows the framing of one connection's requests.
#[derive(Debug)]
pub struct Screen {
    state: ScreenState,
    limits: Limits,
    /// The beginning of a head that comes in pieces.
    held: Vec<u8>,
    requests: u64,
    /// It was refused within a body.
    broken_in_body: bool,
    /// The first line of the head that was refused, as far as it was there.
    refused_line: Vec<u8>,
}

#[derive(Debug)]
enum ScreenState {
    /// Before a head; one empty line may come first (RFC 9112 section 2.2).
    Start {
        empty_line_seen: bool,
    },
    Head,
    Body {
        left: u64,
    },
    Chunked(Chunks),
    /// Not HTTP any more (a WebSocket).
    Opaque,
    Broken(Broken),
}

/// How the body of a request is delimited.
enum Framing {
    None,
    Length(u64),
    Chunked,
}

impl Default for Screen {
    fn default() -> Self {
        Self::new(Limits::NONE)
    }
}

/// What becomes of bytes that were looked at.
struct Taken {
    /// Bytes of the input.
    used: usize,
    as_what: As,
}

enum As {
    /// They go on as they came.
    TheyCame,
    /// They are held: a part of a head.
    Nothing,
    /// This goes on: a head that is whole now, or is written otherwise.
    Bytes(Vec<u8>),
}

impl Screen {
    /// At the start of a connection.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self {
            state: ScreenState::Start { empty_line_seen: false },
            limits,
            held: Vec::new(),
            requests: 0,
            broken_in_body: false,
            refused_line: Vec::new(),
        }
    }

    /// Looks at the next bytes from the client.
    ///
    /// # Errors
    /// The first break of the rules; every later call gives the same.
    pub fn read(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.pass(bytes).1
    }

    /// Looks at the next bytes from the client, and says what the parser may see: whole heads and
    /// bodies. After a break of the rules that is what stands in front of it.
    pub fn pass<'a>(&mut self, bytes: &'a [u8]) -> (Cow<'a, [u8]>, Result<(), Broken>) {
        // As they came up to `at`, until something becomes of them.
        let (mut at, mut passed) = (0, None::<Vec<u8>>);
        while at < bytes.len() {
            let taken = match self.step(&bytes[at..]) {
                Ok(taken) => taken,
                Err(broken) => {
                    let broken = self.refuse(broken, &bytes[at..]);
                    let passed = passed.map_or(Cow::Borrowed(&bytes[..at]), Cow::Owned);
                    return (passed, Err(broken));
                }
            };
            let end = at + taken.used;
            match (taken.as_what, &mut passed) {
                (As::TheyCame, None) => {}
                (As::TheyCame, Some(passed)) => passed.extend_from_slice(&bytes[at..end]),
                (As::Nothing, Some(_)) => {}
                (As::Nothing, None) => passed = Some(bytes[..at].to_vec()),
                (As::Bytes(made), passed) => {
                    passed.get_or_insert_with(|| bytes[..at].to_vec()).extend_from_slice(&made);
                }
            }
            at = end;
        }
        (passed.map_or(Cow::Borrowed(bytes), Cow::Owned), Ok(()))
    }

    /// Takes the bytes up to the end of the body that is being read, at least one; says how many.
    ///
    /// # Errors
    /// As `read`.
    pub(super) fn read_body(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        self.step(bytes).map(|taken| taken.used).map_err(|broken| self.refuse(broken, &[]))
    }

    /// From here on everything is refused; `bytes` are what could not be taken.
    pub(super) fn refuse(&mut self, broken: Broken, bytes: &[u8]) -> Broken {
        let held = std::mem::take(&mut self.held);
        match self.state {
            ScreenState::Start { .. } | ScreenState::Head => {
                self.refused_line = first_line(held, bytes)
            }
            ScreenState::Chunked(_) => self.broken_in_body = true,
            ScreenState::Body { .. } | ScreenState::Opaque | ScreenState::Broken(_) => {}
        }
        self.state = ScreenState::Broken(broken);
        broken
    }

    /// The request line of a head that is not complete, as far as it is there.
    #[must_use]
    pub fn begun_line(&self) -> Vec<u8> {
        first_line(self.held.clone(), &[])
    }

    /// After a refusal: the request line of the head that was refused, for the log; as far as it was
    /// there, and empty if it was a body.
    #[must_use]
    pub fn refused_line(&self) -> &[u8] {
        &self.refused_line
    }

    /// After a refusal: whether it was a body whose framing is broken, and not a head.
    #[must_use]
    pub const fn is_broken_in_body(&self) -> bool {
        self.broken_in_body
    }

    /// Whether the bytes so far end between two requests.
    #[must_use]
    pub const fn is_between_requests(&self) -> bool {
        matches!(self.state, ScreenState::Start { .. })
    }

    /// Whether the bytes so far end within the head of a request.
    #[must_use]
    pub const fn is_in_head(&self) -> bool {
        matches!(self.state, ScreenState::Head)
    }

    /// How many heads were complete so far.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// From here on the connection is not HTTP any more. Returns what was held.
    pub fn stop(&mut self) -> Vec<u8> {
        self.state = ScreenState::Opaque;
        std::mem::take(&mut self.held)
    }

    /// Takes some bytes, at least one.
    fn step(&mut self, bytes: &[u8]) -> Result<Taken, Broken> {
        let as_they_came = |used| Ok(Taken { used, as_what: As::TheyCame });
        match &mut self.state {
            ScreenState::Start { empty_line_seen } => {
                if bytes[0] == TLS_HANDSHAKE && self.requests == 0 {
                    // By its first byte too: no method begins with it.
                    return Err(Broken::TlsHandshake);
                }
                if bytes[0] == b'\r' && *empty_line_seen {
                    // Known by its first byte, so that it does not matter whether the rest is here.
                    return Err(Broken::EmptyLine);
                }
                if bytes[0] == b'\r' && bytes.get(1) != Some(&b'\n') {
                    // The empty line's CR and LF came apart, or it is no empty line at all.
                    *empty_line_seen = true;
                    self.held.clear();
                    self.held.push(b'\r');
                    self.state = ScreenState::Head;
                    return Ok(Taken { used: 1, as_what: As::Nothing });
                }
                if bytes.starts_with(b"\r\n") {
                    *empty_line_seen = true;
                    return Ok(Taken { used: 2, as_what: As::Nothing });
                }
                self.state = ScreenState::Head;
                self.read_head(bytes)
            }
            ScreenState::Head => self.read_head(bytes),
            ScreenState::Body { left } => {
                let used = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= used as u64;
                if *left == 0 {
                    self.next_message();
                }
                as_they_came(used)
            }
            ScreenState::Chunked(chunks) => {
                let (used, done) = chunks.read(bytes)?;
                if done {
                    self.next_message();
                }
                as_they_came(used)
            }
            ScreenState::Opaque => as_they_came(bytes.len()),
            ScreenState::Broken(broken) => Err(*broken),
        }
    }

    /// Whether the next bytes belong to a body, or to no message of HTTP.
    #[must_use]
    pub const fn is_in_body(&self) -> bool {
        matches!(
            self.state,
            ScreenState::Body { .. } | ScreenState::Chunked(_) | ScreenState::Opaque
        )
    }

    fn next_message(&mut self) {
        self.state = ScreenState::Start { empty_line_seen: false };
    }

    fn read_head(&mut self, bytes: &[u8]) -> Result<Taken, Broken> {
        if self.held.is_empty() {
            // Nearly always nothing follows the head: then its end needs no search of its own.
            let is_whole = bytes.ends_with(b"\r\n\r\n") && bytes.len() <= HEAD_BYTES_MAX;
            let len = if is_whole { Some(bytes.len()) } else { head_len(bytes) };
            let Some(len) = len else { return self.hold(bytes, None) };
            let (used, head) = self.head_done(&bytes[..len])?;
            return Ok(Taken { used, as_what: head.map_or(As::TheyCame, As::Bytes) });
        }
        let before = self.held.len();
        if self.held == b"\r" && bytes[0] == b'\n' {
            self.held.clear();
            self.state = ScreenState::Start { empty_line_seen: true };
            return Ok(Taken { used: 1, as_what: As::Nothing });
        }
        // The end may lie across the seam; behind it is the body, where a bare LF is fine.
        let from = before.saturating_sub(3);
        let seam = [&self.held[from..], &bytes[..bytes.len().min(3)]].concat();
        let end = match head_len(&seam) {
            Some(len) => Some(from + len - before),
            None => head_len(bytes),
        };
        let Some(used) = end else { return self.hold(bytes, self.held.last().copied()) };
        // A copy: a head that is refused is still needed, for its first line.
        let head = [&self.held, &bytes[..used]].concat();
        let (_, rewritten) = self.head_done(&head)?;
        self.held.clear();
        Ok(Taken { used, as_what: As::Bytes(rewritten.unwrap_or(head)) })
    }

    /// Holds a part of a head; `before` is the byte in front of it.
    fn hold(&mut self, bytes: &[u8], before: Option<u8>) -> Result<Taken, Broken> {
        check_line_ends(bytes, before)?;
        self.held.extend_from_slice(bytes);
        check_unfinished(&self.held, &self.limits)?;
        Ok(Taken { used: bytes.len(), as_what: As::Nothing })
    }

    /// How long the head at the start of the bytes is, which is whole, and the head as it has to be
    /// written, if that is not as it came.
    fn head_done(&mut self, bytes: &[u8]) -> Result<(usize, Option<Vec<u8>>), Broken> {
        let Checked { len, framing, rewritten } = check_head(bytes, &self.limits)?;
        self.requests += 1;
        self.state = match framing {
            Framing::None | Framing::Length(0) => ScreenState::Start { empty_line_seen: false },
            Framing::Length(left) => ScreenState::Body { left },
            Framing::Chunked => ScreenState::Chunked(Chunks::new()),
        };
        Ok((len, rewritten))
    }
}

/// The first line of a head, without its end, and not more of it than is worth a line in a log.
pub(super) fn first_line(mut held: Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    let missing = REFUSED_LINE_BYTES_MAX.saturating_sub(held.len());
    held.extend_from_slice(&bytes[..bytes.len().min(missing)]);
    let end = held.iter().position(|byte| matches!(byte, b'\r' | b'\n')).unwrap_or(held.len());
    held.truncate(end.min(REFUSED_LINE_BYTES_MAX));
    held
}

/// Bytes up to and with the empty line that ends a head.
pub(super) fn head_len(bytes: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + memchr::memchr(b'\n', &bytes[from..])?;
        if bytes[..=at].ends_with(b"\r\n\r\n") {
            return Some(at + 1);
        }
        from = at + 1;
    }
}

/// Every LF has a CR before it; `before` is the byte in front of `bytes`.
pub(super) fn check_line_ends(bytes: &[u8], before: Option<u8>) -> Result<(), Broken> {
    for at in memchr::memchr_iter(b'\n', bytes) {
        let previous = if at == 0 { before } else { Some(bytes[at - 1]) };
        if previous != Some(b'\r') {
            return Err(Broken::BareLineFeed);
        }
    }
    Ok(())
}

/// The limits of a head whose end is not here yet.
pub(super) fn check_unfinished(head: &[u8], limits: &Limits) -> Result<(), Broken> {
    if head.len() > HEAD_BYTES_MAX {
        return Err(Broken::HeadTooLarge);
    }
    // The line's own end may be the last two bytes.
    let over = head.len() > limits.line.saturating_add(2);
    if over && memchr::memchr(b'\n', &head[..limits.line + 2]).is_none() {
        return Err(Broken::RequestLineTooLong);
    }
    Ok(())
}

/// What a head was found to be.
struct Checked {
    /// Its bytes.
    len: usize,
    /// How the request's body is delimited.
    framing: Framing,
    /// How it has to be written, if that is not as it came.
    rewritten: Option<Vec<u8>>,
}

/// Checks the head at the start of some bytes, up to the empty line that is in them.
fn check_head(bytes: &[u8], limits: &Limits) -> Result<Checked, Broken> {
    let mut lines = Lines(bytes);
    let request_line = lines.next().ok_or(Broken::RequestLine)??;
    if request_line.is_empty() {
        return Err(Broken::EmptyLine);
    }
    if request_line.len() > limits.line {
        return Err(Broken::RequestLineTooLong);
    }
    if bytes.len() > HEAD_BYTES_MAX {
        return Err(Broken::HeadTooLarge);
    }
    let parsed = RequestLine::parse(request_line)?;
    let framing = check_fields(&mut lines, limits)?;
    let len = bytes.len() - lines.0.len();
    let rest = &bytes[request_line.len()..len];
    let rewritten = parsed.rewritten().map(|line| [&line, rest].concat());
    Ok(Checked { len, framing, rewritten })
}

fn check_fields(lines: &mut Lines<'_>, limits: &Limits) -> Result<Framing, Broken> {
    let mut fields_left = limits.fields;
    let mut length = None;
    let mut codings = Codings::default();
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        fields_left = fields_left.checked_sub(1).ok_or(Broken::TooManyFields)?;
        if line[0] == b' ' || line[0] == b'\t' {
            return Err(Broken::FoldedField);
        }
        if line.len() + 2 > limits.field {
            return Err(Broken::FieldTooLarge);
        }
        let colon = memchr::memchr(b':', line).ok_or(Broken::FieldName)?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if !is_token(name) {
            return Err(Broken::FieldName);
        }
        if !is_value(value) {
            return Err(Broken::FieldValue);
        }
        if name.len() == 14 && name.eq_ignore_ascii_case(b"content-length") {
            if length.is_some() {
                return Err(Broken::ContentLengthTwice);
            }
            length = Some(parse_length(value.trim_ascii())?);
        } else if name.len() == 17 && name.eq_ignore_ascii_case(b"transfer-encoding") {
            codings.add(value)?;
        }
    }
    match (length, codings.finish()?) {
        (Some(_), true) => Err(Broken::LengthAndEncoding),
        (Some(length), false) => Ok(Framing::Length(length)),
        (None, true) => Ok(Framing::Chunked),
        (None, false) => Ok(Framing::None),
    }
}

/// `1*DIGIT` and nothing else: no sign, no list, no space.
fn parse_length(value: &[u8]) -> Result<u64, Broken> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Broken::ContentLength);
    }
    let text = std::str::from_utf8(value).map_err(|_| Broken::ContentLength)?;
    text.parse().map_err(|_| Broken::ContentLength)
}

/// The transfer codings of all field lines together: `chunked` once, and last.
#[derive(Default)]
struct Codings {
    any: bool,
    chunked: bool,
}

impl Codings {
    fn add(&mut self, value: &[u8]) -> Result<(), Broken> {
        self.any = true;
        for coding in value.split(|byte| *byte == b',') {
            let coding = coding.trim_ascii();
            if coding.is_empty() || self.chunked {
                return Err(Broken::TransferEncoding);
            }
            self.chunked = coding.eq_ignore_ascii_case(b"chunked");
        }
        Ok(())
    }

    fn finish(&self) -> Result<bool, Broken> {
        if self.any && !self.chunked {
            return Err(Broken::TransferEncoding);
        }
        Ok(self.chunked)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Screen, Broken> {
        let mut screen = Screen::default();
        screen.read(bytes)?;
        Ok(screen)
    }

    #[test]
    fn whole_requests_pass_however_they_are_delimited() {
        for request in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        ] {
            for times in 1..3 {
                let screen = read(&request.repeat(times)).expect("a valid request");
                assert!(screen.is_between_requests());
                assert_eq!(screen.requests(), times as u64);
            }
        }
    }

    #[test]
    fn a_body_may_come_with_the_end_of_its_head() {
        let mut screen = Screen::default();
        screen.read(b"POST / HTTP/1.1\r\n").expect("a request line");
        screen.read(b"Content-Length: 3\r\n\r\na\nb").expect("a body with a line feed");
        assert!(screen.is_between_requests());
    }

    #[test]
    fn a_second_empty_line_is_refused_wherever_it_is_cut() {
        let request = b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 1..request.len() {
            let mut screen = Screen::default();
            let (first, rest) = request.split_at(cut);
            let verdict = screen.read(first).and_then(|()| screen.read(rest));
            assert_eq!(verdict, Err(Broken::EmptyLine), "cut after {cut} bytes");
        }
    }

    #[test]
    fn what_stands_in_front_of_a_refused_message_is_told_from_it() {
        let mut screen = Screen::default();
        screen.read(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhe").expect("half a body");
        let (passed, verdict) = screen.pass(b"llo\n\nG");
        assert_eq!((&*passed, verdict), (&b"llo"[..], Err(Broken::BareLineFeed)));
        assert!(!screen.is_broken_in_body());

        let mut screen = Screen::default();
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        let bytes = [&head[..], b"nonsense"].concat();
        let (passed, verdict) = screen.pass(&bytes);
        assert_eq!((&*passed, verdict), (&head[..], Err(Broken::ChunkSize)));
        assert!(screen.is_broken_in_body());
    }

    #[test]
    fn the_limits_are_counted_as_gunicorn_counts_them() {
        let verdict = |limits, request: &str, step| {
            let mut screen = Screen::new(limits);
            request.as_bytes().chunks(step).try_for_each(|part| screen.read(part)).err()
        };
        for (limits, request, broken) in [
            (Limits { line: 14, ..Limits::NONE }, "GET / HTTP/1.1\r\n\r\n", None),
            (
                Limits { line: 13, ..Limits::NONE },
                "GET / HTTP/1.1\r\n\r\n",
                Some(Broken::RequestLineTooLong),
            ),
            (Limits { line: 13, ..Limits::NONE }, "GET / HTTP/1.12", None),
            (
                Limits { line: 13, ..Limits::NONE },
                "GET / HTTP/1.123",
                Some(Broken::RequestLineTooLong),
            ),
            (Limits { fields: 2, ..Limits::NONE }, "G / HTTP/1.1\r\nA:1\r\nB:2\r\n\r\n", None),
            (
                Limits { fields: 1, ..Limits::NONE },
                "G / HTTP/1.1\r\nA:1\r\nB:2\r\n\r\n",
                Some(Broken::TooManyFields),
            ),
            (Limits { field: 7, ..Limits::NONE }, "G / HTTP/1.1\r\nA:  2\r\n\r\n", None),
            (
                Limits { field: 6, ..Limits::NONE },
                "G / HTTP/1.1\r\nA:  2\r\n\r\n",
                Some(Broken::FieldTooLarge),
            ),
        ] {
            for step in 1..=request.len() {
                let got = verdict(limits, request, step);
                assert_eq!(got, broken, "{limits:?} {request:?} in steps of {step}");
            }
        }
    }

    #[test]
    fn what_two_parsers_could_read_in_two_ways_is_refused() {
        for (request, broken) in [
            ("\x16\x03\x01\x02\x00\x01\n\x0a", Broken::TlsHandshake),
            ("\x16", Broken::TlsHandshake),
            ("GET / HTTP/1.1\nHost: a\n\n", Broken::BareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", Broken::BareLineFeed),
            ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", Broken::BareCarriageReturn),
            ("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", Broken::FoldedField),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\n", Broken::EmptyLine),
            ("GET / HTTP/1.1\r\nnonsense\r\n\r\n", Broken::FieldName),
            ("GET / HTTP/1.1\r\n: a\r\n\r\n", Broken::FieldName),
            ("GET / HTTP/1.1\r\nA : b\r\n\r\n", Broken::FieldName),
            ("GET / HTTP/1.1\r\nA: b\0\r\n\r\n", Broken::FieldValue),
            ("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n", Broken::FieldValue),
            ("GET / HTTP/2.0\r\n\r\n", Broken::Version),
            ("P / HTTP/1.1\r\nContent-Length: +3\r\n\r\n", Broken::ContentLength),
            ("P / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\n", Broken::ContentLength),
            (
                "P / HTTP/1.1\r\nContent-Length: 3\r\ncontent-length: 3\r\n\r\n",
                Broken::ContentLengthTwice,
            ),
            (
                "P / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
                Broken::LengthAndEncoding,
            ),
            ("P / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n", Broken::TransferEncoding),
            (
                "P / HTTP/1.1\r\nTransfer-Encoding: chunked, chunked\r\n\r\n",
                Broken::TransferEncoding,
            ),
            (
                "P / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
                Broken::TransferEncoding,
            ),
            ("P / HTTP/1.1\r\nTransfer-Encoding:\r\n\r\n", Broken::TransferEncoding),
        ] {
            assert_eq!(read(request.as_bytes()).err(), Some(broken), "{request:?}");
        }
    }

    proptest! {
        /// However the network cuts the bytes, the verdict is the same, and nothing panics.
        #[test]
        fn the_verdict_does_not_depend_on_how_the_bytes_are_cut(
            parts in prop::collection::vec(prop::sample::select(vec![
                "GET / HTTP/1.1\r\n", "GET /<?\" HTTP/1.0\r\n", "Host: a\r\n", "\r\n", "\n", "\r", "Content-Length: 3\r\n",
                "Transfer-Encoding: chunked\r\n", "abc", "3\r\nabc\r\n", "0\r\n", "0\r\n\r\n", "X",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\n\r\n",
            ]), 0..12),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let bytes = parts.concat().into_bytes();
            let run = |cuts: &[usize]| {
                let (mut screen, mut passed) = (Screen::default(), Vec::new());
                let (mut rest, mut cuts) = (&bytes[..], cuts.iter().cycle());
                let mut verdict = Ok(());
                while !rest.is_empty() && verdict.is_ok() {
                    let len = (*cuts.next().expect("endless")).min(rest.len());
                    let part;
                    (part, verdict) = screen.pass(&rest[..len]);
                    passed.extend_from_slice(&part);
                    rest = &rest[len..];
                }
                (passed, verdict.is_ok(), screen.requests())
            };
            let (passed, is_good, requests) = run(&[usize::MAX]);
            let (passed_cut, is_good_cut, requests_cut) = run(&cuts);
            prop_assert_eq!((is_good, requests), (is_good_cut, requests_cut));
            // Of a body that breaks the rules, more passes when it comes in pieces.
            prop_assert!(passed_cut.starts_with(&passed) && (passed_cut == passed || !is_good));
        }
    }

    /// Nothing that the screen passes is refused by a parser that stands for hyper's.
    #[test]
    fn a_head_is_passed_whole_or_not_at_all() {
        let mut screen = Screen::default();
        for part in ["GET /a", "<b HTTP/1.1\r\nHo", "st: a\r\n\r"] {
            assert_eq!(screen.pass(part.as_bytes()), (Cow::Borrowed(&b""[..]), Ok(())));
        }
        let (passed, verdict) = screen.pass(b"\nGET /b");
        let passed = String::from_utf8_lossy(&passed).into_owned();
        assert_eq!((&*passed, verdict), ("GET /a\u{bc}b HTTP/1.1\r\nHost: a\r\n\r\n", Ok(())));
        assert_eq!(screen.stop(), b"GET /b");
    }

    #[test]
    fn of_a_refused_head_the_first_line_is_kept_wherever_it_is_cut() {
        let request = b"HEAD /a HTTP/1.1\r\nHost: a\r\nnonsense\r\n\r\n";
        for cut in 0..request.len() {
            let mut screen = Screen::default();
            let (first, rest) = request.split_at(cut);
            let verdict = screen.read(first).and_then(|()| screen.read(rest));
            assert_eq!(verdict, Err(Broken::FieldName), "cut after {cut} bytes");
            assert_eq!(screen.refused_line(), b"HEAD /a HTTP/1.1", "cut after {cut} bytes");
        }
        let mut screen = Screen::default();
        let long = [&b"GET /"[..], &[b'a'; 2 * REFUSED_LINE_BYTES_MAX]].concat();
        let _ = screen.read(&long);
        assert_eq!(screen.read(b"\n"), Err(Broken::BareLineFeed));
        assert_eq!(screen.refused_line(), &long[..REFUSED_LINE_BYTES_MAX]);
    }
}
