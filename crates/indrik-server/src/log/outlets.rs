//! Everything that the log settings open: files, the way to syslog, the way to statsd.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;

use indrik_core::logs::entry::wants_colour;
use indrik_core::logs::level::Level;
use indrik_core::logs::metric::{Value, Wire};
use indrik_core::logs::syslog::{self, Kind};
use indrik_core::settings::{
    Config, LogFormat, LogLevel, LogRoutine, LogTarget, StatsdAddress, SyslogAddress,
};

use crate::ailing::Ailing;

use super::courier::{Courier, Destination};
use super::entry::Entry;
use super::output::{Complaints, Output};

/// The outlets of one configuration.
#[derive(Clone, Debug)]
pub(crate) struct Outlets {
    pub(crate) least: Level,
    pub(crate) as_json: bool,
    /// The error log is read by somebody, on a terminal.
    in_colour: bool,
    /// Python writes the logs; what is open here is for the time before and after.
    pub(crate) in_python: bool,
    pub(crate) error: Arc<Output>,
    pub(crate) access: Option<Arc<Output>>,
    pub(crate) error_syslog: Option<Arc<Syslog>>,
    pub(crate) access_syslog: Option<Arc<Syslog>>,
    pub(crate) statsd: Option<Arc<Statsd>>,
}

impl Outlets {
    /// Standard error, for the time before the settings are known.
    pub(crate) fn new(ailing: &Arc<Ailing>) -> Self {
        Self {
            least: Level::Info,
            as_json: false,
            in_colour: in_colour(&LogTarget::Stderr),
            in_python: false,
            error: Arc::new(Output::stderr(ailing)),
            access: None,
            error_syslog: None,
            access_syslog: None,
            statsd: None,
        }
    }

    /// Opens what the settings ask for.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub(crate) fn open(
        config: &Config,
        is_stand_in: bool,
        ailing: &Arc<Ailing>,
    ) -> io::Result<Self> {
        let as_json = config.log_format == LogFormat::Json;
        let in_python = config.logs_in_python();
        let complaints = |to| Complaints { to, as_json, ailing: Arc::clone(ailing) };
        let error = Arc::new(Output::open("error log", &config.errorlog, complaints(None))?);
        let access = match &config.accesslog {
            Some(target) => {
                let complaints = complaints(Some(Arc::clone(&error)));
                Some(Arc::new(Output::open("access log", target, complaints)?))
            }
            None => None,
        };
        let complain = |to: &Arc<Output>| {
            let to = Arc::clone(to);
            Box::new(move |text: &str| {
                let entry = Entry::now(Level::Warning, std::process::id(), text);
                to.write(&entry.format(as_json));
            })
        };
        let (mut error_syslog, mut access_syslog) = (None, None);
        if config.syslog && !in_python {
            let to = syslog_destination(&config.syslog_addr);
            let courier = Arc::new(Courier::new("syslog", to.clone(), complain(&error), ailing));
            let syslog = |log| Arc::new(Syslog::new(config, log, &to, &courier));
            error_syslog = Some(syslog("error"));
            if !config.disable_redirect_access_to_syslog {
                access_syslog = Some(syslog("access"));
            }
        }
        let statsd = match &config.statsd_host {
            Some(host) if !in_python => {
                let to = statsd_destination(host);
                let courier = Courier::new("statsd", to, complain(&error), ailing);
                let wire = Wire::new(&config.statsd_prefix, &config.dogstatsd_tags);
                Some(Arc::new(Statsd { courier, wire }))
            }
            Some(_) | None => None,
        };
        let least = least(config, is_stand_in);
        Ok(Self {
            least,
            as_json,
            in_colour: in_colour(&config.errorlog),
            in_python,
            error,
            access,
            error_syslog,
            access_syslog,
            statsd,
        })
    }

    /// Writes an entry of the error log.
    pub(crate) fn write(&self, entry: &Entry) {
        if self.takes(entry) {
            let line = match self.in_colour && !self.as_json {
                true => entry.coloured(),
                false => entry.format(self.as_json),
            };
            self.error.write(&line);
        }
        self.copy(entry, false);
    }

    /// Whether entries of this level are written.
    pub(crate) fn writes(&self, level: Level) -> bool {
        level >= self.least
    }

    /// Whether this entry is written.
    pub(crate) fn takes(&self, entry: &Entry) -> bool {
        entry.always || self.writes(entry.level)
    }

    /// Sends an entry where it goes beside the error log itself.
    pub(crate) fn copy(&self, entry: &Entry, exception: bool) {
        if let Some(statsd) = &self.statsd {
            statsd.count_entry(entry.level, exception);
        }
        let Some(syslog) = self.error_syslog.as_ref().filter(|_| self.takes(entry)) else {
            return;
        };
        if self.as_json {
            let line = entry.format(true);
            syslog.send_json(entry.level, String::from_utf8_lossy(&line).trim_end());
        } else {
            syslog.send(entry.level, entry.pid, &entry.text);
        }
    }

    /// Opens the files anew.
    ///
    /// # Errors
    /// The first that cannot be opened; the old one is written on.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let access = self.access.as_ref().map_or(Ok(()), |access| access.reopen());
        self.error.reopen().and(access)
    }

    /// Sends what is on its way.
    pub(crate) fn close(&self) {
        for output in [Some(&self.error), self.access.as_ref()].into_iter().flatten() {
            output.close();
        }
        for syslog in [&self.error_syslog, &self.access_syslog].into_iter().flatten() {
            syslog.courier.close();
        }
        if let Some(statsd) = &self.statsd {
            statsd.courier.close();
        }
    }
}

