//! Every setting as a field of [`Config`], with its type and its documentation; how the fields are read from
//! checked values; the words of choices as enums.
//!
//! Written by `cargo xtask settings` from `settings.toml`: change that file, not this one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::address::BindAddress;
use super::field::{FromValue, Mistyped, Values};
use super::network::Network;
use super::rlimits::WorkerRlimit;
use super::servers::{StatsdAddress, SyslogAddress};
use super::share::Share;
use super::types::{ClassSpec, ControlSocket, LogTarget, WorkerClass};
use super::value::Value;
use crate::memory::Limit;

/// Every setting, resolved and valid: one immutable value that the rest of the server reads.
///
/// A duration of zero means "no limit" where the documentation says so. The value travels as JSON
/// to the Python side, so durations are written as seconds (a number) and addresses and log
/// targets as tagged objects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    // --- Application
    /// The application, when the command line names none: MODULE, MODULE:CALLABLE or MODULE:factory().
    ///
    /// Without a callable, `application` is looked for, then `app`. A factory may be called with
    /// literal arguments: 'main:create_app("production")'.
    pub wsgi_app: String,
    /// The Python configuration file: PATH, file:PATH or python:MODULE.
    ///
    /// A file that does not exist stops the start. Only one file is read: naming one leaves
    /// gunicorn.conf.py unread.
    ///
    /// Default: gunicorn.conf.py in the current directory, if there is one.
    pub config: Option<String>,
    /// The directory the application runs in; also the first entry of its sys.path.
    ///
    /// Relative paths of log files, of the pid file and of Unix sockets start here. A directory that does
    /// not exist stops the start.
    ///
    /// Default: the directory Indrik was started in.
    pub chdir: PathBuf,
    /// Directories put before the others on the application's sys.path, separated by commas.
    pub pythonpath: Vec<String>,
    /// An environment variable for the application; may be given several times.
    ///
    /// The variables exist before the application is imported. A later one replaces an earlier one of the
    /// same name.
    pub raw_env: Vec<(String, String)>,
    /// The path under which a proxy in front serves the application: ASGI's root_path.
    pub root_path: String,
    /// Import the application once, in the zygote, before workers are forked.
    ///
    /// Workers then start within milliseconds and share the application's memory. A reload starts a fresh
    /// zygote, so it picks up new code with or without this.
    ///
    /// Default: `false`.
    pub preload_app: bool,
    /// What to do when a preloaded application leaves something open that workers must not share: warn, error or off.
    ///
    /// Threads, sockets, database connections and event loops are looked for in the zygote after the import,
    /// once, and named with the file that holds them. `error` does not start then; at a reload the old
    /// generation keeps serving. Only with `preload_app`.
    ///
    /// Default: `warn`.
    pub fork_safety: String,
    /// After so many requests a worker that is warm becomes the zygote, and the others are forked from it anew. 0: never.
    ///
    /// What the application has loaded and cached by then is shared too. Counted again after each time. Only
    /// with `preload_app` and the classes `sync` and `gthread`; a worker with threads of its own stays a worker.
    ///
    /// Default: `0`.
    pub refork_after_requests: u64,

    // --- Sockets
    /// Where to listen; may be given several times.
    ///
    /// HOST, HOST:PORT, \[V6\]:PORT, :PORT (all IPv4 interfaces), unix:PATH or fd://N (a listening socket
    /// inherited from the parent process). Port 0 lets the kernel choose. A list replaces the list of a
    /// weaker source, it is not added to it.
    ///
    /// Default: `127.0.0.1:8000`.
    pub bind: Vec<BindAddress>,
    /// How many connections the kernel may hold before they are accepted.
    ///
    /// The kernel caps it at net.core.somaxconn. Beyond it, clients' connection attempts wait and are
    /// retried by their kernel.
    ///
    /// Default: `2048`.
    pub backlog: u32,

    // --- Workers
    /// How many worker processes run the application.
    ///
    /// `auto` counts the CPUs that affinity and the cgroup's quota leave to this process.
    ///
    /// Default: auto: one for each CPU this process may use.
    pub workers: usize,
    /// How a worker runs the application: auto, sync, gthread, gevent, eventlet, asgi, aiohttp, or a class.
    ///
    /// `sync`: WSGI, one request at a time. `gthread`: WSGI, `threads` at a time. `gevent` and `eventlet`: WSGI,
    /// a greenlet for each request, up to `worker_connections`. `asgi`: ASGI on one event loop (uvloop if it is
    /// installed). `aiohttp`: an `aiohttp.web` application. `auto`: by what the application is; `sync` and `auto`
    /// with `threads` above 1 run WSGI as `gthread`. The names and paths of Gunicorn's, Uvicorn's and aiohttp's
    /// worker classes are understood, and a class derived from one of them runs as that one: see
    /// docs/manual/worker-classes.md.
    ///
    /// Default: auto: told by the application.
    pub worker_class_spec: ClassSpec,
    /// How many requests a WSGI worker runs at a time, each on its own thread.
    ///
    /// More requests than that wait in the front's queue, never inside a busy worker. Under ASGI: how many threads
    /// the event loop's executor has for what blocks, and anyio's, in which Starlette and FastAPI run plain functions; 1
    /// leaves them as they are.
    ///
    /// Default: `1`.
    pub threads: usize,
    /// How many requests an ASGI, aiohttp, gevent or eventlet worker runs at a time, open WebSockets included.
    ///
    /// More than that wait in the front's queue. The other WSGI workers use `threads` instead.
    ///
    /// Default: `1000`.
    pub worker_connections: usize,
    /// Replace a worker after this many requests; 0 never does.
    ///
    /// Its successor is ready before it stops, and no connection is closed.
    ///
    /// Default: `0`.
    pub max_requests: u64,
    /// Add up to this many requests, at random for each worker, to `max_requests`.
    ///
    /// It keeps workers that started together from being replaced together.
    ///
    /// Default: `0`.
    pub max_requests_jitter: u64,
    /// Replace a worker that has served this long; 0 never does.
    ///
    /// Seconds. Its successor is ready before it stops; workers are replaced one at a time. See
    /// docs/manual/recycling.md.
    ///
    /// Default: `0`.
    #[serde(with = "super::seconds")]
    pub max_worker_age: Duration,
    /// Add up to this long, at random for each worker, to `max_worker_age`.
    ///
    /// Seconds. It spreads the replacement of workers that started together.
    ///
    /// Default: `0`.
    #[serde(with = "super::seconds")]
    pub max_worker_age_jitter: Duration,
    /// Replace a worker that has more file descriptors open than this; 0 sets no limit.
    ///
    /// For applications that leak them. Its successor is ready before it stops. The limit of the system
    /// (`RLIMIT_NOFILE`, see `worker_rlimits`) must be above it.
    ///
    /// Default: `0`.
    pub worker_max_fds: u64,
    /// Replace a worker whose resident memory has grown above this; 0 sets no limit.
    ///
    /// Bytes, or `80%`: that part of the memory this server may use, divided among its workers. The worker
    /// finishes what it has, and its successor is ready before; one that is half above the limit all the same
    /// gets nothing more at once. Memory that workers share with preload_app counts for each of them: see
    /// `worker_max_pss`.
    ///
    /// Default: `0`.
    pub worker_max_rss: Limit,
    /// Kill a worker whose resident memory has grown above this; 0 sets no limit.
    ///
    /// Bytes, or a part as for `worker_max_rss`, above which it must be. The worker's tracebacks go to the log,
    /// and what it was doing is lost as in a crash: requests that may be repeated are, others are answered 502.
    ///
    /// Default: `0`.
    pub worker_max_rss_hard: Limit,
    /// Replace a worker whose proportional share of memory has grown above this; 0 sets no limit.
    ///
    /// Bytes, or a part as for `worker_max_rss`, which it is like but for the measure: a page that eight processes
    /// share counts an eighth for each. It costs more to read, so it is read every 10 seconds, and only while
    /// resident memory is above the limit.
    ///
    /// Default: `0`.
    pub worker_max_pss: Limit,
    /// Kill a worker whose proportional share of memory has grown above this; 0 sets no limit.
    ///
    /// Bytes, or a part as for `worker_max_rss`, above `worker_max_pss`. What it was doing is lost as in a crash.
    ///
    /// Default: `0`.
    pub worker_max_pss_hard: Limit,
    /// How long a request may run in a sync worker, and any worker stand still; 0 sets no limit.
    ///
    /// Seconds. In the other classes a request is not limited while its worker shows life: see
    /// `request_timeout`. At the limit the client gets 504, the tracebacks of the worker's threads go to the
    /// log, and a worker that stays stuck is replaced. Waiting in the queue does not count.
    ///
    /// Default: `30`.
    #[serde(with = "super::seconds")]
    pub timeout: Duration,
    /// How long a request may take until its answer begins, in every worker class; 0 sets no limit.
    ///
    /// Seconds, counted from when the application gets it. At the limit its client gets 504 and it is
    /// cancelled (ASGI) or `indrik.RequestTimeout` is raised in it. If it has not ended a second later, the
    /// tracebacks of the worker's threads go to the log and the worker is replaced. Not for WebSockets.
    ///
    /// Default: `0`.
    #[serde(with = "super::seconds")]
    pub request_timeout: Duration,
    /// Other limits than `request_timeout` for paths that begin so, as `/reports=120`; 0 is no limit.
    ///
    /// The longest beginning that fits decides.
    pub request_timeout_paths: Vec<String>,
    /// Let a request run over `request_timeout`, or over `timeout` in a sync worker, while no other one waits.
    ///
    /// It is ended as soon as a request waits for a worker.
    ///
    /// Default: `false`.
    pub timeout_only_if_queued: bool,
    /// Replace a worker in which no thread has had the interpreter's lock for this long; 0 does not look.
    ///
    /// Seconds. Code in C that keeps the lock stops every thread of the process. The tracebacks of its
    /// threads go to the log first. A worker that was stopped (SIGSTOP) counts as well.
    ///
    /// Default: `0`.
    #[serde(with = "super::seconds")]
    pub deadlock_timeout: Duration,
    /// How long a stop or a reload waits for requests that are under way.
    ///
    /// Seconds. Workers that still run after it are killed, and their clients get 502.
    ///
    /// Default: `30`.
    #[serde(with = "super::seconds")]
    pub graceful_timeout: Duration,
    /// How long a worker may take to load the application.
    ///
    /// Seconds until it is ready; with `preload_app`, also until the application is imported. A worker that takes
    /// longer is killed and started again; a reload whose workers take longer is given up.
    ///
    /// Default: `1800`.
    #[serde(with = "super::seconds")]
    pub max_boot_time: Duration,
    /// How long everything is served on after TERM, before connections are refused.
    ///
    /// Seconds. `readiness_path` answers 503 from the first moment, so that load balancers take the server out
    /// of their lists meanwhile. A second TERM, or INT, ends it at once. It comes before `graceful_timeout`, and
    /// not where another master takes over.
    ///
    /// Default: `0`.
    #[serde(with = "super::seconds")]
    pub drain_delay_s: Duration,
    /// After USR2 the old master leaves by itself once the new one serves, as with `indrik upgrade`.
    ///
    /// Without it both serve until one of them is told to leave, which is what Gunicorn does.
    ///
    /// Default: `false`.
    pub upgrade_drains: bool,
    /// The event loop of ASGI workers: auto, asyncio or uvloop.
    ///
    /// `auto` takes uvloop if it is installed. `uvloop` without it stops the start.
    ///
    /// Default: `auto`.
    pub asgi_loop: String,
    /// Whether ASGI workers run the application's lifespan: auto, on or off.
    ///
    /// `auto` goes on without it when the application raises on it. `on` stops the start then.
    ///
    /// Default: `auto`.
    pub asgi_lifespan: String,
    /// How long an ASGI application may go on after its client has left.
    ///
    /// Seconds between `http.disconnect` and the cancellation of the request's task; 0 cancels at once.
    ///
    /// Default: `3`.
    #[serde(with = "super::seconds")]
    pub asgi_disconnect_grace_period: Duration,

    // --- Development
    /// Print every line of Python that a worker runs.
    ///
    /// It is very slow and very long: a last resort.
    ///
    /// Default: `false`.
    pub spew: bool,
    /// Start a new generation of workers when a file of the application changes.
    ///
    /// Code that fails to load is shown as a page with its traceback until the next change.
    ///
    /// Default: `false`.
    pub reload: bool,
    /// How `reload` sees changes: auto, poll or inotify.
    ///
    /// `auto` is inotify where it works; `poll` looks at the files once a second, as network file systems
    /// need it.
    ///
    /// Default: `auto`.
    pub reload_engine: String,
    /// A further file, or a pattern such as `templates/**/*.html`, that `reload` watches.
    ///
    /// May be given several times. Patterns are looked up again at every check.
    pub reload_extra_files: Vec<String>,
    /// Check the settings, load the application and exit: 0 if all is well, else 1.
    ///
    /// Default: `false`.
    pub check_config: bool,
    /// Print every setting's value, then do what `check_config` does.
    ///
    /// Default: `false`.
    pub print_config: bool,

    // --- Rolling reload
    /// Paths that every new worker is asked for before clients' requests come to it.
    ///
    /// They are GET requests through the application, one after the other. Each must be answered 2xx or 3xx;
    /// anything else means that the worker failed to boot, which ends a reload. A path begins with `/`.
    pub warmup: Vec<String>,
    /// How long all requests of a worker's `warmup` together may take.
    ///
    /// Seconds. A worker that is not done by then has failed to boot.
    ///
    /// Default: `60`.
    #[serde(with = "super::seconds")]
    pub warmup_timeout: Duration,
    /// The Host header of the `warmup` requests, for applications that know their own names.
    ///
    /// Default: `localhost`.
    pub warmup_host: String,
    /// How many processes above the number of workers a reload may use.
    ///
    /// A number, or a percentage of the workers, rounded up. With 100% the new workers take over together,
    /// when all of them are ready; with less, old and new ones serve side by side while the reload rolls.
    ///
    /// Default: `100%`.
    pub reload_max_surge: Share,
    /// How many workers fewer than usual may be ready during a reload.
    ///
    /// A number, or a percentage of the workers, rounded down. Above 0, old workers leave before the new ones
    /// in their places are ready, which needs less memory; such a reload rolls.
    ///
    /// Default: `0`.
    pub reload_max_unavailable: Share,
    /// How long the old workers stand by after the new ones have taken over.
    ///
    /// Seconds; 0: they leave at once. A new worker that crashes in that time, or more errors than
    /// `reload_error_rate_max`, brings the old generation back.
    ///
    /// Default: `0`.
    #[serde(with = "super::seconds")]
    pub reload_soak_s: Duration,
    /// Which part of a new generation's answers may be errors within `reload_soak_s`.
    ///
    /// Errors are statuses of 500 and above and requests without an answer. It is judged from the 20th answer
    /// on, and at the end of that time whatever their number. 100% turns it off.
    ///
    /// Default: `10%`.
    pub reload_error_rate_max: Share,

    // --- Queue
    /// How many requests may wait for a worker.
    ///
    /// The next one is answered 503 with Retry-After at once.
    ///
    /// Default: `1024`.
    pub queue_requests_max: usize,
    /// How long a request may wait for a worker; 0 sets no limit.
    ///
    /// Seconds, counted from its arrival. After it the answer is 503 with Retry-After.
    ///
    /// Default: `30`.
    #[serde(with = "super::seconds")]
    pub queue_timeout: Duration,
    /// What requests have in common that go to the same worker: cookie, ip, header:NAME or query:NAME.
    ///
    /// For applications that keep sessions in memory; Flask-SocketIO needs `query:sid` with several workers.
    /// Empty: any worker will do. When the worker is gone, the next request is placed anew.
    pub affinity: String,

    // --- Connections
    /// How many threads of the front serve connections.
    ///
    /// One serves well over 100,000 small requests a second; more help with TLS and large bodies.
    ///
    /// Default: auto: 1.
    pub io_threads: usize,
    /// How long a connection may stay open between two requests; 0 closes it after each.
    ///
    /// Seconds. Idle connections cost no worker, so the default outlasts the idle time of usual proxies.
    ///
    /// Default: `75`.
    #[serde(with = "super::seconds")]
    pub keepalive: Duration,
    /// How long a client may take to send a request's head; 0 sets no limit.
    ///
    /// Seconds, counted from the head's first byte (from the connection's start for the first request).
    /// After it the answer is 408 and the connection is closed.
    ///
    /// Default: `10`.
    #[serde(with = "super::seconds")]
    pub header_read_timeout: Duration,
    /// How long a client may pause while it sends a request's body; 0 sets no limit.
    ///
    /// Seconds between two reads. After it the answer is 408 and the connection is closed. WSGI bodies are
    /// buffered by the front, so a slow upload never occupies a worker.
    ///
    /// Default: `30`.
    #[serde(with = "super::seconds")]
    pub body_read_timeout: Duration,
    /// How long a client may take no byte of a response that waits for it; 0 sets no limit.
    ///
    /// Seconds without progress. After it the connection is closed and the worker is freed.
    ///
    /// Default: `30`.
    #[serde(with = "super::seconds")]
    pub write_timeout: Duration,

    // --- Limits
    /// The longest request line (method, target, version).
    ///
    /// Bytes. A longer one is answered 414. 0 means the most there is, 65536.
    ///
    /// Default: `8190`.
    pub limit_request_line: usize,
    /// How many header fields a request may have.
    ///
    /// One with more is answered 431. 0 means the most there is, 16384.
    ///
    /// Default: `100`.
    pub limit_request_fields: usize,
    /// The longest header field, counted as it was sent, with its line end.
    ///
    /// Bytes. A request with a longer one is answered 431. 0 means the default, as in Gunicorn. All fields
    /// together never have more than 131072.
    ///
    /// Default: `8190`.
    pub limit_request_field_size: usize,
    /// How much of one request's body the front holds in memory before a WSGI worker gets it.
    ///
    /// Bytes. A larger body goes to an unnamed temporary file, which the worker reads.
    ///
    /// Default: `1MiB`.
    pub body_buffer_max: usize,
    /// How much of one WSGI response may wait for its client in a file, so that its worker need not; 0 for none.
    ///
    /// Bytes. Beyond about 1 MiB in memory the rest goes to an unnamed file in `tmp_upload_dir`; at this limit the
    /// worker waits with the client. Event streams never wait there.
    ///
    /// Default: `1GiB`.
    pub response_spool_max: u64,
    /// How much of all WSGI responses together may wait for their clients in files.
    ///
    /// Bytes. Where `tmp_upload_dir` lies in memory (tmpfs), not more than a quarter of `front_memory_max`. At most
    /// a quarter of the descriptors that clients may have is for such files.
    ///
    /// Default: `4GiB`.
    pub response_spools_max: u64,
    /// The largest request body; 0 sets no limit.
    ///
    /// Bytes. A larger one is answered 413 and the connection is closed.
    ///
    /// Default: `1GiB`.
    pub body_size_max: u64,
    /// The largest WebSocket message a client may send, after decompression; 0 sets no limit.
    ///
    /// Bytes. A larger one closes the WebSocket with code 1009.
    ///
    /// Default: `16MiB`.
    pub websocket_max_message_size: usize,
    /// How much the front may hold for its clients in memory, all connections together; 0 sets no limit.
    ///
    /// Bytes, or a part of the memory this server may use. From 70% of it no response runs ahead of its client
    /// and answers end their connections, from 85% bodies of requests wait outside; at 100% the connections that
    /// hold the most are cut, and the log names them.
    ///
    /// Default: `25%`.
    pub front_memory_max: Limit,
    /// How much the front may hold for one connection in memory; 0 sets no limit.
    ///
    /// Bytes. A connection that holds more is cut, and the log names it.
    ///
    /// Default: auto: 64MiB; with a large `websocket_max_message_size` twice that and 16MiB.
    pub connection_memory_max: u64,

    // --- Proxies
    /// The proxies whose headers are believed: addresses, networks as 10.0.0.0/8, or `*` for everyone.
    ///
    /// It governs `secure_scheme_headers`, `forwarder_headers` and `real_ip_header`. Peers on a Unix socket
    /// are believed always.
    ///
    /// Default: `127.0.0.1, ::1`.
    pub forwarded_allow_ips: Vec<Network>,
    /// Headers, and the value of each, by which a trusted proxy says that its client uses HTTPS.
    ///
    /// Such a request has the scheme `https`. Headers that contradict each other are answered 400.
    pub secure_scheme_headers: BTreeMap<String, String>,
    /// Take the client's address from this header of a trusted proxy: off, x-forwarded-for or forwarded.
    ///
    /// The last address in it that is not itself a proxy of `forwarded_allow_ips` becomes REMOTE_ADDR and
    /// ASGI's client. With Uvicorn's worker classes the default is x-forwarded-for, as in Uvicorn.
    ///
    /// Default: `off`.
    pub real_ip_header: RealIpHeader,
    /// Header names with underscores that a trusted proxy may send, whatever `header_map` says.
    ///
    /// Default: `SCRIPT_NAME, PATH_INFO`.
    pub forwarder_headers: Vec<String>,
    /// What happens to header names with underscores, which look like others in environ.
    ///
    /// `drop` leaves them out, `refuse` answers 400, `dangerous` passes them on.
    ///
    /// Default: `drop`.
    pub header_map: HeaderMap,
    /// Read the PROXY protocol at the start of a connection: off, v1, v2 or auto (either).
    ///
    /// It carries the client's address through a proxy that does not speak HTTP.
    ///
    /// Default: `off`.
    pub proxy_protocol: ProxyProtocol,
    /// Who may send a PROXY protocol header: addresses, networks as 10.0.0.0/8, or `*` for everyone.
    ///
    /// Anybody else who sends one is answered 403.
    ///
    /// Default: `127.0.0.1, ::1`.
    pub proxy_allow_ips: Vec<Network>,

    // --- Requests
    /// Accept header values that go on in the next line, which HTTP no longer allows.
    ///
    /// Without it such a request is answered 400.
    ///
    /// Default: `false`.
    pub permit_obsolete_folding: bool,
    /// Accept spaces between a header's name and its colon.
    ///
    /// They invite request smuggling. Without it such a request is answered 400.
    ///
    /// Default: `false`.
    pub strip_header_spaces: bool,
    /// Accept methods in lower case, with `#`, and of fewer than 3 or more than 20 letters.
    ///
    /// Default: `false`.
    pub permit_unconventional_http_method: bool,
    /// Accept HTTP versions other than 1.0 and 1.1.
    ///
    /// Default: `false`.
    pub permit_unconventional_http_version: bool,
    /// Turn methods into upper case before the application sees them.
    ///
    /// Default: `false`.
    pub casefold_http_method: bool,
    /// Let the front send a file that the application returns through `wsgi.file_wrapper`.
    ///
    /// Without it the worker reads the file and sends its bytes.
    ///
    /// Default: `true`.
    pub sendfile: bool,
    /// The directory of the unnamed files that hold large request bodies and responses to slow clients.
    ///
    /// See `body_buffer_max` and `response_spool_max`. It must exist. Where it lies in memory (tmpfs), the bodies there have together
    /// at most as much as `front_memory_max`; further ones are answered 507.
    ///
    /// Default: the system's directory for temporary files.
    pub tmp_upload_dir: Option<PathBuf>,

    // --- Logs
    /// The file that gets a line for each request; `-` is standard output.
    pub accesslog: Option<LogTarget>,
    /// What a line of the access log looks like, in Gunicorn's `%(name)s` form.
    ///
    /// Default: `%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"`.
    pub access_log_format: String,
    /// The file that gets the server's own messages; `-` is standard error.
    ///
    /// Default: `-`.
    pub errorlog: LogTarget,
    /// The least serious message that is logged: debug, info, warning, error or critical.
    ///
    /// Default: `info`.
    pub loglevel: LogLevel,
    /// How both logs are written: text, in Gunicorn's form, or json, one object in each line.
    ///
    /// Whatever a client sends is escaped, so it cannot forge a line or a field. With `json` the fields are
    /// fixed; headers and variables that `access_log_format` names are added.
    ///
    /// Default: `text`.
    pub log_format: LogFormat,
    /// Paths that get no line in the access log, such as health checks; `*` stands for any letters.
    ///
    /// A path is compared without its query. Answers with status 500 and above are logged all the same.
    pub access_log_exclude: Vec<String>,
    /// Log a request that is not over after so long: where its time went, its worker, and what that does just then; 0 logs none.
    ///
    /// Seconds, from its head on. At most 10 a second are logged, with the number of those left out. Not for WebSockets. See
    /// docs/manual/logs.md.
    ///
    /// Default: `0`.
    #[serde(with = "super::seconds")]
    pub slow_request_log: Duration,
    /// Other times than `slow_request_log` for paths that begin so, as `/reports=30`; 0 logs none.
    ///
    /// The longest beginning that fits decides.
    pub slow_request_paths: Vec<String>,
    /// How many routes of the application are told apart by their names.
    ///
    /// A name takes at most 256 bytes and stays until some reloads later; all routes that come after these are `other`. A
    /// worker may bring at most as many names as it leaves free, so a single one has half of them. See docs/manual/logs.md.
    ///
    /// Default: `1000`.
    pub route_names_max: usize,
    /// How many routes of the application the metrics tell apart by their names.
    ///
    /// All routes that come after these are `other`. A route keeps its place until the server ends, so counters never fall.
    /// Workers tell their routes with `admin_bind`, unless this is 0. See docs/manual/metrics.md.
    ///
    /// Default: `200`.
    pub metrics_routes_max: usize,
    /// Whether info also has what happens as a matter of course, in Gunicorn's words: "Listening at", "Booting worker", signals.
    ///
    /// Otherwise one entry says that the server serves, one that another generation does, one that it ends. `auto` is on under the
    /// stand-in for `gunicorn`, where tools look for these lines.
    ///
    /// Default: `auto`.
    pub log_routine: LogRoutine,
    /// Rotate a log file that has grown to this size, without any tool or signal.
    ///
    /// Bytes. It is looked at once a second. Standard streams, links and pipes are left alone. See docs/manual/logs.md.
    pub log_rotate_size: Option<u64>,
    /// Rotate log files at whole multiples of this time: `1d` at midnight, `1h` at each full hour.
    ///
    /// In the server's time zone; weeks and odd times are counted from 1970. An empty file is not rotated.
    pub log_rotate_age: Option<Duration>,
    /// How many rotated files of each log are kept; older ones are deleted.
    ///
    /// Default: `14`.
    pub log_rotate_keep: usize,
    /// Compress rotated files with gzip, at idle priority, once no process writes to them any more.
    ///
    /// Default: `true`.
    pub log_rotate_compress: bool,
    /// Send what the application prints to the error log, if that is a file.
    ///
    /// Default: `false`.
    pub capture_output: bool,
    /// The Python class that writes the logs, in place of Indrik's own.
    ///
    /// A class, a function that returns one, or its import path. It has the interface of Gunicorn's
    /// `glogging.Logger`.
    ///
    /// Default: `gunicorn.glogging.Logger`.
    pub logger_class: ClassSpec,
    /// A file for Python's `logging.config.fileConfig`; Python then writes the logs.
    pub logconfig: Option<PathBuf>,
    /// A table for Python's `logging.config.dictConfig`; Python then writes the logs.
    ///
    /// It beats `logconfig_json`, and that beats `logconfig`.
    pub logconfig_dict: BTreeMap<String, Json>,
    /// A JSON file for Python's `logging.config.dictConfig`; Python then writes the logs.
    pub logconfig_json: Option<PathBuf>,
    /// Send both logs to syslog as well.
    ///
    /// Default: `false`.
    pub syslog: bool,
    /// Where syslog listens: udp://HOST:PORT, tcp://HOST:PORT or unix://PATH.
    ///
    /// A Unix path may end in #stream or #dgram; #dgram is usual.
    ///
    /// Default: `udp://localhost:514`.
    pub syslog_addr: SyslogAddress,
    /// The program's name in syslog is gunicorn.NAME, so that filters written for Gunicorn go on working.
    ///
    /// Without it the name is that of the process.
    pub syslog_prefix: Option<String>,
    /// The facility of messages in syslog.
    ///
    /// Default: `user`.
    pub syslog_facility: String,
    /// Keep the access log out of syslog.
    ///
    /// Default: `false`.
    pub disable_redirect_access_to_syslog: bool,
    /// Send metrics to the StatsD server at HOST:PORT or unix://PATH, under Gunicorn's names.
    ///
    /// Without a port it is 8125. A server that does not answer loses metrics and delays nothing.
    pub statsd_host: Option<StatsdAddress>,
    /// What the names of metrics start with; a dot is put behind it.
    pub statsd_prefix: String,
    /// Tags for every metric, separated by commas, in DogStatsD's form.
    pub dogstatsd_tags: String,
    /// Also send, once a second, how many requests wait for a worker: `gunicorn.backlog`.
    ///
    /// Default: `false`.
    pub enable_backlog_metric: bool,

    // --- Tracing
    /// Give each request an id: in the answer, in both logs, in the environ or scope, and in the application's log records.
    ///
    /// An id that a trusted proxy (`forwarded_allow_ips`) sends in `request_id_header` is taken over if it is at most 128 visible
    /// ASCII characters; otherwise one is made. See docs/manual/tracing.md.
    ///
    /// Default: `false`.
    pub request_id: bool,
    /// The header that carries the id of `request_id`, in requests and answers.
    ///
    /// Default: `X-Request-ID`.
    pub request_id_header: String,
    /// Begin or continue a W3C trace with each request, and export a span of the server for those that are sampled.
    ///
    /// The application finds the span in the request's `traceparent`, so spans that it makes are below it. Without this the headers
    /// `traceparent` and `tracestate` are passed on as they come. See docs/manual/tracing.md.
    ///
    /// Default: `false`.
    pub tracing: bool,
    /// Of the traces that begin here, how many are recorded; a trusted proxy's decision in `traceparent` goes before.
    ///
    /// Requests that fail (status 500 and above) or are slow (`slow_request_log`, else one second) are exported in any case.
    ///
    /// Default: `100%`.
    pub trace_sample: Share,
    /// Where spans go, as OTLP over HTTP in JSON: the base address, to which /v1/traces is added.
    ///
    /// http or https. What the collector does not take is tried again, and lost in the end: a request never waits for it. Where this
    /// is not set, the environment variables of OpenTelemetry say it.
    ///
    /// Default: `OTEL_EXPORTER_OTLP_ENDPOINT`, else http://localhost:4318.
    pub otlp_endpoint: Option<String>,
    /// A header for the collector, such as its key; may be given several times.
    ///
    /// Beside those of `OTEL_EXPORTER_OTLP_HEADERS`, which it replaces by name.
    pub otlp_headers: Vec<(String, String)>,
    /// How long a span waits for others to be exported with.
    ///
    /// Seconds. 512 spans are exported at once in any case; 2,048 wait at most, and further ones are lost and counted.
    ///
    /// Default: `5`.
    #[serde(with = "super::seconds")]
    pub otlp_interval: Duration,

    // --- Alerts
    /// Tell alerts in the error log: when one begins, and when it is over.
    ///
    /// Alerts are watched while this, `alert_exec` or `alert_webhook` is set. See docs/manual/alerts.md.
    ///
    /// Default: `false`.
    pub alert_log: bool,
    /// A command that is run for each message of an alert: the program and its arguments.
    ///
    /// It gets the message as JSON on its standard input and in variables (`INDRIK_ALERT_…`), and runs as the workers' user. No
    /// shell reads it: an argument with a space in it stands in quotes. See `alert_exec_timeout`.
    pub alert_exec: Option<String>,
    /// How long `alert_exec` may run. Then it is killed, with everything that it started in its process group.
    ///
    /// Seconds.
    ///
    /// Default: `30`.
    #[serde(with = "super::seconds")]
    pub alert_exec_timeout: Duration,
    /// Where messages of alerts are sent: an address of http or https, by POST.
    ///
    /// One that is not taken is tried again, five times in all with growing pauses. Redirects are not followed.
    pub alert_webhook: Option<String>,
    /// What `alert_webhook` is sent.
    ///
    /// Default: `json`.
    pub alert_webhook_format: AlertWebhookFormat,
    /// A header for `alert_webhook`, such as its key; may be given several times.
    pub alert_webhook_headers: Vec<(String, String)>,
    /// Certificates of the authorities that `alert_webhook` is known by, PEM; without it those of the system.
    pub alert_webhook_ca: Option<PathBuf>,
    /// How long `alert_webhook` may take for an answer, from the first step of the connection.
    ///
    /// Seconds.
    ///
    /// Default: `10`.
    #[serde(with = "super::seconds")]
    pub alert_webhook_timeout: Duration,
    /// Changes of the alerts, each as `cpu > 90% for 2m over 1m recover 5m`, or `disk off`.
    ///
    /// What is not named stays as docs/manual/alerts.md lists it: threshold, how long it has to be bad (`for`), over how long it is
    /// counted (`over`), how long it has to be well before it is over (`recover`).
    pub alert_rules: Vec<String>,
    /// An alert that goes on is told again after so long; 0: it is told once.
    ///
    /// Seconds.
    ///
    /// Default: `0`.
    #[serde(with = "super::seconds")]
    pub alert_repeat: Duration,

    // --- Metrics
    /// The table of each worker for the metrics of the application.
    ///
    /// Bytes; what is not used takes no memory. 4 MiB hold some 15,000 counters or 10,000 histograms. In a
    /// full table series that are new are not kept: the first is told of in the log, all are counted.
    ///
    /// Default: `4MiB`.
    pub app_metrics_max: u64,
    /// The most series of the application's metrics that are shown, of all workers together.
    ///
    /// A bucket of a histogram of prometheus_client counts as one. What is new beyond them is not shown,
    /// and counted as lost.
    ///
    /// Default: `10000`.
    pub app_metrics_series_max: usize,

    // --- Process
    /// A file that holds the supervisor's process id while it runs.
    pub pidfile: Option<PathBuf>,
    /// What process titles show between the brackets: `indrik: master [NAME]`.
    ///
    /// Default: the application's name.
    pub proc_name: Option<String>,
    /// What process titles begin with. With another than `indrik`, titles are as Gunicorn's: `gunicorn` makes them
    ///
    /// `gunicorn: master [NAME]` and `gunicorn: worker [NAME]`, for scripts that look for these; the zygote's is
    /// `gunicorn: zygote [NAME]`.
    ///
    /// Default: `indrik`.
    pub proc_title_prefix: String,
    /// What process titles show when there is no `proc_name`.
    ///
    /// Default: the application's name.
    pub default_proc_name: Option<String>,
    /// Go to the background, away from the terminal.
    ///
    /// The command returns when the server has started or has failed to.
    ///
    /// Default: `false`.
    pub daemon: bool,
    /// With `daemon`, keep standard output and standard error open.
    ///
    /// Default: `false`.
    pub enable_stdio_inheritance: bool,
    /// The user, by name or number, that workers run as; the supervisor keeps its own.
    ///
    /// Unix sockets and log files belong to this user.
    ///
    /// Default: the user who starts Indrik.
    pub user: Option<String>,
    /// The group, by name or number, that workers run as.
    ///
    /// Unix sockets and log files belong to this group.
    ///
    /// Default: the group of the user who starts Indrik.
    pub group: Option<String>,
    /// Give workers all groups of `user`, and `group`.
    ///
    /// Default: `false`.
    pub initgroups: bool,
    /// The permissions that Unix sockets do not get: an octal number as 022.
    ///
    /// It is not the umask of the application.
    ///
    /// Default: `0`.
    pub umask: u32,

    // --- Resources
    /// Limits of the kernel for each worker, such as nofile=4096, as=2GiB or core=0.
    ///
    /// As in setrlimit(2): as, core, cpu, data, fsize, memlock, msgqueue, nofile, nproc, rtprio, sigpending,
    /// stack. Bytes may have units, cpu is seconds or a time, `unlimited` is none. One number is the soft and
    /// the hard limit; NAME=SOFT:HARD lets the application raise the first up to the second. A hard limit
    /// that this server may not give stops the start.
    pub worker_rlimits: Vec<WorkerRlimit>,
    /// The niceness of workers: 19 gives way to everybody, -20 to nobody.
    ///
    /// Above the server's own, the front gets the CPU first and stays quick when workers use all of it. Going
    /// below the server's own takes rights; without them the start is refused.
    ///
    /// Default: the server's own.
    pub worker_nice: Option<i32>,
    /// How likely the kernel kills a worker when memory runs out: 1000 first, -1000 never.
    ///
    /// Above the server's own, workers die before the front, and the zygote between them. Where it cannot be
    /// set, a warning says so and the workers run as they are.
    ///
    /// Default: 100 above the server's own, where the system lets it be set.
    pub worker_oom_score_adj: Option<i32>,
    /// Workers, and the programs they start, cannot gain rights: sudo and set-user-id programs fail in them.
    ///
    /// Set before the first hook of the worker runs; it does not keep workers from becoming `user`.
    ///
    /// Default: `false`.
    pub worker_no_new_privs: bool,
    /// Memory above which the kernel slows a worker down and takes back what it can; 0 sets no limit.
    ///
    /// `memory.high` of the worker's control group: see docs/manual/resource-limits.md for what it takes.
    /// Where there are no such groups, a warning says so.
    ///
    /// Default: `0`.
    pub worker_memory_high: u64,
    /// Memory above which the kernel kills a worker, and nobody else; 0 sets no limit.
    ///
    /// `memory.max` of the worker's control group, as for `worker_memory_high`.
    ///
    /// Default: `0`.
    pub worker_memory_max: u64,
    /// The share of the CPU of all workers together, against 100 of the front; 0 leaves it to the kernel.
    ///
    /// `cpu.weight` of their control group, as for `worker_memory_high`. It counts when all CPUs are busy.
    ///
    /// Default: `0`.
    pub worker_cpu_weight: u32,
    /// Refuse to start where the control groups for the settings above cannot be had.
    ///
    /// Without it, a warning says why, and the workers run without those limits.
    ///
    /// Default: `false`.
    pub worker_cgroup_required: bool,

    // --- Sockets
    /// Let other processes listen on the same addresses (SO_REUSEPORT).
    ///
    /// Indrik itself listens on each address once: its workers share the front's queue.
    ///
    /// Default: `false`.
    pub reuse_port: bool,

    // --- Probes
    /// A path that is answered without the application, with 200 as long as the server lives.
    ///
    /// GET and HEAD; a line of JSON that tells its state. It waits in no queue.
    pub liveness_path: Option<String>,
    /// A path that is answered without the application, with 200 where traffic is welcome, else 503.
    ///
    /// GET and HEAD; a line of JSON that tells why. 503 from the first moment of a graceful stop, and while no worker
    /// is ready. It waits in no queue.
    pub readiness_path: Option<String>,
    /// A path on the application's addresses where a scraper gets what is counted, as at `/metrics` of the admin listener.
    ///
    /// For scrapers in metrics_allow, others need a token (admin_tokens). It waits in no queue and is not counted among the requests.
    pub metrics_path: Option<String>,
    /// Who may read `metrics_path` without a token: addresses, networks as 10.0.0.0/8, or `*` for everyone.
    ///
    /// What comes through a proxy counts as its client if real_ip_header tells who that is; otherwise it needs a token.
    ///
    /// Default: `127.0.0.1, ::1`.
    pub metrics_allow: Vec<Network>,

    // --- Admin
    /// Names whose values `indrik record` leaves out, beside those that look like secrets by themselves (tokens, passwords, cookies).
    ///
    /// Of headers, and of the fields of forms and JSON, however they are written: `customer_number,x-tenant`.
    pub record_redact: Vec<String>,

    // --- Control
    /// The Unix socket on which the server takes commands; `None` in a file switches it off.
    ///
    /// By default nothing is written to disk, and two servers never take each other's socket.
    ///
    /// Default: auto: an abstract socket of this process, for its own user only.
    pub control_socket: Option<ControlSocket>,
    /// The permissions of a control socket that is a file: an octal number as 0660.
    ///
    /// Default: `0o600`.
    pub control_socket_mode: u32,
    /// Take no commands on a socket.
    ///
    /// Default: `false`.
    pub control_socket_disable: bool,

    // --- Admin
    /// Where to look at the server and steer it over HTTP: HOST:PORT or unix:PATH; may be given several times.
    ///
    /// Off unless set; the server's own user has a socket without a file besides. Reading is open to this machine, from
    /// elsewhere it takes a token; changing takes one everywhere (admin_tokens). At an upgrade the sockets are handed over.
    pub admin_bind: Option<Vec<BindAddress>>,
    /// The admin listener's certificate, and so: speak TLS on every HOST:PORT of admin_bind. PEM, as `certfile`.
    ///
    /// A renewed file is in use within seconds, without a reload. Unix sockets stay as they are.
    pub admin_certfile: Option<PathBuf>,
    /// The key of the admin listener's certificate.
    ///
    /// PEM, not encrypted.
    ///
    /// Default: the certificate's file.
    pub admin_keyfile: Option<PathBuf>,
    /// The file of those who may read or change over the admin listener: a line NAME SCOPE sha256:HEX for each.
    ///
    /// `indrik token new NAME --scope operate` makes a token and its line. The file is read again when it has changed.
    pub admin_tokens: Option<PathBuf>,
    /// Names by which the admin listener may be asked, beside addresses and localhost.
    ///
    /// A request under any other name is refused: a page from elsewhere could have sent it (DNS rebinding).
    pub admin_hosts: Vec<String>,

    // --- Application
    /// Load the application from this PasteDeploy file; `FILE#NAME` picks one of several.
    ///
    /// The package PasteDeploy must be installed.
    pub paste: Option<String>,
    /// A value for PasteDeploy's global configuration; may be given several times.
    ///
    /// An equals sign in the name is written `\=`.
    pub raw_paste_global_conf: Vec<String>,

    // --- TLS
    /// The server's certificate, and so: speak TLS on every address.
    ///
    /// PEM; the certificate first, then those between it and the root. A renewed file is in use within
    /// seconds, without a reload; one that cannot be read leaves the old one in use. TLS 1.2 and 1.3;
    /// inside, what `http_protocols` offers.
    pub certfile: Option<PathBuf>,
    /// The key of the server's certificate.
    ///
    /// PEM, not encrypted.
    ///
    /// Default: the certificate's file.
    pub keyfile: Option<PathBuf>,
    /// Whether clients must show a certificate: 0 no, 1 if they have one, 2 yes.
    ///
    /// What they show must be signed by one of `ca_certs`.
    ///
    /// Default: `0`.
    pub cert_reqs: u8,
    /// The certificates that clients' certificates are checked with; PEM.
    pub ca_certs: Option<PathBuf>,

    // --- HTTP/2
    /// The versions of HTTP, the best liked first: h1, h2. With TLS a client and the server agree on one by
    ///
    /// ALPN; without it, see `http2_cleartext`. ASGI applications may have WebSockets over HTTP/2 as well
    /// (RFC 8441); those of WSGI applications stay on HTTP/1.1.
    ///
    /// Default: `h1`.
    pub http_protocols: Vec<String>,
    /// Whether proxies in `forwarded_allow_ips` may speak HTTP/2 without TLS, if `http_protocols` has h2.
    ///
    /// With prior-knowledge they must begin with it and anything else is refused with 400; with both they may
    /// also speak HTTP/1.1. The upgrade from HTTP/1.1 was taken back by RFC 9113: with upgrade, HTTP/1.1 goes on.
    /// Everybody else is served HTTP/1.1; who begins with HTTP/2 all the same is told HTTP_1_1_REQUIRED.
    ///
    /// Default: `off`.
    pub http2_cleartext: Http2Cleartext,
    /// How many requests a client may have under way on one HTTP/2 connection.
    ///
    /// Default: `100`.
    pub http2_max_concurrent_streams: u32,
    /// How many bytes of one request's body a client may send ahead in HTTP/2; a connection has 1 MiB, or this if
    ///
    /// it is more. At least one frame: less would hold up every upload.
    ///
    /// Default: `65535`.
    pub http2_initial_window_size: u32,
    /// The largest HTTP/2 frame a client may send, in bytes.
    ///
    /// Default: `16384`.
    pub http2_max_frame_size: u32,
    /// The largest list of header fields a client may send in HTTP/2, in bytes, decompressed and with 32 bytes for
    ///
    /// each field; 0 is 1 MiB, which is also the most. The default is raised to what the `limit_request_*` settings, which hold as
    /// well, let pass over HTTP/1.1.
    ///
    /// Default: `65536`.
    pub http2_max_header_list_size: u32,

    // ---
    /// What the setting `worker_class` means, as far as its name tells.
    pub worker_class: WorkerClass,
    /// Why `workers` is what it is, for the start-up banner.
    ///
    /// "2, one for each CPU this process may use", "4, from --workers".
    pub workers_reason: String,
    /// Remarks for the log, once at start.
    ///
    /// Settings accepted but without effect, names in the configuration file that look like a misspelt setting.
    pub notices: Vec<String>,
}

