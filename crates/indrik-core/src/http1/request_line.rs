//! The request line: what the parser behind the screen would refuse without a word is refused here,
//! and what it is too narrow for is written so that it lets it pass.
//!
//! Of the printable characters, `"`, `<`, `>` and `` ` `` may not stand in a URI, but clients send them
//! and servers serve them. The parser takes some of them in a path and others in a query. For it,
//! each is written as the character 128 places behind (no target has such a character of its own:
//! it would have been refused), and `target_as_sent` undoes that for everybody who reads the target.

use std::borrow::Cow;

use super::broken::Broken;
use super::host::Host;
use super::token::is_token;

/// Bytes of a target that the parser takes.
const TARGET_BYTES_MAX: usize = 65_534;

/// How far a character is moved.
const SHIFT: u8 = 0x80;

/// A request line that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
    /// Some of the target's characters have to be written otherwise.
    is_odd: bool,
}

impl<'a> RequestLine<'a> {
    /// `method SP request-target SP HTTP-version`, with exactly these spaces.
    pub(super) fn parse(line: &'a [u8]) -> Result<Self, Broken> {
        let method_end = memchr::memchr(b' ', line).ok_or(Broken::RequestLine)?;
        let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
        let target_end = memchr::memchr(b' ', rest).ok_or(Broken::RequestLine)?;
        let (target, version) = (&rest[..target_end], &rest[target_end + 1..]);
        check_version(version)?;
        if !is_token(method) {
            return Err(Broken::Method);
        }
        let is_odd = check_characters(target)?;
        if !has_form(method, target) {
            return Err(Broken::Target);
        }
        // An odd character takes two bytes.
        let len = if is_odd { target.len().saturating_mul(2) } else { target.len() };
        if len > TARGET_BYTES_MAX {
            return Err(Broken::RequestLineTooLong);
        }
        Ok(Self { method, target, version, is_odd })
    }

    /// The line as the parser takes it; `None`: as it came.
    pub(super) fn rewritten(&self) -> Option<Vec<u8>> {
        if !self.is_odd {
            return None;
        }
        let mut line = self.method.to_vec();
        line.push(b' ');
        for byte in self.target {
            let character = if is_odd(*byte) { byte + SHIFT } else { *byte };
            line.extend_from_slice(char::from(character).encode_utf8(&mut [0; 2]).as_bytes());
        }
        line.push(b' ');
        line.extend_from_slice(self.version);
        Some(line)
    }
}

/// The characters of a target, or of a part of one, as the client sent them.
#[must_use]
pub fn target_as_sent(target: &str) -> Cow<'_, str> {
    if target.is_ascii() {
        return Cow::Borrowed(target);
    }
    let sent = |character| match u8::try_from(character) {
        Ok(byte) if byte >= SHIFT => char::from(byte - SHIFT),
        Ok(_) | Err(_) => character,
    };
    Cow::Owned(target.chars().map(sent).collect())
}

/// HTTP/1.0 and HTTP/1.1 are spoken in this framing; another major version is one that is not.
fn check_version(version: &[u8]) -> Result<(), Broken> {
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() && *major != b'1' =>
        {
            Err(Broken::Version)
        }
        _ => Err(Broken::RequestLine),
    }
}

