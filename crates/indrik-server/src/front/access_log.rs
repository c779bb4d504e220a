//! The access log: a line for each request, when its response is over; and the metrics of requests.
//!
//! What a request brings is written into the entry when it comes, because its head does not stay;
//! values that are known only at the end have holes there ([`HOLE`]), filled when the line is put
//! together. Nothing that is logged can contain a hole: control characters are escaped.

mod environ;
mod render;
mod stamp;

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use indrik_core::lane::RouteId;
use indrik_core::logs::access_format::{Atom, Format, Padding, Part};
use indrik_core::logs::level::Level;
use indrik_core::logs::metric::Value;
use indrik_core::record::Record;
use indrik_core::refusal::Reason;
use indrik_core::settings::Config;
use indrik_core::time::Micros;
use indrik_core::trace::span::{Answered, Phases};
use parking_lot::Mutex;

use super::clock;
use super::metrics::{OpenWebSocket, Traceable};
use super::peer::Peer;
use super::pipeline::forwarding::{Via, shown_client};
use super::recording::{Recorded, Recordings};
use super::route_names::SharedRouteNames;
use super::served::Served;
use super::tap::Tap;
use super::trail::{Submitted, Trail};
use super::watching::{Watched, Watchers};
use super::websocket::session::Outcome;
use crate::log::{Outlets, Output, Statsd, Syslog};
use environ::{Common, Seen};
use render::{Form, HOLE, Times};

/// A line's buffer that has grown beyond this is not kept.
const LINE_KEPT_BYTES_MAX: usize = 64 * 1024;
/// What may last as long as its client likes.
const EVENT_STREAM: &[u8] = b"text/event-stream";
/// From this status on a request is logged whatever its path.
const FAILURE: u16 = 500;

/// The access log of the front. It changes with the configuration.
pub(super) struct AccessLog {
    /// Looked at for each request, so that a log that is off costs nothing.
    is_on: AtomicBool,
    current: Mutex<Option<Arc<Inner>>>,
    /// For requests that are followed while there is no log.
    silent: Arc<Inner>,
    route_names: Arc<SharedRouteNames>,
    pub(super) recordings: Arc<Recordings>,
    pub(super) watchers: Arc<Watchers>,
}

struct Inner {
    /// `None`: no line is wanted, only metrics.
    lines: Option<Lines>,
    statsd: Option<Arc<Statsd>>,
    route_names: Arc<SharedRouteNames>,
}

struct Lines {
    format: Vec<Part>,
    form: Form,
    late: Vec<(Atom, Option<Padding>)>,
    wants_response_headers: bool,
    wants_route: bool,
    common: Common,
    output: Option<Arc<Output>>,
    syslog: Option<Arc<Syslog>>,
}

/// One request's line in the making.
pub(super) struct Entry {
    log: Arc<Inner>,
    /// What the request brought, with holes.
    early: Vec<u8>,
    /// The response's headers that the format wants, with a hole after each.
    response_headers: Vec<u8>,
    is_excluded: bool,
    arrived: Micros,
    status: u16,
    bytes: u64,
    served: Served,
    /// How a WebSocket ended.
    close_code: Option<u16>,
    /// What else follows the request.
    trail: Option<Box<Trail>>,
    /// It is recorded as well.
    recorded: Option<Box<Recorded>>,
    /// Somebody watches it.
    watched: Option<Box<Watched>>,
}

impl AccessLog {
    /// The log of the settings; `servers`: host and port of each listener.
    pub(super) fn new(
        config: &Config,
        outlets: &Outlets,
        servers: &[(String, Option<u16>)],
        route_names: &Arc<SharedRouteNames>,
    ) -> Self {
        let route_names = Arc::clone(route_names);
        let silent = Inner { lines: None, statsd: None, route_names: Arc::clone(&route_names) };
        let log = Self {
            is_on: AtomicBool::new(false),
            current: Mutex::new(None),
            silent: Arc::new(silent),
            route_names,
            recordings: Arc::default(),
            watchers: Arc::default(),
        };
        log.configure(config, outlets, servers);
        log
    }

