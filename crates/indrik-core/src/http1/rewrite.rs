//! Heads that only a permissive setting lets pass, brought into the one form that everybody reads alike.
//!
//! Gunicorn's `permit_*` settings accept what the parser behind the screen refuses. So that nothing
//! is ever parsed by one rule here and by another there, such a head is held until it is complete,
//! written anew in the strict form, and *that* is what the screen checks, the parser parses and
//! the application sees. Without such a setting nothing is held or copied.

use super::broken::Broken;
use super::lines::Lines;
use super::screen::{
    HEAD_BYTES_MAX, Limits, Screen, check_line_ends, check_unfinished, first_line, head_len,
};

/// What is permitted beyond the strict form.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
pub struct Permits {
    /// A field may go on in lines that begin with white space; they are joined with one space.
    pub folding: bool,
    /// White space may stand between a field's name and its colon; it is taken away.
    pub space_before_colon: bool,
    /// Any `HTTP/<digit>.<digit>`; it is served as the nearest of 1.0 and 1.1.
    pub any_version: bool,
    /// A method in lower case is served in upper case.
    pub lower_case_method: bool,
}

impl Permits {
    /// Whether nothing is.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        !(self.folding || self.space_before_colon || self.any_version || self.lower_case_method)
    }
}

/// Reads a connection's bytes and writes what the screen is to see.
#[derive(Debug)]
pub struct Rewriter {
    permits: Permits,
    limits: Limits,
    /// The beginning of a head.
    held: Vec<u8>,
    /// The empty line that may come in front of a head has come.
    empty_line_seen: bool,
}

impl Rewriter {
    /// At the start of a connection.
    #[must_use]
    pub const fn new(permits: Permits, limits: Limits) -> Self {
        Self { permits, limits, held: Vec::new(), empty_line_seen: false }
    }

    /// Whether a part of a head is held.
    #[must_use]
    pub const fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// The request line of a head that is held, as far as it is there.
    #[must_use]
    pub fn begun_line(&self) -> Vec<u8> {
        first_line(self.held.clone(), &[])
    }

    /// What is held, for whoever reads the connection from here on.
    #[must_use]
    pub fn into_held(self) -> Vec<u8> {
        self.held
    }

    /// Takes the next bytes from the client, shows the screen what becomes of them, and adds what
    /// it lets pass to `out`.
    ///
    /// # Errors
    /// The first break of the rules; the screen refuses everything from then on.
    pub fn read(
        &mut self,
        screen: &mut Screen,
        mut bytes: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Broken> {
        while !bytes.is_empty() {
            if screen.is_in_body() {
                let used = screen.read_body(bytes)?;
                out.extend_from_slice(&bytes[..used]);
                bytes = &bytes[used..];
                continue;
            }
            let used = self.hold(bytes).map_err(|broken| screen.refuse(broken, &self.held))?;
            bytes = &bytes[used..];
            if self.held.ends_with(b"\r\n\r\n") {
                let head = self.rewrite().map_err(|broken| screen.refuse(broken, &self.held))?;
                self.held.clear();
                self.empty_line_seen = false;
                let (passed, verdict) = screen.pass(&head);
                verdict?;
                out.extend_from_slice(&passed);
            }
        }
        Ok(())
    }

    /// Holds bytes up to the end of the head; says how many.
    fn hold(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        let before = self.held.len();
        let last = self.held.last().copied();
        self.held.extend_from_slice(bytes);
        if self.held.starts_with(b"\r\n") {
            if std::mem::replace(&mut self.empty_line_seen, true) {
                return Err(Broken::EmptyLine);
            }
            self.held.clear();
            return Ok(2 - before);
        }
        if self.empty_line_seen && self.held[0] == b'\r' {
            return Err(Broken::EmptyLine);
        }
        let from = before.saturating_sub(3);
        match head_len(&self.held[from..]) {
            Some(len) => {
                self.held.truncate(from + len);
                Ok(self.held.len() - before)
            }
            None => {
                check_line_ends(bytes, last)?;
                check_unfinished(&self.held, &self.limits)?;
                Ok(bytes.len())
            }
        }
    }

    /// The held head in its strict form.
    fn rewrite(&self) -> Result<Vec<u8>, Broken> {
        if self.held.len() > HEAD_BYTES_MAX {
            return Err(Broken::HeadTooLarge);
        }
        let mut head = Vec::with_capacity(self.held.len());
        let mut lines = Lines(&self.held);
        let request_line = lines.next().ok_or(Broken::RequestLine)??;
        if request_line.len() > self.limits.line {
            return Err(Broken::RequestLineTooLong);
        }
        self.rewrite_request_line(request_line, &mut head);
        // Of the field being written: its bytes as they came, and whether it may be folded.
        let mut field: Option<(usize, bool)> = None;
        for line in lines {
            let line = line?;
            if matches!(line.first(), Some(b' ' | b'\t')) {
                field = Some(self.rewrite_fold(field, line, &mut head)?);
            } else {
                head.extend_from_slice(b"\r\n");
                field = Some((line.len() + 2, !is_decisive(field_name(line))));
                self.rewrite_field(line, &mut head);
            }
            if field.is_some_and(|(bytes, _)| bytes > self.limits.field) {
                return Err(Broken::FieldTooLarge);
            }
        }
        head.extend_from_slice(b"\r\n");
        Ok(head)
    }

    fn rewrite_request_line(&self, line: &[u8], head: &mut Vec<u8>) {
        let mut parts = line.splitn(3, |byte| *byte == b' ');
        let (Some(method), Some(target), Some(version)) =
            (parts.next(), parts.next(), parts.next())
        else {
            return head.extend_from_slice(line);
        };
        let method_at = head.len();
        head.extend_from_slice(method);
        if self.permits.lower_case_method {
            head[method_at..].make_ascii_uppercase();
        }
        head.push(b' ');
        head.extend_from_slice(target);
        head.push(b' ');
        let served = if self.permits.any_version { nearest_version(version) } else { None };
        head.extend_from_slice(served.unwrap_or(version));
    }

    /// A line that continues the field in front of it.
    fn rewrite_fold(
        &self,
        field: Option<(usize, bool)>,
        line: &[u8],
        head: &mut Vec<u8>,
    ) -> Result<(usize, bool), Broken> {
        let (bytes, may_fold) = field.ok_or(Broken::FoldedField)?;
        if !self.permits.folding || !may_fold {
            return Err(Broken::FoldedField);
        }
        head.truncate(trim_blanks_end(head).len());
        head.push(b' ');
        head.extend_from_slice(trim_blanks(line));
        Ok((bytes + line.len() + 2, true))
    }

    fn rewrite_field(&self, line: &[u8], head: &mut Vec<u8>) {
        let name = field_name(line);
        let kept = if self.permits.space_before_colon { trim_blanks_end(name) } else { name };
        head.extend_from_slice(kept);
        head.extend_from_slice(&line[name.len()..]);
    }
}

/// Without the spaces and tabs at both ends; nothing else is white space here.
fn trim_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    trim_blanks_end(&line[blanks..])
}