/// The fields that follow from the settings.
pub(super) struct Derived {
    pub(super) chdir: PathBuf,
    pub(super) worker_class: WorkerClass,
    pub(super) workers_reason: String,
    pub(super) notices: Vec<String>,
}

impl Config {
    /// Reads every field from its setting.
    ///
    /// # Errors
    /// [`Mistyped`] when a setting's value is not what its field holds: the first one.
    #[expect(clippy::too_many_lines, reason = "a line for each setting")]
    pub(super) fn from_values(values: &Values<'_>, derived: Derived) -> Result<Self, Mistyped> {
        Ok(Self {
            wsgi_app: values.field("wsgi_app")?,
            config: values.field("config")?,
            pythonpath: values.field("pythonpath")?,
            raw_env: values.field("raw_env")?,
            root_path: values.field("root_path")?,
            preload_app: values.field("preload_app")?,
            fork_safety: values.field("fork_safety")?,
            refork_after_requests: values.field("refork_after_requests")?,
            bind: values.field("bind")?,
            backlog: values.field("backlog")?,
            workers: values.field("workers")?,
            worker_class_spec: values.field("worker_class")?,
            threads: values.field("threads")?,
            worker_connections: values.field("worker_connections")?,
            max_requests: values.field("max_requests")?,
            max_requests_jitter: values.field("max_requests_jitter")?,
            max_worker_age: values.field("max_worker_age")?,
            max_worker_age_jitter: values.field("max_worker_age_jitter")?,
            worker_max_fds: values.field("worker_max_fds")?,
            worker_max_rss: values.field("worker_max_rss")?,
            worker_max_rss_hard: values.field("worker_max_rss_hard")?,
            worker_max_pss: values.field("worker_max_pss")?,
            worker_max_pss_hard: values.field("worker_max_pss_hard")?,
            timeout: values.field("timeout")?,
            request_timeout: values.field("request_timeout")?,
            request_timeout_paths: values.field("request_timeout_paths")?,
            timeout_only_if_queued: values.field("timeout_only_if_queued")?,
            deadlock_timeout: values.field("deadlock_timeout")?,
            graceful_timeout: values.field("graceful_timeout")?,
            max_boot_time: values.field("max_boot_time")?,
            drain_delay_s: values.field("drain_delay_s")?,
            upgrade_drains: values.field("upgrade_drains")?,
            asgi_loop: values.field("asgi_loop")?,
            asgi_lifespan: values.field("asgi_lifespan")?,
            asgi_disconnect_grace_period: values.field("asgi_disconnect_grace_period")?,
            spew: values.field("spew")?,
            reload: values.field("reload")?,
            reload_engine: values.field("reload_engine")?,
            reload_extra_files: values.field("reload_extra_files")?,
            check_config: values.field("check_config")?,
            print_config: values.field("print_config")?,
            warmup: values.field("warmup")?,
            warmup_timeout: values.field("warmup_timeout")?,
            warmup_host: values.field("warmup_host")?,
            reload_max_surge: values.field("reload_max_surge")?,
            reload_max_unavailable: values.field("reload_max_unavailable")?,
            reload_soak_s: values.field("reload_soak_s")?,
            reload_error_rate_max: values.field("reload_error_rate_max")?,
            queue_requests_max: values.field("queue_requests_max")?,
            queue_timeout: values.field("queue_timeout")?,
            affinity: values.field("affinity")?,
            io_threads: values.field("io_threads")?,
            keepalive: values.field("keepalive")?,
            header_read_timeout: values.field("header_read_timeout")?,
            body_read_timeout: values.field("body_read_timeout")?,
            write_timeout: values.field("write_timeout")?,
            limit_request_line: values.field("limit_request_line")?,
            limit_request_fields: values.field("limit_request_fields")?,
            limit_request_field_size: values.field("limit_request_field_size")?,
            body_buffer_max: values.field("body_buffer_max")?,
            response_spool_max: values.field("response_spool_max")?,
            response_spools_max: values.field("response_spools_max")?,
            body_size_max: values.field("body_size_max")?,
            websocket_max_message_size: values.field("websocket_max_message_size")?,
            front_memory_max: values.field("front_memory_max")?,
            connection_memory_max: values.field("connection_memory_max")?,
            forwarded_allow_ips: values.field("forwarded_allow_ips")?,
            secure_scheme_headers: values.field("secure_scheme_headers")?,
            real_ip_header: values.field("real_ip_header")?,
            forwarder_headers: values.field("forwarder_headers")?,
            header_map: values.field("header_map")?,
            proxy_protocol: values.field("proxy_protocol")?,
            proxy_allow_ips: values.field("proxy_allow_ips")?,
            permit_obsolete_folding: values.field("permit_obsolete_folding")?,
            strip_header_spaces: values.field("strip_header_spaces")?,
            permit_unconventional_http_method: values.field("permit_unconventional_http_method")?,
            permit_unconventional_http_version: values
                .field("permit_unconventional_http_version")?,
            casefold_http_method: values.field("casefold_http_method")?,
            sendfile: values.field("sendfile")?,
            tmp_upload_dir: values.field("tmp_upload_dir")?,
            accesslog: values.field("accesslog")?,
            access_log_format: values.field("access_log_format")?,
            errorlog: values.field("errorlog")?,
            loglevel: values.field("loglevel")?,
            log_format: values.field("log_format")?,
            access_log_exclude: values.field("access_log_exclude")?,
            slow_request_log: values.field("slow_request_log")?,
            slow_request_paths: values.field("slow_request_paths")?,
            route_names_max: values.field("route_names_max")?,
            metrics_routes_max: values.field("metrics_routes_max")?,
            log_routine: values.field("log_routine")?,
            log_rotate_size: values.field("log_rotate_size")?,
            log_rotate_age: values.field("log_rotate_age")?,
            log_rotate_keep: values.field("log_rotate_keep")?,
            log_rotate_compress: values.field("log_rotate_compress")?,
            capture_output: values.field("capture_output")?,
            logger_class: values.field("logger_class")?,
            logconfig: values.field("logconfig")?,
            logconfig_dict: values.field("logconfig_dict")?,
            logconfig_json: values.field("logconfig_json")?,
            syslog: values.field("syslog")?,
            syslog_addr: values.field("syslog_addr")?,
            syslog_prefix: values.field("syslog_prefix")?,
            syslog_facility: values.field("syslog_facility")?,
            disable_redirect_access_to_syslog: values.field("disable_redirect_access_to_syslog")?,
            statsd_host: values.field("statsd_host")?,
            statsd_prefix: values.field("statsd_prefix")?,
            dogstatsd_tags: values.field("dogstatsd_tags")?,
            enable_backlog_metric: values.field("enable_backlog_metric")?,
            request_id: values.field("request_id")?,
            request_id_header: values.field("request_id_header")?,
            tracing: values.field("tracing")?,
            trace_sample: values.field("trace_sample")?,
            otlp_endpoint: values.field("otlp_endpoint")?,
            otlp_headers: values.field("otlp_headers")?,
            otlp_interval: values.field("otlp_interval")?,
            alert_log: values.field("alert_log")?,
            alert_exec: values.field("alert_exec")?,
            alert_exec_timeout: values.field("alert_exec_timeout")?,
            alert_webhook: values.field("alert_webhook")?,
            alert_webhook_format: values.field("alert_webhook_format")?,
            alert_webhook_headers: values.field("alert_webhook_headers")?,
            alert_webhook_ca: values.field("alert_webhook_ca")?,
            alert_webhook_timeout: values.field("alert_webhook_timeout")?,
            alert_rules: values.field("alert_rules")?,
            alert_repeat: values.field("alert_repeat")?,
            app_metrics_max: values.field("app_metrics_max")?,
            app_metrics_series_max: values.field("app_metrics_series_max")?,
            pidfile: values.field("pidfile")?,
            proc_name: values.field("proc_name")?,
            proc_title_prefix: values.field("proc_title_prefix")?,
            default_proc_name: values.field("default_proc_name")?,
            daemon: values.field("daemon")?,
            enable_stdio_inheritance: values.field("enable_stdio_inheritance")?,
            user: values.field("user")?,
            group: values.field("group")?,
            initgroups: values.field("initgroups")?,
            umask: values.field("umask")?,
            worker_rlimits: values.field("worker_rlimits")?,
            worker_nice: values.field("worker_nice")?,
            worker_oom_score_adj: values.field("worker_oom_score_adj")?,
            worker_no_new_privs: values.field("worker_no_new_privs")?,
            worker_memory_high: values.field("worker_memory_high")?,
            worker_memory_max: values.field("worker_memory_max")?,
            worker_cpu_weight: values.field("worker_cpu_weight")?,
            worker_cgroup_required: values.field("worker_cgroup_required")?,
            reuse_port: values.field("reuse_port")?,
            liveness_path: values.field("liveness_path")?,
            readiness_path: values.field("readiness_path")?,
            metrics_path: values.field("metrics_path")?,
            metrics_allow: values.field("metrics_allow")?,
            record_redact: values.field("record_redact")?,
            control_socket: values.field("control_socket")?,
            control_socket_mode: values.field("control_socket_mode")?,
            control_socket_disable: values.field("control_socket_disable")?,
            admin_bind: values.field("admin_bind")?,
            admin_certfile: values.field("admin_certfile")?,
            admin_keyfile: values.field("admin_keyfile")?,
            admin_tokens: values.field("admin_tokens")?,
            admin_hosts: values.field("admin_hosts")?,
            paste: values.field("paste")?,
            raw_paste_global_conf: values.field("raw_paste_global_conf")?,
            certfile: values.field("certfile")?,
            keyfile: values.field("keyfile")?,
            cert_reqs: values.field("cert_reqs")?,
            ca_certs: values.field("ca_certs")?,
            http_protocols: values.field("http_protocols")?,
            http2_cleartext: values.field("http2_cleartext")?,
            http2_max_concurrent_streams: values.field("http2_max_concurrent_streams")?,
            http2_initial_window_size: values.field("http2_initial_window_size")?,
            http2_max_frame_size: values.field("http2_max_frame_size")?,
            http2_max_header_list_size: values.field("http2_max_header_list_size")?,
            chdir: derived.chdir,
            worker_class: derived.worker_class,
            workers_reason: derived.workers_reason,
            notices: derived.notices,
        })
    }