    /// Goes on as `config` says; lines that were begun end as they were begun.
    pub(super) fn configure(
        &self,
        config: &Config,
        outlets: &Outlets,
        servers: &[(String, Option<u16>)],
    ) {
        let inner = Inner::new(config, outlets, servers, &self.route_names).map(Arc::new);
        self.is_on.store(inner.is_some(), Ordering::Relaxed);
        *self.current.lock() = inner;
    }

    /// Counts an answer of the front's own, where metrics are sent.
    pub(super) fn count_refusal(&self, reason: Reason) {
        if self.is_on.load(Ordering::Relaxed)
            && let Some(statsd) =
                self.current.lock().as_ref().and_then(|inner| inner.statsd.clone())
        {
            statsd.send(&format!("indrik.refused.{}", reason.word()), Value::Count(1));
        }
    }

    /// Whether entries are wanted: there is a log, or requests are recorded or watched.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed) || self.recordings.is_on() || self.watchers.is_on()
    }

    /// Begins a line, if the log is on; one that is left out is written only if the request fails.
    pub(super) fn entry(
        &self,
        peer: &Peer,
        parts: &Parts,
        arrived: Micros,
        (is_excluded, has_body): (bool, bool),
        trail: Option<Box<Trail>>,
    ) -> Option<Box<Entry>> {
        let recorded = self.recordings.take(parts, arrived, has_body);
        let watched = self.watchers.take(parts);
        let is_followed = trail.is_some() || recorded.is_some() || watched.is_some();
        let log = self.current.lock().clone();
        let log = match log {
            Some(log) => log,
            None if is_followed => Arc::clone(&self.silent),
            None => return None,
        };
        let mut entry = Entry {
            early: Vec::new(),
            response_headers: Vec::new(),
            is_excluded,
            arrived,
            status: 0,
            bytes: 0,
            served: Served::NOBODY,
            close_code: None,
            trail,
            recorded,
            watched,
            log,
        };
        if let Some(lines) = &entry.log.lines {
            let (address, port) = shown_client(peer, Via::of(parts));
            let (common, listener) = (&lines.common, peer.listener);
            let seen = Seen { common, parts, listener, client: &address, port };
            lines.begin(&seen, &mut entry.early);
        }
        Some(Box::new(entry))
    }
}

impl Inner {
    fn new(
        config: &Config,
        outlets: &Outlets,
        servers: &[(String, Option<u16>)],
        route_names: &Arc<SharedRouteNames>,
    ) -> Option<Self> {
        let (output, syslog) = (outlets.access.clone(), outlets.access_syslog.clone());
        let wants_lines = (output.is_some() || syslog.is_some()) && !outlets.in_python;
        let statsd = outlets.statsd.clone();
        if !wants_lines && statsd.is_none() {
            return None;
        }
        let lines = wants_lines.then(|| {
            let form = if outlets.as_json { Form::Json } else { Form::Text };
            let common = Common::new(config, servers.to_vec());
            let lines = Lines::new(&config.access_log_format, form, common);
            Lines { output, syslog, ..lines }
        });
        Some(Self { lines, statsd, route_names: Arc::clone(route_names) })
    }
}

impl Lines {
    fn new(format: &str, form: Form, common: Common) -> Self {
        let mut format = Format::parse(format);
        if form == Form::Json {
            format = format.to_json();
        }
        let late = format.0.iter().filter_map(|part| match part {
            Part::Atom(atom, padding) if atom.is_late() => Some((atom.clone(), *padding)),
            Part::Atom(..) | Part::Text(_) => None,
        });
        let late: Vec<_> = late.collect();
        let is_header = |(atom, _): &(Atom, _)| matches!(atom, Atom::ResponseHeader(_));
        Self {
            form,
            wants_response_headers: late.iter().any(is_header),
            wants_route: late.iter().any(|(atom, _)| *atom == Atom::Route),
            late,
            format: format.0,
            common,
            output: None,
            syslog: None,
        }
    }