/// One of the two logs in syslog.
#[derive(Debug)]
pub(crate) struct Syslog {
    courier: Arc<Courier>,
    facility: u8,
    tag: String,
    kind: Kind,
}

impl Syslog {
    fn new(config: &Config, log: &str, to: &Destination, courier: &Arc<Courier>) -> Self {
        let facility = syslog::facility(&config.syslog_facility).unwrap_or(syslog::USER);
        let prefix = config.syslog_prefix.clone();
        let prefix = prefix.unwrap_or_else(|| config.title().replace(':', "."));
        let kind = match to {
            Destination::Tcp(..) | Destination::Unix(_, Some(Kind::Stream)) => Kind::Stream,
            Destination::Udp(..) | Destination::Unix(..) => Kind::Datagram,
        };
        let tag = format!("gunicorn.{prefix}.{log}");
        Self { courier: Arc::clone(courier), facility, tag, kind }
    }

    /// Sends a message about the process `pid`.
    pub(crate) fn send(&self, level: Level, pid: u32, text: &str) {
        self.send_json(level, &format!("[{pid}] {text}"));
    }

    /// Sends a message that says itself which process it is about.
    pub(crate) fn send_json(&self, level: Level, text: &str) {
        let message = syslog::message(self.facility, level, &self.tag, text, self.kind);
        self.courier.send(vec![message]);
    }
}

/// The way to statsd.
#[derive(Debug)]
pub(crate) struct Statsd {
    courier: Courier,
    wire: Wire,
}

impl Statsd {
    /// Sends one metric.
    pub(crate) fn send(&self, name: &str, value: Value) {
        self.courier.send(vec![self.wire.datagram(name, value)]);
    }

    /// A request is over; the application had it for so long, if it had it.
    pub(crate) fn request(&self, micros: Option<u64>, status: u16) {
        let once = Value::Count(1);
        let duration = micros
            .map(|micros| self.wire.datagram("gunicorn.request.duration", Value::Duration(micros)));
        let counts = [
            self.wire.datagram("gunicorn.requests", once),
            self.wire.datagram(&format!("gunicorn.request.status.{status}"), once),
        ];
        self.courier.send(duration.into_iter().chain(counts).collect());
    }

    fn count_entry(&self, level: Level, exception: bool) {
        let name = match level {
            _ if exception => "gunicorn.log.exception",
            Level::Critical => "gunicorn.log.critical",
            Level::Error => "gunicorn.log.error",
            Level::Warning => "gunicorn.log.warning",
            Level::Info | Level::Routine | Level::Debug => return,
        };
        self.send(name, Value::Count(1));
    }
}

fn in_colour(target: &LogTarget) -> bool {
    let is_terminal = match target {
        LogTarget::Stdout => io::stdout().is_terminal(),
        LogTarget::Stderr => io::stderr().is_terminal(),
        LogTarget::File(_) => return false,
    };
    let [terminal, no_color, force_color] =
        ["TERM", "NO_COLOR", "FORCE_COLOR"].map(|name| std::env::var(name).ok());
    wants_colour(is_terminal, terminal.as_deref(), no_color.as_deref(), force_color.as_deref())
}

fn syslog_destination(address: &SyslogAddress) -> Destination {
    match address {
        SyslogAddress::Udp { host, port } => Destination::Udp(host.clone(), *port),
        SyslogAddress::Tcp { host, port } => Destination::Tcp(host.clone(), *port),
        SyslogAddress::Unix { path, stream } => {
            let kind = stream.map(|stream| if stream { Kind::Stream } else { Kind::Datagram });
            Destination::Unix(path.clone(), kind)
        }
    }
}

fn statsd_destination(address: &StatsdAddress) -> Destination {
    match address {
        StatsdAddress::Udp { host, port } => Destination::Udp(host.clone(), *port),
        StatsdAddress::Unix { path } => Destination::Unix(path.clone(), Some(Kind::Datagram)),
    }
}

/// The least level that is written. `is_stand_in`: who started the server takes it for Gunicorn.
const fn least(config: &Config, is_stand_in: bool) -> Level {
    let says_routine = match config.log_routine {
        LogRoutine::Auto => is_stand_in,
        LogRoutine::On => true,
        LogRoutine::Off => false,
    };
    match config.loglevel {
        LogLevel::Debug => Level::Debug,
        LogLevel::Info if says_routine => Level::Routine,
        LogLevel::Info => Level::Info,
        LogLevel::Warning => Level::Warning,
        LogLevel::Error => Level::Error,
        LogLevel::Critical => Level::Critical,
    }
}
