//! The access log in Gunicorn's format: `%(atom)s` with Gunicorn's atoms.

mod environ;

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{HeaderMap, Response, Version};
use indrik_core::dispatch::Micros;
use indrik_core::settings::{Config, LogTarget};
use parking_lot::Mutex;

use super::clock;
use super::forwarding::{Via, shown_client};
use super::request::{Client, target};
use super::response::Body;
use environ::{Places, Seen, Variable};

/// An open access log.
pub(super) struct AccessLog(Arc<Inner>);

struct Inner {
    format: Vec<Part>,
    output: Mutex<Output>,
    path: Option<PathBuf>,
    wants_response_headers: bool,
    places: Places,
}

enum Output {
    Stdout,
    Stderr,
    File(File),
}

/// A part of the format.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Atom(char),
    RequestHeader(String),
    ResponseHeader(String),
    Variable(Variable),
    /// Variables and atoms that the front does not have.
    Absent,
}

/// One request's line in the making.
pub(super) struct Entry {
    log: Arc<Inner>,
    client: String,
    port: u16,
    listener: u16,
    parts: Parts,
    arrived: Micros,
    status: u16,
    response_headers: Option<HeaderMap>,
    bytes: u64,
}

impl AccessLog {
    /// Opens the access log of the settings, if they want one; `servers`: host and port of each
    /// listener.
    pub(super) fn open(
        config: &Config,
        servers: Vec<(String, Option<u16>)>,
    ) -> io::Result<Option<Self>> {
        let Some(to) = &config.accesslog else { return Ok(None) };
        let (output, path) = match to {
            LogTarget::Stdout => (Output::Stdout, None),
            LogTarget::Stderr => (Output::Stderr, None),
            LogTarget::File(path) => (Output::File(append(path)?), Some(path.clone())),
        };
        let format = parse(&config.access_log_format);
        let wants_response_headers =
            format.iter().any(|part| matches!(part, Part::ResponseHeader(_)));
        let output = Mutex::new(output);
        let places = Places::new(config, servers);
        Ok(Some(Self(Arc::new(Inner { format, output, path, wants_response_headers, places }))))
    }

    /// Opens the file again.
    pub(super) fn reopen(&self) -> io::Result<()> {
        if let Some(path) = &self.0.path {
            *self.0.output.lock() = Output::File(append(path)?);
        }
        Ok(())
    }

    /// Begins a line.
    pub(super) fn entry(&self, client: &Client, parts: &Parts, arrived: Micros) -> Box<Entry> {
        let (mut copy, ()) = http::Request::new(()).into_parts();
        copy.method = parts.method.clone();
        copy.uri = parts.uri.clone();
        copy.version = parts.version;
        copy.headers = parts.headers.clone();
        let via = Via::of(parts);
        if let Some(via) = via {
            copy.extensions.insert(via.clone());
        }
        let (address, port) = shown_client(client, via);
        Box::new(Entry {
            log: Arc::clone(&self.0),
            client: address.into_owned(),
            port,
            listener: client.listener,
            parts: copy,
            arrived,
            status: 0,
            response_headers: None,
            bytes: 0,
        })
    }
}

fn append(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).map_err(|error| {
        io::Error::new(error.kind(), format!("access log {}: {error}", path.display()))
    })
}

impl Entry {
    /// The response is known.
    pub(super) fn with_response(mut self: Box<Self>, response: &Response<Body>) -> Box<Self> {
        self.status = response.status().as_u16();
        if self.log.wants_response_headers {
            self.response_headers = Some(response.headers().clone());
        }
        self
    }

    /// Bytes of the body went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Writes the line.
    pub(super) fn write(&self) {
        let mut line = String::with_capacity(200);
        for part in &self.log.format {
            match part {
                Part::Text(text) => line.push_str(text),
                Part::Atom(atom) => self.atom(*atom, &mut line),
                Part::RequestHeader(name) => header(Some(&self.parts.headers), name, &mut line),
                Part::ResponseHeader(name) => {
                    header(self.response_headers.as_ref(), name, &mut line);
                }
                Part::Variable(variable) => self.variable(variable, &mut line),
                Part::Absent => line.push('-'),
            }
        }
        line.push('\n');
        // A log that cannot be written must not stop the service.
        let _ = match &mut *self.log.output.lock() {
            Output::Stdout => io::stdout().write_all(line.as_bytes()),
            Output::Stderr => io::stderr().write_all(line.as_bytes()),
            Output::File(file) => file.write_all(line.as_bytes()),
        };
    }

