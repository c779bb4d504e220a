//! The resolved settings: one immutable value that the rest of the server reads.
//!
//! Fields are named like the settings (`settings.toml` holds their meaning and limits). A duration
//! of zero means "no limit" where the table says so. The value travels as JSON to the Python side,
//! so durations are written as seconds (a number) and addresses and log targets as tagged objects.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::address::BindAddress;
use super::network::Network;
use super::rlimits::WorkerRlimit;
use super::servers::{StatsdAddress, SyslogAddress};
use super::share::Share;
use crate::memory::watch::{Bounds, Limits};
use crate::memory::{Limit, account};

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
    pub fork_safety: String,
    pub refork_after_requests: u64,
    pub paste: Option<String>,
    pub raw_paste_global_conf: Vec<String>,

    // The configuration file that was read, as given to `--config` or found in the directory.
    pub config: Option<String>,

    // Sockets
    pub bind: Vec<BindAddress>,
    pub backlog: u32,
    pub reuse_port: bool,

    // Workers
    pub workers: usize,
    /// Why `workers` is what it is, for the start-up banner: "2, one for each CPU this process may
    /// use", "4, from --workers".
    pub workers_reason: String,
    /// What `worker_class_spec` means, as far as its name tells.
    pub worker_class: WorkerClass,
    /// The setting `worker_class` as written.
    pub worker_class_spec: ClassSpec,
    pub threads: usize,
    pub worker_connections: usize,
    pub max_requests: u64,
    pub max_requests_jitter: u64,
    #[serde(with = "seconds")]
    pub max_worker_age: Duration,
    #[serde(with = "seconds")]
    pub max_worker_age_jitter: Duration,
    pub worker_max_fds: u64,
    pub worker_max_rss: Limit,
    pub worker_max_rss_hard: Limit,
    pub worker_max_pss: Limit,
    pub worker_max_pss_hard: Limit,
    #[serde(with = "seconds")]
    pub timeout: Duration,
    #[serde(with = "seconds")]
    pub request_timeout: Duration,
    /// As written; [`crate::route::Table`] makes sense of it.
    pub request_timeout_paths: Vec<String>,
    pub timeout_only_if_queued: bool,
    #[serde(with = "seconds")]
    pub deadlock_timeout: Duration,
    #[serde(with = "seconds")]
    pub graceful_timeout: Duration,
    #[serde(with = "seconds")]
    pub max_boot_time: Duration,
    #[serde(with = "seconds")]
    pub drain_delay_s: Duration,
    pub upgrade_drains: bool,
    pub asgi_loop: String,
    pub asgi_lifespan: String,
    #[serde(with = "seconds")]
    pub asgi_disconnect_grace_period: Duration,

    // Development
    pub spew: bool,
    pub reload: bool,
    pub reload_engine: String,
    pub reload_extra_files: Vec<String>,
    pub check_config: bool,
    pub print_config: bool,

    // Rolling reload
    pub warmup: Vec<String>,
    #[serde(with = "seconds")]
    pub warmup_timeout: Duration,
    pub warmup_host: String,
    pub reload_max_surge: Share,
    pub reload_max_unavailable: Share,
    #[serde(with = "seconds")]
    pub reload_settle_s: Duration,
    pub reload_error_rate_max: Share,

    // Queue
    pub queue_requests_max: usize,
    #[serde(with = "seconds")]
    pub queue_timeout: Duration,
    pub affinity: String,

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
    pub response_spool_max: u64,
    pub response_spools_max: u64,
    pub websocket_max_message_size: usize,
    pub front_memory_max: Limit,
    pub connection_memory_max: u64,

    // Proxies and requests
    pub forwarded_allow_ips: Vec<Network>,
    pub secure_scheme_headers: BTreeMap<String, String>,
    pub real_ip_header: RealIpHeader,
    pub forwarder_headers: Vec<String>,
    pub header_map: HeaderMap,
    pub proxy_protocol: ProxyProtocol,
    pub proxy_allow_ips: Vec<Network>,
    pub permit_obsolete_folding: bool,
    pub strip_header_spaces: bool,
    pub permit_unconventional_http_method: bool,
    pub permit_unconventional_http_version: bool,
    pub casefold_http_method: bool,
    pub sendfile: bool,
    pub tmp_upload_dir: Option<PathBuf>,

    // TLS
    pub certfile: Option<PathBuf>,
    pub keyfile: Option<PathBuf>,
    /// 0, 1 or 2: clients are not asked for a certificate, may show one, must show one.
    pub cert_reqs: u8,
    pub ca_certs: Option<PathBuf>,

    // HTTP/2
    pub http_protocols: Vec<String>,
    pub http2_cleartext: Http2Cleartext,
    pub http2_max_concurrent_streams: u32,
    pub http2_initial_window_size: u32,
    pub http2_max_frame_size: u32,
    pub http2_max_header_list_size: u32,

    // Logs and names
    pub accesslog: Option<LogTarget>,
    pub access_log_format: String,
    pub errorlog: LogTarget,
    pub loglevel: LogLevel,
    pub log_format: LogFormat,
    pub access_log_exclude: Vec<String>,
    pub capture_output: bool,
    pub logger_class: ClassSpec,
    pub logconfig: Option<PathBuf>,
    pub logconfig_dict: BTreeMap<String, Json>,
    pub logconfig_json: Option<PathBuf>,
    pub syslog: bool,
    pub syslog_addr: SyslogAddress,
    pub syslog_prefix: Option<String>,
    pub syslog_facility: String,
    pub disable_redirect_access_to_syslog: bool,
    pub statsd_host: Option<StatsdAddress>,
    pub statsd_prefix: String,
    pub dogstatsd_tags: String,
    pub enable_backlog_metric: bool,

    // Process
    pub pidfile: Option<PathBuf>,
    pub proc_name: Option<String>,
    pub proc_title_prefix: String,
    /// Always there once resolved: the application's name, if nothing else.
    pub default_proc_name: Option<String>,
    pub daemon: bool,
    pub enable_stdio_inheritance: bool,
    /// A name or a number.
    pub user: Option<String>,
    /// A name or a number.
    pub group: Option<String>,
    pub initgroups: bool,
    pub umask: u32,

    // What workers may take of the machine
    pub worker_rlimits: Vec<WorkerRlimit>,
    /// `None`: the server's own.
    pub worker_nice: Option<i32>,
    /// `None`: somewhat above the server's own.
    pub worker_oom_score_adj: Option<i32>,
    pub worker_no_new_privs: bool,
    pub worker_memory_high: u64,
    pub worker_memory_max: u64,
    pub worker_cpu_weight: u32,
    pub worker_cgroup_required: bool,

    // Probes
    pub liveness_path: Option<String>,
    pub readiness_path: Option<String>,

    // Control
    /// `None`: no control socket, also when `control_socket_disable` is set.
    pub control_socket: Option<ControlSocket>,
    pub control_socket_mode: u32,
    pub control_socket_disable: bool,

    /// Remarks for the log, once at start: settings accepted but without effect, names in the
    /// configuration file that look like a misspelt setting.
    pub notices: Vec<String>,
}

