//! The resolved settings: one immutable value that the rest of the server reads.
//!
//! Fields are named like the settings (`settings.toml` holds their meaning and limits). A duration
//! of zero means "no limit" where the table says so. The value travels as JSON to the Python side,
//! so durations are written as seconds (a number) and addresses and log targets as tagged objects.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::address::BindAddress;

/// Every setting, resolved and valid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "settings.toml documents each setting; a copy here would drift")]
pub struct Config {
    // The application
    pub wsgi_app: String,
    pub root_path: String,
    pub chdir: PathBuf,
    pub pythonpath: Vec<String>,
    pub raw_env: Vec<(String, String)>,
    pub preload_app: bool,

    // The configuration file that was read, as given to `--config` or found in the directory.
    pub config: Option<String>,

    // Sockets
    pub bind: Vec<BindAddress>,
    pub backlog: u32,

    // Workers
    pub workers: usize,
    /// Why `workers` is what it is, for the start-up banner: "2, one for each CPU this process may
    /// use", "4, from --workers".
    pub workers_reason: String,
    pub worker_class: WorkerClass,
    pub threads: usize,
    pub worker_connections: usize,
    pub max_requests: u64,
    pub max_requests_jitter: u64,
    #[serde(with = "seconds")]
    pub timeout: Duration,
    #[serde(with = "seconds")]
    pub graceful_timeout: Duration,

    // Queue
    pub queue_requests_max: usize,
    #[serde(with = "seconds")]
    pub queue_timeout: Duration,

    // The front
    pub io_threads: usize,
    #[serde(with = "seconds")]
    pub keepalive: Duration,
    #[serde(with = "seconds")]
    pub header_read_timeout: Duration,
    #[serde(with = "seconds")]
    pub body_read_timeout: Duration,
    #[serde(with = "seconds")]
    pub write_timeout: Duration,

    // Limits
    pub limit_request_line: usize,
    pub limit_request_fields: usize,
    pub limit_request_field_size: usize,
    pub body_buffer_max: usize,
    pub body_size_max: u64,
    pub websocket_max_message_size: usize,

    // Logs and names
    pub accesslog: Option<LogTarget>,
    pub access_log_format: String,
    pub errorlog: LogTarget,
    pub loglevel: LogLevel,
    pub pidfile: Option<PathBuf>,
    pub proc_name: Option<String>,

    /// Remarks for the log, once at start: settings accepted but without effect, names in the
    /// configuration file that look like a misspelt setting.
    pub notices: Vec<String>,
}

impl Config {
    /// What process titles show between the brackets: `proc_name`, else the application.
    pub fn title(&self) -> &str {
        self.proc_name.as_deref().unwrap_or(&self.wsgi_app)
    }
}

/// How a worker runs the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkerClass {
    /// Decided by the application: ASGI runs as `Asgi`; WSGI as `Gthread` if `threads` is above
    /// one, else as `Sync`.
    Auto,
    /// WSGI, one request at a time. Never together with `threads` above one: that resolves to
    /// `Gthread`.
    Sync,
    /// WSGI in a pool of `threads` Python threads.
    Gthread,
    /// ASGI on one event loop.
    Asgi,
}

/// Where a log goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "path", rename_all = "lowercase")]
pub enum LogTarget {
    /// The process's standard output: what `-` means for the access log.
    Stdout,
    /// The process's standard error: what `-` means for the error log.
    Stderr,
    /// A file, appended to.
    File(PathBuf),
}

/// The least serious message that is still written to the error log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
    Critical,
}

impl fmt::Display for WorkerClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Sync => "sync",
            Self::Gthread => "gthread",
            Self::Asgi => "asgi",
        })
    }
}

impl fmt::Display for LogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stdout => f.write_str("stdout"),
            Self::Stderr => f.write_str("stderr"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        })
    }
}

/// Durations as a number of seconds: what Python reads most easily.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(value: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(value.as_secs_f64())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)?).map_err(de::Error::custom)
    }
}