    /// Writes what the request brought.
    fn begin(&self, seen: &Seen<'_>, early: &mut Vec<u8>) {
        early.reserve(256);
        for part in &self.format {
            match part {
                Part::Text(text) => render::literal(text, early),
                Part::Atom(atom, _) if atom.is_late() => early.push(HOLE),
                Part::Atom(atom, padding) => {
                    let start = early.len();
                    render::early(seen, atom, self.form, early);
                    if let Some(padding) = padding {
                        padding.apply(early, start);
                    }
                }
            }
        }
    }

    /// Writes the headers of the response that the format wants.
    fn take_headers(&self, headers: &HeaderMap, into: &mut Vec<u8>) {
        for (atom, _) in &self.late {
            if let Atom::ResponseHeader(name) = atom {
                render::header(headers, name, self.form, into);
                into.push(HOLE);
            }
        }
    }
}

impl Entry {
    /// Where the request can be looked up, if it was answered so and took so long.
    pub(super) fn traceable(&self, status: u16, total: Micros) -> Option<Traceable> {
        self.trail.as_ref()?.span.as_ref()?.traceable(status, total)
    }

    /// The response is known, and who gave it.
    pub(super) fn with_response(
        mut self: Box<Self>,
        status: StatusCode,
        headers: &HeaderMap,
        served: Served,
    ) -> Box<Self> {
        self.status = status.as_u16();
        self.served = served;
        if self.trail.is_some() && is_event_stream(headers) {
            self.lasts();
        }
        let log = Arc::clone(&self.log);
        if let Some(lines) = &log.lines
            && lines.wants_response_headers
        {
            lines.take_headers(headers, &mut self.response_headers);
        }
        self
    }

    /// What is to see the request's body, if it is recorded.
    pub(super) fn tap(&self) -> Option<&Arc<Tap>> {
        self.recorded.as_ref()?.tap()
    }

    /// The request is looked for there, if it is to be told where it is.
    pub(super) fn comes_to(&self, submitted: impl FnOnce() -> Submitted) {
        if let Some(slow) = self.trail.as_ref().and_then(|trail| trail.slow.as_ref()) {
            slow.comes_to(submitted());
        }
    }

    /// It has become something that may last as long as it likes: a WebSocket, a stream of events.
    pub(super) fn lasts(&mut self) {
        if let Some(trail) = &mut self.trail {
            trail.lasts();
        }
    }

    /// Bytes of the body went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// More is known of who served it.
    pub(super) fn served(&mut self, served: Served) {
        self.served = served;
    }

    /// The WebSocket has ended.
    pub(super) fn closed(&mut self, code: u16) {
        self.close_code = Some(code);
    }

    /// Writes the line and sends the metrics.
    pub(super) fn write(&self) {
        let times = self.times();
        if let Some(recorded) = &self.recorded {
            recorded.over(|record| self.fill(record, times));
        }
        if let Some(watched) = &self.watched {
            let mut record = Record::default();
            self.fill(&mut record, times);
            watched.over(&record, self.phases(times).body);
        }
        if let Some(statsd) = &self.log.statsd {
            // The front's own answers take no time of the application's, and would hide what that takes.
            let app = (!self.served.is_nobody()).then_some(times.app);
            statsd.request(app, self.status);
        }
        if let Some(trail) = &self.trail {
            trail.over(&self.phases(times), || self.answered(), self.status);
        }
        if let Some(lines) = &self.log.lines
            && (!self.is_excluded || self.status >= FAILURE)
        {
            BUFFER.with_borrow_mut(|line| {
                line.clear();
                self.put_together(lines, times, line);
                self.hand_out(lines, line);
                if line.capacity() > LINE_KEPT_BYTES_MAX {
                    *line = Vec::new();
                }
            });
        }
    }

    /// Says for a recording how it went.
    fn fill(&self, record: &mut Record, times: Times) {
        record.route = self.log.route_names.name(self.served.route);
        (record.status, record.bytes_out) = (self.status, self.bytes);
        (record.queue_us, record.app_us) = (times.queue, times.app);
        (record.client_us, record.total_us) = (times.client, times.total);
        record.worker = self.served.pid;
    }

    /// Where the time went. What no worker had was waiting, for a worker or for the client.
    fn times(&self) -> Times {
        let total = clock::now().saturating_sub(self.arrived);
        let queue = Micros::from(self.served.queue_us).min(total);
        let app = match self.served.app_us {
            0 if self.served.is_nobody() => 0,
            0 => total - queue,
            app => Micros::from(app).min(total - queue),
        };
        Times { app, queue, client: total - queue - app, total }
    }

