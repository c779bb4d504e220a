//! The access log's format: Gunicorn's `%(atom)s`, which is Python's `%` with a dictionary.

/// A parsed format.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Format(pub Vec<Part>);

/// A part of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it stands.
    Text(String),
    /// A value, and how it is padded.
    Atom(Atom, Option<Padding>),
}

/// A value of a request or its response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Atom {
    /// `h`
    Client,
    /// `u`
    User,
    /// `t`
    Time,
    /// `r`
    RequestLine,
    /// `s`
    Status,
    /// `m`
    Method,
    /// `U`
    Path,
    /// `q`
    Query,
    /// `H`
    Protocol,
    /// `b`, `B`
    Bytes,
    /// `f`
    Referer,
    /// `a`
    UserAgent,
    /// `T`: whole seconds of the application's time, as `M`, `D` and `L`.
    Seconds,
    /// `M`
    Milliseconds,
    /// `D`
    Microseconds,
    /// `L`
    DecimalSeconds,
    /// `p`
    Pid,
    /// `close_code`: of a WebSocket.
    CloseCode,
    /// `route`: the one that the application chose.
    Route,
    /// `request_id`
    RequestId,
    /// `trace_id`
    TraceId,
    /// `queue_us`, `client_us`, `total_us`: microseconds of the request that are not the application's.
    Phase(Phase),
    /// `{name}i`, in lower case.
    RequestHeader(String),
    /// `{name}o`, in lower case.
    ResponseHeader(String),
    /// `{name}e`, in lower case.
    Variable(String),
    /// `l`, and whatever is not known: `-`.
    Absent,
}

/// A part of a request's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It waited for the application.
    Queue,
    /// The client was waited for: for the body, and to take the answer.
    Client,
    /// All of it, from the head to the last byte of the answer.
    Total,
}

impl Atom {
    /// Whether it is known only when the response is over.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        match self {
            Self::Time
            | Self::Status
            | Self::Bytes
            | Self::Seconds
            | Self::Milliseconds
            | Self::Microseconds
            | Self::DecimalSeconds
            | Self::Pid
            | Self::CloseCode
            | Self::Route
            | Self::Phase(_)
            | Self::ResponseHeader(_) => true,
            Self::Client
            | Self::User
            | Self::RequestLine
            | Self::Method
            | Self::Path
            | Self::Query
            | Self::Protocol
            | Self::Referer
            | Self::UserAgent
            | Self::RequestId
            | Self::TraceId
            | Self::RequestHeader(_)
            | Self::Variable(_)
            | Self::Absent => false,
        }
    }

    fn named(key: &str) -> Self {
        if let Some(braced) = key.strip_prefix('{') {
            let Some((name, kind)) = braced.rsplit_once('}') else { return Self::Absent };
            let name = name.to_ascii_lowercase();
            return match kind {
                "i" | "I" => Self::RequestHeader(name),
                // Those of the server are not the application's, whatever it says.
                "o" | "O" if SERVERS_HEADERS.contains(&name.as_str()) => Self::Absent,
                "o" | "O" => Self::ResponseHeader(name),
                "e" | "E" => Self::Variable(name),
                _ => Self::Absent,
            };
        }
        match key {
            "h" => Self::Client,
            "u" => Self::User,
            "t" => Self::Time,
            "r" => Self::RequestLine,
            "s" => Self::Status,
            "m" => Self::Method,
            "U" => Self::Path,
            "q" => Self::Query,
            "H" => Self::Protocol,
            "b" | "B" => Self::Bytes,
            "f" => Self::Referer,
            "a" => Self::UserAgent,
            "T" => Self::Seconds,
            "M" => Self::Milliseconds,
            "D" => Self::Microseconds,
            "L" => Self::DecimalSeconds,
            "p" => Self::Pid,
            "close_code" => Self::CloseCode,
            "route" => Self::Route,
            "request_id" => Self::RequestId,
            "trace_id" => Self::TraceId,
            "queue_us" => Self::Phase(Phase::Queue),
            "client_us" => Self::Phase(Phase::Client),
            "total_us" => Self::Phase(Phase::Total),
            _ => Self::Absent,
        }
    }
}

/// Headers of a response that the server makes, and takes away from the application.
const SERVERS_HEADERS: [&str; 5] =
    ["connection", "date", "keep-alive", "server", "transfer-encoding"];

/// More than this is no padding but a mistake; it counts as this.
const WIDTH_MAX: usize = 1024;

/// What stands between `)` and the conversion: `%(a)-20.40s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Spaces go to the right.
    left: bool,
    /// Numbers are filled with zeros.
    zeros: bool,
    width: usize,
    /// Text is cut to this, numbers are filled to it.
    precision: Option<usize>,
    is_number: bool,
}

impl Padding {
    /// Cuts and fills what was appended to `line` from `start` on.
    pub fn apply(&self, line: &mut Vec<u8>, start: usize) {
        if let Some(precision) = self.precision {
            if self.is_number {
                self.fill(line, start, precision, b'0');
            } else {
                let end = nth_character(&line[start..], precision);
                line.truncate(start + end);
            }
        }
        let fill = if self.zeros && self.is_number && !self.left { b'0' } else { b' ' };
        self.fill(line, start, self.width, fill);
    }

    fn fill(&self, line: &mut Vec<u8>, start: usize, width: usize, with: u8) {
        let has = line[start..].iter().filter(|byte| !is_continuation(**byte)).count();
        let at = if self.left && with == b' ' { line.len() } else { start };
        let missing = width.saturating_sub(has);
        line.splice(at..at, std::iter::repeat_n(with, missing));
    }
}

const fn is_continuation(byte: u8) -> bool {
    byte & 0xc0 == 0x80
}

/// Where the character number `count` begins.
fn nth_character(text: &[u8], count: usize) -> usize {
    let mut starts = (0..text.len()).filter(|at| !is_continuation(text[*at]));
    starts.nth(count).unwrap_or(text.len())
}

impl Format {
    /// Reads a format. What is no atom stays as it is.
    #[must_use]
    pub fn parse(format: &str) -> Self {
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
        Self(parts)
    }

    /// The atoms in it.
    pub fn atoms(&self) -> impl Iterator<Item = &Atom> {
        self.0.iter().filter_map(|part| match part {
            Part::Atom(atom, _) => Some(atom),
            Part::Text(_) => None,
        })
    }
}

/// `%(key)`, flags, width, precision, conversion.
fn parse_atom(text: &str) -> Option<(Part, &str)> {
    let (key, mut rest) = text.strip_prefix("%(")?.split_once(')')?;
    let mut padding = Padding::default();
    loop {
        match rest.as_bytes().first()? {
            b'-' => padding.left = true,
            b'0' => padding.zeros = true,
            b' ' | b'+' | b'#' => {}
            _ => break,
        }
        rest = &rest[1..];
    }
    (padding.width, rest) = number(rest);
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = number(after);
        padding.precision = Some(precision);
        rest = after;
    }
    let after = rest.get(1..)?;
    padding.is_number = match rest.as_bytes().first()? {
        b's' | b'r' | b'a' => false,
        b'd' | b'i' | b'u' => true,
        _ => return None,
    };
    let wanted = (padding.width > 0 || padding.precision.is_some()).then_some(padding);
    Some((Part::Atom(Atom::named(key), wanted), after))
}

fn number(text: &str) -> (usize, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    let value = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(WIDTH_MAX) };
    (value.min(WIDTH_MAX), rest)
}
