//! Values as they stand in a line, of text or of JSON.

use std::io::Write as _;

use base64::Engine as _;
use http::HeaderMap;
use http::header::{AUTHORIZATION, REFERER, USER_AGENT};
use indrik_core::logs::access_format::{Atom, Phase};
use indrik_core::logs::{escape, json};
use indrik_core::time::Micros;

use super::super::trail::Mark;
use super::environ::{Seen, Variable};
use super::stamp;

/// Where a value comes that is not known yet.
pub(super) const HOLE: u8 = 0;

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Text,
    Json,
}

/// Where the time of a request went, microseconds.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// The application had it.
    pub(super) app: Micros,
    /// It waited for the application.
    pub(super) queue: Micros,
    /// The client was waited for: for the body, and to take the answer.
    pub(super) client: Micros,
    /// All of it, from the head to the last byte of the answer.
    pub(super) total: Micros,
}

impl Times {
    const fn of(self, phase: Phase) -> Micros {
        match phase {
            Phase::Queue => self.queue,
            Phase::Client => self.client,
            Phase::Total => self.total,
        }
    }
}

/// What is known when the response is over.
pub(super) struct End {
    pub(super) times: Times,
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) pid: u32,
    /// Of a WebSocket.
    pub(super) close_code: Option<u16>,
    /// The name of the application's route.
    pub(super) route: Option<String>,
}

/// The format's own text.
pub(super) fn literal(text: &str, line: &mut Vec<u8>) {
    line.extend(text.bytes().filter(|byte| *byte != HOLE));
}

/// A value that the request brings.
pub(super) fn early(seen: &Seen<'_>, atom: &Atom, form: Form, line: &mut Vec<u8>) {
    let headers = &seen.parts.headers;
    match atom {
        Atom::Client => {
            value((!seen.client.is_empty()).then_some(seen.client.as_bytes()), form, line)
        }
        Atom::User => value(user(headers).as_deref(), form, line),
        Atom::RequestLine => {
            let (method, protocol) = (seen.parts.method.as_str(), seen.protocol());
            let target = seen.value(&Variable::RawUri).unwrap_or_default();
            let words = [method.as_bytes(), &target, protocol.as_bytes()];
            match form {
                Form::Text => {
                    for (word, end) in words.into_iter().zip([&b" "[..], b" ", b""]) {
                        escape::text(word, line);
                        line.extend_from_slice(end);
                    }
                }
                Form::Json => json::string(&words.join(&b' '), line),
            }
        }
        Atom::Method => value(Some(seen.parts.method.as_str().as_bytes()), form, line),
        Atom::Path => value(seen.value(&Variable::PathInfo).as_deref(), form, line),
        Atom::Query => value(seen.value(&Variable::QueryString).as_deref(), form, line),
        Atom::Protocol => value(Some(seen.protocol().as_bytes()), form, line),
        Atom::Referer => value(last(headers, REFERER.as_str()), form, line),
        Atom::UserAgent => value(last(headers, USER_AGENT.as_str()), form, line),
        Atom::RequestHeader(name) => value(last(headers, name), form, line),
        Atom::TraceId => {
            let trace = Mark::of(seen.parts).and_then(Mark::trace);
            value(trace.as_deref().map(str::as_bytes), form, line);
        }
        Atom::RequestId => value(Mark::of(seen.parts).and_then(Mark::id), form, line),
        Atom::Variable(name) => {
            let variable = Variable::named(name);
            let found = variable.as_ref().and_then(|variable| seen.value(variable));
            value(found.as_deref(), form, line);
        }
        _ => value(None, form, line),
    }
}

/// A value that is known at the end. Headers of the response are written by [`header`].
pub(super) fn late(end: &End, atom: &Atom, form: Form, line: &mut Vec<u8>) {
    let took = end.times.app;
    // Writing to a vector cannot fail.
    let _ = match (atom, form) {
        (Atom::Time, Form::Text) => {
            stamp::common(line);
            Ok(())
        }
        (Atom::Time, Form::Json) => write!(line, "\"{}\"", stamp::iso()),
        (Atom::Status, _) => write!(line, "{}", end.status),
        (Atom::Bytes, _) => write!(line, "{}", end.bytes),
        (Atom::Seconds, _) => write!(line, "{}", took / 1_000_000),
        (Atom::Milliseconds, _) => write!(line, "{}", took / 1_000),
        (Atom::Microseconds, _) => write!(line, "{took}"),
        (Atom::DecimalSeconds, _) => write!(line, "{}.{:06}", took / 1_000_000, took % 1_000_000),
        (Atom::Phase(phase), _) => write!(line, "{}", end.times.of(*phase)),
        (Atom::Pid, Form::Text) => write!(line, "<{}>", end.pid),
        (Atom::Pid, Form::Json) => write!(line, "{}", end.pid),
        (Atom::CloseCode, _) if let Some(code) = end.close_code => write!(line, "{code}"),
        (Atom::Route, _) => {
            value(end.route.as_deref().map(str::as_bytes), form, line);
            Ok(())
        }
        _ => {
            value(None, form, line);
            Ok(())
        }
    };
}

/// A header's value; of several, the last, as in Gunicorn.
pub(super) fn header(headers: &HeaderMap, name: &str, form: Form, line: &mut Vec<u8>) {
    value(last(headers, name), form, line);
}

fn last<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a [u8]> {
    headers.get_all(name).iter().next_back().map(http::HeaderValue::as_bytes)
}

fn value(bytes: Option<&[u8]>, form: Form, line: &mut Vec<u8>) {
    match (bytes, form) {
        (Some(bytes), Form::Text) => escape::text(bytes, line),
        (Some(bytes), Form::Json) => json::string(bytes, line),
        (None, Form::Text) => line.push(b'-'),
        (None, Form::Json) => line.extend_from_slice(b"null"),
    }
}

/// The user of basic authentication.
fn user(headers: &HeaderMap) -> Option<Vec<u8>> {
    let (scheme, coded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut plain = base64::engine::general_purpose::STANDARD.decode(coded.trim()).ok()?;
    let end = memchr::memchr(b':', &plain).unwrap_or(plain.len());
    plain.truncate(end);
    (!plain.is_empty() && std::str::from_utf8(&plain).is_ok()).then_some(plain)
}