fn trim_blanks_end(line: &[u8]) -> &[u8] {
    let blanks = line.iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    &line[..line.len() - blanks]
}

/// Up to the colon; all of it, if there is none.
fn field_name(line: &[u8]) -> &[u8] {
    &line[..memchr::memchr(b':', line).unwrap_or(line.len())]
}

/// Fields that say where a message ends or whom it is for: never folded, whatever is permitted.
fn is_decisive(name: &[u8]) -> bool {
    const DECISIVE: [&[u8]; 3] = [b"content-length", b"transfer-encoding", b"host"];
    DECISIVE.iter().any(|decisive| trim_blanks_end(name).eq_ignore_ascii_case(decisive))
}

/// What a request of this version is served as; `None` if it is no version.
fn nearest_version(version: &[u8]) -> Option<&'static [u8]> {
    match version {
        [b'H', b'T', b'T', b'P', b'/', major @ b'0'..=b'9', b'.', minor @ b'0'..=b'9'] => {
            Some(if (*major, *minor) > (b'1', b'0') { b"HTTP/1.1" } else { b"HTTP/1.0" })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALL: Permits = Permits {
        folding: true,
        space_before_colon: true,
        any_version: true,
        lower_case_method: true,
    };

    fn read(permits: Permits, limits: Limits, bytes: &[u8]) -> Result<String, Broken> {
        let (mut rewriter, mut screen) = (Rewriter::new(permits, limits), Screen::new(limits));
        let mut out = Vec::new();
        rewriter.read(&mut screen, bytes, &mut out)?;
        Ok(String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn what_is_permitted_is_written_in_the_strict_form() {
        for (request, strict) in [
            ("GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
            ("\r\nGET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\n\r\n"),
            (
                "G / HTTP/1.1\r\nA: b \r\n\t c\r\n  d\r\nE: f\r\n\r\n",
                "G / HTTP/1.1\r\nA: b c d\r\nE: f\r\n\r\n",
            ),
            ("G / HTTP/1.1\r\nA:\r\n b\r\n\r\n", "G / HTTP/1.1\r\nA: b\r\n\r\n"),
            ("G / HTTP/1.1\r\nA \t: b\r\n\r\n", "G / HTTP/1.1\r\nA: b\r\n\r\n"),
            ("get /a HTTP/3.0\r\n\r\n", "GET /a HTTP/1.1\r\n\r\n"),
            ("G / HTTP/0.9\r\n\r\n", "G / HTTP/1.0\r\n\r\n"),
            (
                "P / HTTP/1.1\r\nContent-Length : 4\r\n\r\n\n\r\n\nG / HTTP/1.2\r\n\r\n",
                "P / HTTP/1.1\r\nContent-Length: 4\r\n\r\n\n\r\n\nG / HTTP/1.1\r\n\r\n",
            ),
        ] {
            assert_eq!(read(ALL, Limits::NONE, request.as_bytes()).as_deref(), Ok(strict));
        }
    }

    #[test]
    fn what_decides_where_a_message_ends_stays_strict() {
        for (request, broken) in [
            ("P / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n", Broken::FoldedField),
            ("P / HTTP/1.1\r\nTransfer-Encoding : gzip,\r\n chunked\r\n\r\n", Broken::FoldedField),
            ("P / HTTP/1.1\r\nContent-Length: 1\r\n 2\r\n\r\n", Broken::FoldedField),
            ("P / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", Broken::FoldedField),
            ("P / HTTP/1.1\r\n A: b\r\n\r\n", Broken::FoldedField),
            (
                "P / HTTP/1.1\r\nContent-Length : 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                Broken::LengthAndEncoding,
            ),
            (
                "P / HTTP/1.1\r\nContent-Length : 1\r\nContent-Length: 1\r\n\r\n",
                Broken::ContentLengthTwice,
            ),
            ("P / HTTP/1.1\r\nA: b\n c\r\n\r\n", Broken::BareLineFeed),
            ("P / HTTP/1.1\r\nA: b\r c\r\n\r\n", Broken::BareCarriageReturn),
            ("\r\n\r\nP / HTTP/1.1\r\n\r\n", Broken::EmptyLine),
        ] {
            assert_eq!(read(ALL, Limits::NONE, request.as_bytes()), Err(broken), "{request:?}");
        }
    }

    #[test]
    fn what_is_not_permitted_is_refused_beside_what_is() {
        let folding = Permits { folding: true, ..Permits::default() };
        let spaces = Permits { space_before_colon: true, ..Permits::default() };
        let folded = b"G / HTTP/1.1\r\nA: b\r\n c\r\n\r\n";
        assert_eq!(read(spaces, Limits::NONE, folded), Err(Broken::FoldedField));
        let spaced = "G / HTTP/1.1\r\nA : b\r\n\r\n";
        assert_eq!(read(folding, Limits::NONE, spaced.as_bytes()), Err(Broken::FieldName));
    }

    #[test]
    fn a_folded_field_counts_as_it_came() {
        let request = b"GET /test HTTP/1.1\r\nAccept:\r\n */*\r\n\r\n";
        let limits = |field| Limits { field, ..Limits::NONE };
        assert_eq!(read(ALL, limits(14), request), Err(Broken::FieldTooLarge));
        assert!(read(ALL, limits(15), request).is_ok());
    }

    proptest! {
        /// However the network cuts the bytes, the same comes out; and what comes out is what the
        /// screen accepts by itself.
        #[test]
        fn what_comes_out_is_strict_and_does_not_depend_on_how_the_bytes_are_cut(
            parts in prop::collection::vec(prop::sample::select(vec![
                "GET / HTTP/1.1\r\n", "get / HTTP/2.3\r\n", "Host: a\r\n", "\r\n", "\n", "\r", "A : b\r\n",
                " c\r\n", "Content-Length : 3\r\n", "Transfer-Encoding: chunked\r\n", "abc", " ",
                "3\r\nabc\r\n", "0\r\n\r\n", "X", ":",
                "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
                "POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\na\n\r\n",
            ]), 0..12),
            cuts in prop::collection::vec(1usize..9, 1..40),
        ) {
            let bytes = parts.concat().into_bytes();
            let run = |cuts: &[usize]| {
                let limits = Limits::NONE;
                let (mut rewriter, mut screen) = (Rewriter::new(ALL, limits), Screen::new(limits));
                let (mut rest, mut out, mut cuts) = (&bytes[..], Vec::new(), cuts.iter().cycle());
                let mut verdict = Ok(());
                while !rest.is_empty() && verdict.is_ok() {
                    let len = (*cuts.next().expect("endless")).min(rest.len());
                    verdict = rewriter.read(&mut screen, &rest[..len], &mut out);
                    rest = &rest[len..];
                }
                verdict.is_ok().then_some(out)
            };
            let whole = run(&[usize::MAX]);
            prop_assert_eq!(&whole, &run(&cuts));
            if let Some(out) = whole {
                prop_assert!(Screen::default().read(&out).is_ok());
            }
        }
    }
}