    /// The settings that differ from `other`'s and that a reload does not change.
    #[must_use]
    pub fn changed_for_next_start(&self, other: &Self) -> Vec<&'static str> {
        let same = [
            ("io_threads", self.io_threads == other.io_threads),
            ("reuse_port", self.reuse_port == other.reuse_port),
            ("certfile", self.certfile == other.certfile),
            ("keyfile", self.keyfile == other.keyfile),
            ("cert_reqs", self.cert_reqs == other.cert_reqs),
            ("ca_certs", self.ca_certs == other.ca_certs),
            ("http_protocols", self.http_protocols == other.http_protocols),
        ];
        same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()
    }
}

/// The choices of `real_ip_header`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum RealIpHeader {
    /// None: the client is the peer.
    #[serde(rename = "off")]
    Off,
    /// `X-Forwarded-For`.
    #[serde(rename = "x-forwarded-for")]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    #[serde(rename = "forwarded")]
    Forwarded,
}

impl FromValue for RealIpHeader {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        match word.as_str() {
            "off" => Some(Self::Off),
            "x-forwarded-for" => Some(Self::XForwardedFor),
            "forwarded" => Some(Self::Forwarded),
            _ => None,
        }
    }
}

impl fmt::Display for RealIpHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        })
    }
}

/// The choices of `header_map`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum HeaderMap {
    /// They are left out.
    #[serde(rename = "drop")]
    Drop,
    /// The request is answered 400.
    #[serde(rename = "refuse")]
    Refuse,
    /// They are passed on.
    #[serde(rename = "dangerous")]
    Dangerous,
}