    /// The same, as whoever follows the request wants it.
    fn phases(&self, times: Times) -> Phases {
        let body = match self.served.submitted {
            0 => 0,
            submitted => submitted.saturating_sub(self.arrived).min(times.client),
        };
        let app = (!self.served.is_nobody()).then_some(times.app);
        Phases { body, queue: times.queue, app, total: times.total }
    }

    fn answered(&self) -> Answered {
        Answered {
            status: self.status,
            bytes: self.bytes,
            route: self.log.route_names.name(self.served.route),
            pid: self.pid(),
            close_code: self.close_code,
        }
    }

    fn put_together(&self, lines: &Lines, times: Times, line: &mut Vec<u8>) {
        let end = render::End {
            times,
            status: self.status,
            bytes: self.bytes,
            pid: self.pid(),
            close_code: self.close_code,
            route: if lines.wants_route {
                self.log.route_names.name(self.served.route)
            } else {
                None
            },
        };
        let mut texts = self.early.split(|byte| *byte == HOLE);
        let mut headers = self.response_headers.split(|byte| *byte == HOLE);
        line.extend_from_slice(texts.next().unwrap_or_default());
        for (atom, padding) in &lines.late {
            let start = line.len();
            match atom {
                Atom::ResponseHeader(_) => {
                    line.extend_from_slice(headers.next().unwrap_or_default());
                }
                atom => render::late(&end, atom, lines.form, line),
            }
            if let Some(padding) = padding {
                padding.apply(line, start);
            }
            line.extend_from_slice(texts.next().unwrap_or_default());
        }
        line.push(b'\n');
    }

    fn hand_out(&self, lines: &Lines, line: &[u8]) {
        if let Some(output) = &lines.output {
            output.write(line);
        }
        if let Some(syslog) = &lines.syslog {
            let text = String::from_utf8_lossy(line);
            match lines.form {
                Form::Text => syslog.send(Level::Info, self.pid(), text.trim_end_matches('\n')),
                Form::Json => syslog.send_json(Level::Info, text.trim_end_matches('\n')),
            }
        }
    }

    /// Who answered.
    fn pid(&self) -> u32 {
        if self.served.pid == 0 { std::process::id() } else { self.served.pid }
    }
}

/// Whether an answer goes on as long as its client listens.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.get(..EVENT_STREAM.len()).is_some_and(|kind| kind.eq_ignore_ascii_case(EVENT_STREAM))
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The line of a WebSocket, written when it is dropped: when the WebSocket is over, or when it never
/// came to be one, because the client had gone. It is counted then as well.
#[derive(Default)]
pub(super) struct WebSocketLine {
    entry: Option<Box<Entry>>,
    counted: Option<OpenWebSocket>,
}

impl WebSocketLine {
    pub(super) fn new(mut entry: Option<Box<Entry>>, counted: OpenWebSocket) -> Self {
        if let Some(entry) = &mut entry {
            entry.lasts();
        }
        Self { entry, counted: Some(counted) }
    }

    /// Notes how it went, and its route.
    pub(super) fn went(&mut self, outcome: &Outcome, route: RouteId) {
        if let Some(counted) = &mut self.counted {
            counted.went(outcome);
        }
        self.note(outcome.bytes_sent, route);
        if let Some(entry) = &mut self.entry {
            entry.closed(outcome.close.code);
        }
    }

    /// Notes what passed, and its route; how it ended is not known.
    pub(super) fn passed(&mut self, received: u64, sent: u64, route: RouteId) {
        if let Some(counted) = &self.counted {
            counted.passed(received, sent);
        }
        self.note(sent, route);
    }

    fn note(&mut self, bytes_sent: u64, route: RouteId) {
        if let Some(entry) = &mut self.entry {
            entry.served.route = route;
            entry.sent(usize::try_from(bytes_sent).unwrap_or(usize::MAX));
        }
    }
}

