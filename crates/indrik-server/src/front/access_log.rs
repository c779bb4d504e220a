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

use http::Response;
use http::request::Parts;
use indrik_core::dispatch::Micros;
use indrik_core::logs::access_format::{Atom, Format, Padding, Part};
use indrik_core::logs::exclude::Exclude;
use indrik_core::settings::Config;
use indrik_core::supervise::Level;
use parking_lot::Mutex;

use super::clock;
use super::forwarding::{Via, shown_client};
use super::request::Client;
use super::response::Body;
use crate::log::{Outlets, Output, Statsd, Syslog};
use environ::{Places, Seen};
use render::Form;

/// Where a value comes that is not known yet.
const HOLE: u8 = 0;
/// A line's buffer that has grown beyond this is not kept.
const LINE_KEPT_BYTES_MAX: usize = 64 * 1024;
/// From this status on a request is logged whatever its path.
const FAILURE: u16 = 500;

/// The access log of the front. It changes with the configuration.
pub(super) struct AccessLog {
    /// Looked at for each request, so that a log that is off costs nothing.
    is_on: AtomicBool,
    current: Mutex<Option<Arc<Inner>>>,
}

struct Inner {
    /// `None`: no line is wanted, only metrics.
    lines: Option<Lines>,
    statsd: Option<Arc<Statsd>>,
}

struct Lines {
    format: Vec<Part>,
    form: Form,
    late: Vec<(Atom, Option<Padding>)>,
    wants_response_headers: bool,
    exclude: Exclude,
    places: Places,
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
    /// The worker's process; 0: the front answered.
    pid: u32,
}

impl AccessLog {
    /// The log of the settings; `servers`: host and port of each listener.
    pub(super) fn new(
        config: &Config,
        outlets: &Outlets,
        servers: &[(String, Option<u16>)],
    ) -> Self {
        let log = Self { is_on: AtomicBool::new(false), current: Mutex::new(None) };
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
        let inner = Inner::new(config, outlets, servers).map(Arc::new);
        self.is_on.store(inner.is_some(), Ordering::Relaxed);
        *self.current.lock() = inner;
    }

    /// Whether entries are wanted.
    pub(super) fn is_on(&self) -> bool {
        self.is_on.load(Ordering::Relaxed)
    }

    /// Begins a line, if the log is on.
    pub(super) fn entry(
        &self,
        client: &Client,
        parts: &Parts,
        arrived: Micros,
    ) -> Option<Box<Entry>> {
        let log = Arc::clone(self.current.lock().as_ref()?);
        let mut entry = Entry {
            early: Vec::new(),
            response_headers: Vec::new(),
            is_excluded: false,
            arrived,
            status: 0,
            bytes: 0,
            pid: 0,
            log,
        };
        if let Some(lines) = &entry.log.lines {
            entry.is_excluded = lines.exclude.covers(parts.uri.path());
            lines.begin(client, parts, &mut entry.early);
        }
        Some(Box::new(entry))
    }
}

impl Inner {
    fn new(config: &Config, outlets: &Outlets, servers: &[(String, Option<u16>)]) -> Option<Self> {
        let (output, syslog) = (outlets.access.clone(), outlets.access_syslog.clone());
        let wants_lines = (output.is_some() || syslog.is_some()) && !outlets.in_python;
        let statsd = outlets.statsd.clone();
        if !wants_lines && statsd.is_none() {
            return None;
        }
        let lines = wants_lines.then(|| {
            let form = if outlets.as_json { Form::Json } else { Form::Text };
            let places = Places::new(config, servers.to_vec());
            Lines::new(config, form, places, output, syslog)
        });
        Some(Self { lines, statsd })
    }
}

impl Lines {
    fn new(
        config: &Config,
        form: Form,
        places: Places,
        output: Option<Arc<Output>>,
        syslog: Option<Arc<Syslog>>,
    ) -> Self {
        let mut format = Format::parse(&config.access_log_format);
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
            late,
            format: format.0,
            exclude: Exclude::new(&config.access_log_exclude),
            places,
            output,
            syslog,
        }
    }

    /// Writes what the request brought.
    fn begin(&self, client: &Client, parts: &Parts, early: &mut Vec<u8>) {
        let (address, port) = shown_client(client, Via::of(parts));
        let listener = client.listener;
        let seen = Seen { places: &self.places, parts, listener, client: &address, port };
        early.reserve(256);
        for part in &self.format {
            match part {
                Part::Text(text) => render::literal(text, early),
                Part::Atom(atom, _) if atom.is_late() => early.push(HOLE),
                Part::Atom(atom, padding) => {
                    let start = early.len();
                    render::early(&seen, atom, self.form, early);
                    if let Some(padding) = padding {
                        padding.apply(early, start);
                    }
                }
            }
        }
    }

    /// Writes the headers of the response that the format wants.
    fn take_headers(&self, response: &Response<Body>, into: &mut Vec<u8>) {
        for (atom, _) in &self.late {
            if let Atom::ResponseHeader(name) = atom {
                render::header(response.headers(), name, self.form, into);
                into.push(HOLE);
            }
        }
    }
}

impl Entry {
    /// The response is known.
    pub(super) fn with_response(mut self: Box<Self>, response: &Response<Body>) -> Box<Self> {
        self.status = response.status().as_u16();
        self.pid = response.body().worker_pid();
        let log = Arc::clone(&self.log);
        if let Some(lines) = &log.lines
            && lines.wants_response_headers
        {
            lines.take_headers(response, &mut self.response_headers);
        }
        self
    }

    /// Bytes of the body went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Writes the line and sends the metrics.
    pub(super) fn write(&self) {
        let took = clock::now().saturating_sub(self.arrived);
        if let Some(statsd) = &self.log.statsd {
            statsd.request(took, self.status);
        }
        if let Some(lines) = &self.log.lines
            && (!self.is_excluded || self.status >= FAILURE)
        {
            BUFFER.with_borrow_mut(|line| {
                line.clear();
                self.put_together(lines, took, line);
                self.hand_out(lines, line);
                if line.capacity() > LINE_KEPT_BYTES_MAX {
                    *line = Vec::new();
                }
            });
        }
    }

    fn put_together(&self, lines: &Lines, took: Micros, line: &mut Vec<u8>) {
        let end = render::End { took, status: self.status, bytes: self.bytes, pid: self.pid() };
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
        if self.pid == 0 { std::process::id() } else { self.pid }
    }
}

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}