impl FromValue for HeaderMap {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        match word.as_str() {
            "drop" => Some(Self::Drop),
            "refuse" => Some(Self::Refuse),
            "dangerous" => Some(Self::Dangerous),
            _ => None,
        }
    }
}

impl fmt::Display for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Drop => "drop",
            Self::Refuse => "refuse",
            Self::Dangerous => "dangerous",
        })
    }
}

/// The choices of `proxy_protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ProxyProtocol {
    /// None: what a connection begins with is a request.
    #[serde(rename = "off")]
    Off,
    /// Version 1, a line of text.
    #[serde(rename = "v1")]
    V1,
    /// Version 2, binary.
    #[serde(rename = "v2")]
    V2,
    /// Either version.
    #[serde(rename = "auto")]
    Auto,
}

impl FromValue for ProxyProtocol {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        match word.as_str() {
            "off" => Some(Self::Off),
            "v1" => Some(Self::V1),
            "v2" => Some(Self::V2),
            "auto" => Some(Self::Auto),
            _ => None,
        }
    }
}

impl fmt::Display for ProxyProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Auto => "auto",
        })
    }
}

/// The choices of `loglevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// Whatever helps to find a fault.
    #[serde(rename = "debug")]
    Debug,
    /// What the server does.
    #[serde(rename = "info")]
    Info,
    /// What somebody should look at.
    #[serde(rename = "warning")]
    Warning,
    /// What has failed.
    #[serde(rename = "error")]
    Error,
    /// What ends the server.
    #[serde(rename = "critical")]
    Critical,
}