impl Drop for WebSocketLine {
    fn drop(&mut self) {
        if let Some(entry) = self.entry.take() {
            entry.write();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use indrik_core::logs::escape;
    use proptest::prelude::*;

    use super::*;

    /// A request's line, from what a client and an application may send.
    fn line(format: &str, form: Form, from_client: &[u8], from_application: &[u8]) -> Vec<u8> {
        let lines = Lines::new(format, form, Common::default());
        let value = |bytes: &[u8]| HeaderValue::from_bytes(bytes).ok();
        let request = http::Request::builder().uri("/a%0Ab%22?c=%00").method("GET").body(());
        let (mut parts, ()) = request.expect("a request").into_parts();
        if let Some(value) = value(from_client) {
            for name in ["user-agent", "referer", "x-id", "authorization"] {
                parts.headers.insert(name, value.clone());
            }
        }
        let mut headers = HeaderMap::new();
        if let Some(value) = value(from_application) {
            headers.insert("x-out", value);
        }
        let (mut early, mut response_headers) = (Vec::new(), Vec::new());
        let common = &lines.common;
        let seen = Seen { common, parts: &parts, listener: 0, client: "10.0.0.1", port: 5000 };
        lines.begin(&seen, &mut early);
        lines.take_headers(&headers, &mut response_headers);
        let entry = Entry {
            log: Arc::new(Inner { lines: None, statsd: None, route_names: Arc::default() }),
            early,
            response_headers,
            is_excluded: false,
            arrived: 0,
            status: 200,
            bytes: 5,
            served: Served { pid: 42, ..Served::NOBODY },
            close_code: None,
            trail: None,
            recorded: None,
            watched: None,
        };
        let mut line = Vec::new();
        let times = Times { app: 1_234_567, queue: 0, client: 0, total: 1_234_567 };
        entry.put_together(&lines, times, &mut line);
        line
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        // Heavy on what is dangerous.
        let byte = prop_oneof![any::<u8>(), Just(b'"'), Just(b'\\'), Just(b'\t'), 0x80u8..];
        prop::collection::vec(byte, 0..24)
    }

    const ATOMS: &str = "%(h)s %(u)s %(t)s %(r)s %(s)s %(m)s %(U)s %(q)s %(H)s %(b)s %(f)s %(a)s %(T)s \
        %(D)s %(L)s %(p)s %({x-id}i)s %({x-out}o)s %({x-none}o)s %({http_x_id}e)s %(l)s";

    #[test]
    fn values_of_the_request_and_of_its_end_come_in_the_order_of_the_format() {
        let format = "%(s)s %(a)s %({x-out}o)s%({x-none}o)s %(D)s|%(L)s %(m)s %(p)s";
        let line = line(format, Form::Text, b"agent", b"out");
        assert_eq!(line, b"200 agent out- 1234567|1.234567 GET <42>\n");
    }

    proptest! {
        #[test]
        fn nothing_that_is_sent_breaks_a_line(client in bytes(), application in bytes()) {
            let line = line(ATOMS, Form::Text, &client, &application);
            let text = String::from_utf8(line).expect("UTF-8");
            let inner = text.strip_suffix('\n').expect("an end");
            prop_assert!(!inner.chars().any(escape::is_active));
        }

        #[test]
        fn json_is_valid_whatever_is_sent(client in bytes(), application in bytes()) {
            let line = line(ATOMS, Form::Json, &client, &application);
            prop_assert!(line.iter().filter(|byte| **byte == b'\n').count() == 1);
            let json: serde_json::Value = serde_json::from_slice(&line).expect("JSON");
            prop_assert_eq!(json["status"].as_u64(), Some(200));
            prop_assert_eq!(json["path"].as_str(), Some("/a\nb\""));
            let sent = String::from_utf8_lossy(&client).into_owned();
            if HeaderValue::from_bytes(&client).is_ok() {
                prop_assert_eq!(json["user_agent"].as_str(), Some(sent.as_str()));
            }
        }

        #[test]
        fn any_format_gives_one_line(format in "[%(){}a-zA-Z0-9. -]{0,40}", client in bytes()) {
            let line = line(&format, Form::Text, &client, b"x");
            prop_assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 1);
        }
    }
}