impl Config {
    /// The limits of one worker's memory, where the server may use so many bytes.
    pub fn memory_limits(&self, memory: Option<u64>) -> Limits {
        let bytes = |limit: Limit| limit.bytes(memory, self.workers as u64);
        let bounds = |soft, hard| Bounds { soft: bytes(soft), hard: bytes(hard) };
        Limits {
            rss: bounds(self.worker_max_rss, self.worker_max_rss_hard),
            pss: bounds(self.worker_max_pss, self.worker_max_pss_hard),
            descriptors: (self.worker_max_fds > 0).then_some(self.worker_max_fds),
        }
    }

    /// What the front may hold for its clients, where the server may use so many bytes.
    pub fn front_memory_limits(&self, memory: Option<u64>) -> account::Limits {
        account::Limits::new(self.front_memory_max, self.connection_memory_max, memory)
    }

    /// What process titles show between the brackets: `proc_name`, else the application.
    pub fn title(&self) -> &str {
        let name = self.proc_name.as_deref().or(self.default_proc_name.as_deref());
        name.unwrap_or(&self.wsgi_app)
    }

    /// HTTP/2 is among what is spoken.
    pub fn speaks_http2(&self) -> bool {
        self.http_protocols.iter().any(|name| name == "h2")
    }

    /// `https` or `http`: what clients speak to the server itself.
    pub const fn url_scheme(&self) -> &'static str {
        if self.certfile.is_some() { "https" } else { "http" }
    }

    /// Whether a Python logger writes the logs, in the workers and in the zygote.
    pub fn logs_in_python(&self) -> bool {
        let ours = ["gunicorn.glogging.Logger", "gunicorn.instrument.statsd.Statsd", "simple"];
        let class = &self.logger_class;
        class.object
            || !ours.contains(&class.name.as_str())
            || self.logconfig.is_some()
            || !self.logconfig_dict.is_empty()
            || self.logconfig_json.is_some()
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
    /// WSGI, a greenlet for each request in gevent's hub.
    Gevent,
    /// WSGI, a greenlet for each request in eventlet's hub.
    Eventlet,
    /// ASGI on one event loop.
    Asgi,
    /// An `aiohttp.web` application on one event loop.
    Aiohttp,
    /// A class of the user's, which the zygote looks at: there it becomes one of the others.
    Custom,
}