const fn is_odd(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`')
}

/// Printable ASCII, and whether some of it is odd. All bytes are looked at, which the compiler makes
/// cheaper than to stop at the first bad one.
fn check_characters(target: &[u8]) -> Result<bool, Broken> {
    let (mut bad, mut odd) = (false, false);
    for byte in target {
        bad |= !byte.is_ascii_graphic();
        odd |= is_odd(*byte);
    }
    if bad { Err(Broken::Target) } else { Ok(odd) }
}

/// The forms of RFC 9112 section 3.2, each only where it belongs.
fn has_form(method: &[u8], target: &[u8]) -> bool {
    match target {
        [b'/', ..] => method != b"CONNECT",
        b"*" => method == b"OPTIONS",
        target if method == b"CONNECT" => is_authority(target),
        target => absolute(target).is_some(),
    }
}

/// What the parser takes for an authority: escapes are not among it.
fn is_authority(authority: &[u8]) -> bool {
    Host::parse(authority).is_some() && memchr::memchr(b'%', authority).is_none()
}

/// The authority of a target in absolute form; user information is refused (RFC 9110 section 4.2.4).
fn absolute(target: &[u8]) -> Option<&[u8]> {
    let scheme_end = memchr::memmem::find(target, b"://")?;
    let (scheme, rest) = (&target[..scheme_end], &target[scheme_end + 3..]);
    let is_http = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
    let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?' | b'#')).unwrap_or(rest.len());
    let authority = &rest[..end];
    (is_http && is_authority(authority)).then_some(authority)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_forms_of_a_target_pass_where_they_belong() {
        for line in [
            "GET / HTTP/1.1",
            "GET //a?b#c HTTP/1.0",
            "OPTIONS * HTTP/1.1",
            "CONNECT a:443 HTTP/1.1",
            "GET http://a/b HTTP/1.1",
            "GET HTTPS://[::1]:80?b HTTP/1.1",
            "X-Y! /{}|\\^[] HTTP/1.1",
        ] {
            let parsed = RequestLine::parse(line.as_bytes());
            assert_eq!(parsed.map(|line| line.rewritten()), Ok(None), "{line}");
        }
    }

    #[test]
    fn what_is_no_request_line_is_refused_with_its_reason() {
        for (line, broken) in [
            ("GET", Broken::RequestLine),
            ("GET /", Broken::RequestLine),
            ("GET  / HTTP/1.1", Broken::RequestLine),
            ("GET / HTTP/1.1 ", Broken::RequestLine),
            ("GET / http/1.1", Broken::RequestLine),
            ("GET / HTTP/1.2", Broken::RequestLine),
            ("GET / HTTP/1.10", Broken::RequestLine),
            ("GET / HTTP/2", Broken::RequestLine),
            ("GET / HTTP/2.0", Broken::Version),
            ("PRI * HTTP/2.0", Broken::Version),
            ("GET / HTTP/0.9", Broken::Version),
            ("G(T / HTTP/1.1", Broken::Method),
            (" / HTTP/1.1", Broken::Method),
            ("GET /\u{e9} HTTP/1.1", Broken::Target),
            ("GET /\u{1} HTTP/1.1", Broken::Target),
            ("GET /\u{7f} HTTP/1.1", Broken::Target),
            ("GET a HTTP/1.1", Broken::Target),
            ("GET * HTTP/1.1", Broken::Target),
            ("GET a:80 HTTP/1.1", Broken::Target),
            ("CONNECT / HTTP/1.1", Broken::Target),
            ("GET http:///a HTTP/1.1", Broken::Target),
            ("GET http://user@a/ HTTP/1.1", Broken::Target),
            ("GET http://user:password@a/ HTTP/1.1", Broken::Target),
            ("GET http://a%zz/ HTTP/1.1", Broken::Target),
            ("GET http://[zz]/ HTTP/1.1", Broken::Target),
            ("GET ftp://a/ HTTP/1.1", Broken::Target),
        ] {
            assert_eq!(RequestLine::parse(line.as_bytes()), Err(broken), "{line:?}");
        }
    }

    #[test]
    fn odd_characters_pass_in_path_and_query_alike() {
        let line = "GET /\"<>`?\"<>`#\"<>` HTTP/1.1";
        let rewritten = RequestLine::parse(line.as_bytes()).expect("a request line").rewritten();
        let rewritten = String::from_utf8(rewritten.expect("it is odd")).expect("UTF-8");
        assert_eq!(rewritten, "GET /¢¼¾à?¢¼¾à#¢¼¾à HTTP/1.1");
        assert_eq!(target_as_sent(&rewritten), line);
    }

    #[test]
    fn a_target_that_the_parser_has_no_room_for_is_too_long() {
        let line = |target: &str, count| format!("GET /{} HTTP/1.1", target.repeat(count));
        let broken = |line: String| RequestLine::parse(line.as_bytes()).err();
        assert_eq!(broken(line("a", TARGET_BYTES_MAX - 1)), None);
        assert_eq!(broken(line("a", TARGET_BYTES_MAX)), Some(Broken::RequestLineTooLong));
        assert_eq!(broken(line("<", TARGET_BYTES_MAX / 2)), Some(Broken::RequestLineTooLong));
    }

    proptest! {
        /// Whatever printable target comes, the application sees just that.
        #[test]
        fn a_target_is_seen_as_it_was_sent(target in "/[!-~]{0,20}") {
            let line = format!("GET {target} HTTP/1.1");
            let parsed = RequestLine::parse(line.as_bytes()).expect("a request line");
            let written = parsed.rewritten().unwrap_or_else(|| line.clone().into_bytes());
            let written = String::from_utf8(written).expect("UTF-8");
            prop_assert_eq!(target_as_sent(&written), line);
        }
    }
}