    fn atom(&self, atom: char, line: &mut String) {
        let took = clock::now().saturating_sub(self.arrived);
        let headers = Some(&self.parts.headers);
        let uri = &self.parts.uri;
        let _ = match atom {
            'h' => write!(line, "{}", if self.client.is_empty() { "-" } else { &self.client }),
            'l' => write!(line, "-"),
            'u' => write!(line, "{}", escape(&user(&self.parts.headers))),
            't' => write!(line, "{}", common_time(SystemTime::now())),
            'r' => {
                let target = target(&self.parts);
                write!(line, "{} {} {}", self.parts.method, escape(&target), self.protocol())
            }
            's' => write!(line, "{}", self.status),
            'm' => write!(line, "{}", self.parts.method),
            'U' => write!(line, "{}", escape(uri.path())),
            'q' => write!(line, "{}", escape(uri.query().unwrap_or(""))),
            'H' => write!(line, "{}", self.protocol()),
            'b' if self.bytes == 0 => write!(line, "-"),
            'b' | 'B' => write!(line, "{}", self.bytes),
            'f' => return header(headers, "referer", line),
            'a' => return header(headers, "user-agent", line),
            'T' => write!(line, "{}", took / 1_000_000),
            'D' => write!(line, "{took}"),
            'M' => write!(line, "{}", took / 1_000),
            'L' => write!(line, "{}.{:06}", took / 1_000_000, took % 1_000_000),
            'p' => write!(line, "<{}>", std::process::id()),
            _ => write!(line, "-"),
        };
    }

    fn variable(&self, variable: &Variable, line: &mut String) {
        let seen = Seen {
            places: &self.log.places,
            parts: &self.parts,
            protocol: self.protocol(),
            listener: self.listener,
            client: &self.client,
            port: self.port,
        };
        match seen.value(variable) {
            Some(value) => line.push_str(&escape(&value)),
            None => line.push('-'),
        }
    }

    fn protocol(&self) -> &'static str {
        match self.parts.version {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        }
    }
}

/// The user of basic authentication, or `-`.
fn user(headers: &HeaderMap) -> String {
    use base64::Engine;
    let decode = || {
        let value = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
        let (scheme, coded) = value.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let plain = base64::engine::general_purpose::STANDARD.decode(coded.trim()).ok()?;
        let plain = String::from_utf8(plain).ok()?;
        plain.split_once(':').map(|(user, _)| user.to_owned()).filter(|user| !user.is_empty())
    };
    decode().unwrap_or_else(|| "-".to_owned())
}

fn header(headers: Option<&HeaderMap>, name: &str, line: &mut String) {
    match headers.and_then(|headers| headers.get(name)) {
        Some(value) => line.push_str(&escape(&String::from_utf8_lossy(value.as_bytes()))),
        None => line.push('-'),
    }
}

/// What came from a client cannot end a quoted part, begin a line or move the terminal's cursor.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => safe.push_str("\\\""),
            '\\' => safe.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(safe, "\\x{:02x}", u32::from(c));
            }
            c => safe.push(c),
        }
    }
    safe
}

/// Splits a format into its parts. What is no atom stays as it is.
fn parse(format: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut text = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("%%") {
            text.push('%');
            rest = after;
        } else if let Some((part, after)) = parse_atom(rest) {
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(part);
            rest = after;
        } else {
            text.push('%');
            rest = &rest[1..];
        }
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text));
    }
    parts
}

/// `%(atom)s` or `%({name}kind)s`.
fn parse_atom(text: &str) -> Option<(Part, &str)> {
    let (inner, after) = text.strip_prefix("%(")?.split_once(")s")?;
    let part = if let Some(braced) = inner.strip_prefix('{') {
        let (name, kind) = braced.split_once('}')?;
        match kind {
            "i" => Part::RequestHeader(name.to_ascii_lowercase()),
            "o" => Part::ResponseHeader(name.to_ascii_lowercase()),
            "e" => Variable::named(name).map_or(Part::Absent, Part::Variable),
            _ => Part::Absent,
        }
    } else {
        let mut letters = inner.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) => Part::Atom(letter),
            _ => Part::Absent,
        }
    };
    Some((part, after))
}

/// `[21/Nov/2026:13:00:00 +0000]`.
fn common_time(time: SystemTime) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "[{day:02}/{}/{year}:{:02}:{:02}:{:02} +0000]",
        MONTHS[month - 1],
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// Year, month (1–12) and day of a number of days since 1970-01-01 (proleptic Gregorian).
fn civil(days: u64) -> (u64, usize, u64) {
    // Counted in eras of 400 years that begin on 1 March, so that leap days come last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, usize::try_from(month).unwrap_or(1), day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_format_is_split_into_text_and_atoms() {
        assert_eq!(
            parse("%(h)s \"%(r)s\" 100%% %({X-Id}i)s %({a}e)s %x"),
            [
                Part::Atom('h'),
                Part::Text(" \"".into()),
                Part::Atom('r'),
                Part::Text("\" 100% ".into()),
                Part::RequestHeader("x-id".into()),
                Part::Text(" ".into()),
                Part::Absent,
                Part::Text(" %x".into()),
            ]
        );
    }

    #[test]
    fn what_a_client_sends_cannot_forge_a_line() {
        assert_eq!(escape("a\" 200\n\u{1b}[2J\\"), "a\\\" 200\\x0a\\x1b[2J\\\\");
    }

    #[test]
    fn time_is_in_the_common_log_format() {
        let time = |seconds| common_time(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(time(0), "[01/Jan/1970:00:00:00 +0000]");
        assert_eq!(time(951_827_696), "[29/Feb/2000:12:34:56 +0000]");
        assert_eq!(time(1_798_761_599), "[31/Dec/2026:23:59:59 +0000]");
    }
}