impl FromValue for LogLevel {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        match word.as_str() {
            "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warning" => Some(Self::Warning),
            "error" => Some(Self::Error),
            "critical" => Some(Self::Critical),
            _ => None,
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

/// The choices of `log_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogFormat {
    /// Gunicorn's lines.
    #[serde(rename = "text")]
    Text,
    /// An object in each line.
    #[serde(rename = "json")]
    Json,
}

impl FromValue for LogFormat {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        match word.as_str() {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// The choices of `log_routine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogRoutine {
    /// Where something takes this server for Gunicorn.
    #[serde(rename = "auto")]
    Auto,
    /// Always.
    #[serde(rename = "on")]
    On,
    /// With `loglevel = debug` only.
    #[serde(rename = "off")]
    Off,
}

impl FromValue for LogRoutine {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        match word.as_str() {
            "auto" => Some(Self::Auto),
            "on" => Some(Self::On),
            "off" => Some(Self::Off),
            _ => None,
        }
    }
}

impl fmt::Display for LogRoutine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::On => "on",
            Self::Off => "off",
        })
    }
}

/// The choices of `alert_webhook_format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AlertWebhookFormat {
    /// Our own, as docs/manual/alerts.md has it.
    #[serde(rename = "json")]
    Json,
    /// `text`, as Slack and Mattermost take it.
    #[serde(rename = "slack")]
    Slack,
    /// A list for `/api/v2/alerts` of an Alertmanager, told again every minute.
    #[serde(rename = "alertmanager")]
    Alertmanager,
}