impl WorkerClass {
    /// The word for it, as `worker_class` takes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Sync => "sync",
            Self::Gthread => "gthread",
            Self::Gevent => "gevent",
            Self::Eventlet => "eventlet",
            Self::Asgi => "asgi",
            Self::Aiohttp => "aiohttp",
            Self::Custom => "custom",
        }
    }
}

/// A Python class, as a setting names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassSpec {
    /// Its alias or import path.
    pub name: String,
    /// The configuration file holds the class itself: the zygote has it, and the name may not be
    /// importable.
    pub object: bool,
}

/// The socket that takes commands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PathBuf", into = "PathBuf")]
pub enum ControlSocket {
    /// An abstract socket of this process.
    Auto,
    /// A socket file.
    Path(PathBuf),
}

/// Which header of a trusted proxy names the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RealIpHeader {
    /// None: the client is the peer.
    Off,
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// What happens to header names with underscores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeaderMap {
    /// They are left out.
    Drop,
    /// The request is answered 400.
    Refuse,
    /// They are passed on.
    Dangerous,
}

/// Which versions of the PROXY protocol are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ProxyProtocol {
    Off,
    V1,
    V2,
    /// Either.
    Auto,
}

/// How HTTP/2 begins on a connection without TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Http2Cleartext {
    /// Not at all.
    Off,
    /// A trusted peer begins with it, and with nothing else.
    PriorKnowledge,
    /// By an upgrade from HTTP/1.1, which RFC 9113 has taken back: HTTP/1.1 goes on.
    Upgrade,
    /// A trusted peer may begin with it.
    Both,
}

/// How logs are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Gunicorn's lines.
    Text,
    /// An object in each line.
    Json,
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
        f.write_str(self.word())
    }
}

impl From<PathBuf> for ControlSocket {
    fn from(path: PathBuf) -> Self {
        if path.as_os_str() == AUTO { Self::Auto } else { Self::Path(path) }
    }
}

impl From<ControlSocket> for PathBuf {
    fn from(socket: ControlSocket) -> Self {
        match socket {
            ControlSocket::Auto => Self::from(AUTO),
            ControlSocket::Path(path) => path,
        }
    }
}

/// How [`ControlSocket::Auto`] is written.
const AUTO: &str = "auto";

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