impl FromValue for AlertWebhookFormat {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        match word.as_str() {
            "json" => Some(Self::Json),
            "slack" => Some(Self::Slack),
            "alertmanager" => Some(Self::Alertmanager),
            _ => None,
        }
    }
}

impl fmt::Display for AlertWebhookFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Slack => "slack",
            Self::Alertmanager => "alertmanager",
        })
    }
}

/// The choices of `http2_cleartext`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Http2Cleartext {
    /// Not at all.
    #[serde(rename = "off")]
    Off,
    /// A trusted peer begins with it, and with nothing else.
    #[serde(rename = "prior-knowledge")]
    PriorKnowledge,
    /// By an upgrade from HTTP/1.1, which RFC 9113 has taken back: HTTP/1.1 goes on.
    #[serde(rename = "upgrade")]
    Upgrade,
    /// A trusted peer may begin with it.
    #[serde(rename = "both")]
    Both,
}

impl FromValue for Http2Cleartext {
    fn from_value(value: &Value) -> Option<Self> {
        let Value::Text(word) = value else { return None };
        match word.as_str() {
            "off" => Some(Self::Off),
            "prior-knowledge" => Some(Self::PriorKnowledge),
            "upgrade" => Some(Self::Upgrade),
            "both" => Some(Self::Both),
            _ => None,
        }
    }
}

impl fmt::Display for Http2Cleartext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "off",
            Self::PriorKnowledge => "prior-knowledge",
            Self::Upgrade => "upgrade",
            Self::Both => "both",
        })
    }
}
