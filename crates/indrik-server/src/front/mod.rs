//! The front: owns every connection, from accept to the last byte of the answer.
//!
//! The way of a request, in order: `accept` takes the connection; `connection` drives hyper over
//! `client_io`, which shows every byte to the framing screen first, or `http2` does so where that is
//! spoken; `request` is the request path itself, to be read top to bottom (checks, body, dispatch, response); `pool` gives it to a worker
//! and brings the events back; `response` turns them into what hyper sends.
//!
//! Threads: each of the `io_threads` runs one single-threaded tokio runtime. A connection stays on
//! its thread; a worker's responses are taken by the thread its number falls to.

mod accept;
mod access_log;
mod ahead;
mod answer;
mod check;
mod client_io;
mod clock;
mod connection;
mod doors;
mod exchange;
mod forwarding;
mod http2;
mod listener;
mod policy;
mod pool;
mod preamble;
mod probe;
mod request;
mod response;
mod runtime;
mod sweep;
mod tls;
mod upload;
mod warmup;
pub mod websocket;
mod ws_bridge;

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use indrik_core::dispatch::DispatchLimits;
use indrik_core::ids::{Generation, WorkerId};
use indrik_core::settings::Config;
use indrik_ring::ChannelLimits;

pub use listener::{Listener, Listening};
pub use pool::{Answers, Counts, Load, NewWorker, Running};
pub use probe::Standing;
pub use response::set_server_header;
pub use tls::TlsError;

use crate::log::Log;
use accept::LAST_ACCEPTS_MAX;
use doors::{Doors, Order};
use policy::Policy;
use pool::Pool;
use sweep::Connections;

/// Requests that a channel can hold at most; more `worker_connections` have no effect.
const SLOTS_MAX: u16 = 16_384;

/// What a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    /// PEP 3333.
    Wsgi,
    /// ASGI 3.
    Asgi,
}

/// What the front tells the supervisor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FrontEvent {
    /// A draining worker has nothing in flight any more.
    WorkerDrained(WorkerId),
    /// A worker has served as many requests as it may.
    WorkerUsedUp(WorkerId),
    /// A worker has served some more requests: it may have grown. See [`NewWorker::tells_served`].
    WorkerServed {
        /// Which.
        worker: WorkerId,
        /// How many since it was added.
        served: u64,
    },
    /// A request of this worker ran longer than it may; it has been answered 504. Nothing else goes
    /// on in the worker.
    RequestStuck(WorkerId),
    /// The same, but other requests go on in the worker.
    RequestHangs(WorkerId),
    /// The worker's threads are to look which requests shall stop.
    Interrupt(WorkerId),
    /// A worker wrote what cannot be into its channel; nothing of it is used any more.
    ChannelBroken(WorkerId),
    /// A worker has answered all requests of its warm-up well.
    WorkerWarm(WorkerId),
    /// A worker has not: why, in one line.
    WarmUpFailed(WorkerId, String),
    /// After [`Front::stop_accepting`]: nothing is left to do.
    Idle,
}

/// Where the front's events go; called from any thread, must not block.
pub type EventSink = Arc<dyn Fn(FrontEvent) + Send + Sync>;

/// What all parts of the front share.
struct Shared {
    /// Replaced by a reload; see [`Shared::config`].
    config: ArcSwap<Config>,
    policy: ArcSwap<Policy>,
    standing: ArcSwap<Standing>,
    pool: Pool,
    connections: Connections,
    tls: Option<Arc<tls::Tls>>,
    access_log: access_log::AccessLog,
    log: Arc<Log>,
    sink: EventSink,
    /// No new connections; every response closes its connection.
    draining: AtomicBool,
    idle_told: AtomicBool,
}

/// The running front.
pub struct Front {
    shared: Arc<Shared>,
    runtime: runtime::Threads,
}

/// A look at the front's work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FrontStats {
    pub connections: usize,
    pub waiting: usize,
    pub in_flight: usize,
    pub counts: Counts,
}

impl Front {
    /// Starts the io threads; they accept at once, and requests wait until a worker is added.
    ///
    /// # Errors
    /// When a thread or a file descriptor cannot be had.
    pub fn start(
        config: Arc<Config>,
        listeners: Vec<Listening>,
        log: Arc<Log>,
        sink: EventSink,
    ) -> io::Result<Self> {
        let other_cores = indrik_sys::cpus::available() > 1;
        let servers: Vec<_> = listeners.iter().map(|listening| listening.socket.server()).collect();
        let shared = Arc::new(Shared {
            pool: Pool::new(dispatch_limits(&config), Arc::clone(&sink), other_cores),
            connections: Connections::default(),
            tls: load_tls(&config).map_err(io::Error::other)?.map(Arc::new),
            access_log: access_log::AccessLog::new(&config, &log.outlets(), &servers),
            log,
            sink,
            draining: AtomicBool::new(false),
            idle_told: AtomicBool::new(false),
            policy: ArcSwap::from_pointee(Policy::new(&config)),
            standing: ArcSwap::default(),
            config: ArcSwap::new(config),
        });
        let runtime = runtime::Threads::start(&shared, listeners)?;
        Ok(Self { shared, runtime })
    }

    /// A worker has booted. Clients' requests come when it is opened.
    ///
    /// # Errors
    /// When its wake-up cannot be watched.
    pub fn add_worker(&self, id: WorkerId, worker: NewWorker) -> io::Result<()> {
        self.runtime.watch_worker(&self.shared, id, worker)
    }

    /// A worker is ready for clients' requests.
    pub fn open_worker(&self, id: WorkerId) {
        self.shared.pool.open(id, clock::now());
    }

    /// Sends a worker that was added the requests of its warm-up, one after the other.
    /// [`FrontEvent::WorkerWarm`] or [`FrontEvent::WarmUpFailed`] follows.
    pub fn warm_up(&self, id: WorkerId, config: &Config) {
        let warm_up = warmup::WarmUp::new(config);
        self.runtime.thread_of(id).spawn(warm_up.run(Arc::clone(&self.shared), id));
    }

    /// A worker gets no requests for now; it keeps what it has started, and may be resumed.
    pub fn hold_worker(&self, id: WorkerId) {
        self.shared.pool.hold(id, clock::now());
    }

    /// A worker that was held gets requests again.
    pub fn resume_worker(&self, id: WorkerId) {
        self.shared.pool.resume(id, clock::now());
    }

    /// Counts what the workers of a generation answer, or no more.
    pub fn begin_trial(&self, generation: Option<Generation>) {
        self.shared.pool.begin_trial(generation);
    }

    /// What the generation on trial has answered.
    #[must_use]
    pub fn trial(&self) -> Option<Answers> {
        self.shared.pool.trial()
    }

    /// A worker gets nothing new; what lies unstarted in its ring goes to others.
    /// [`FrontEvent::WorkerDrained`] follows.
    pub fn drain_worker(&self, id: WorkerId) {
        self.shared.pool.drain(id, clock::now());
    }

    /// A worker's process has ended.
    pub fn worker_gone(&self, id: WorkerId) {
        self.shared.pool.gone(id, clock::now());
    }

    /// A worker's main loop stands still: the requests it has started are answered 504.
    pub fn worker_stands_still(&self, id: WorkerId) {
        self.shared.pool.answer_timed_out(id, clock::now());
    }

    /// Stops accepting after what the kernel has accepted is taken; every response closes its
    /// connection. [`FrontEvent::Idle`] follows when nothing is left.
    pub fn stop_accepting(&self) {
        // Nobody new comes, and nobody who was accepted is to be turned away for the others.
        let limits = dispatch_limits(&self.shared.config());
        let queue_requests_max = limits.queue_requests_max.saturating_add(LAST_ACCEPTS_MAX);
        self.shared.pool.set_limits(DispatchLimits { queue_requests_max, ..limits });
        self.drain(Order::Finish);
    }

    /// Leaves new connections in the kernel's queue; every response closes its connection.
    /// [`FrontEvent::Idle`] follows when nothing is left.
    pub fn pause_accepting(&self) {
        self.drain(Order::Pause);
    }

    fn drain(&self, order: Order) {
        self.runtime.tell_doors(order);
        self.shared.idle_told.store(false, Ordering::SeqCst);
        self.shared.draining.store(true, Ordering::SeqCst);
        self.shared.connections.drain();
    }

    /// Takes connections again, after [`Front::pause_accepting`].
    pub fn resume_accepting(&self) {
        self.shared.draining.store(false, Ordering::SeqCst);
        self.runtime.tell_doors(Order::Accept);
    }

    /// Closes everything at once.
    pub fn close_now(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.runtime.tell_doors(Order::Leave);
        self.shared.connections.close_all();
    }

    /// Whether nothing is left and nothing comes in, as [`FrontEvent::Idle`] said: other orders may
    /// have been given since.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.shared.is_draining()
            && self.runtime.doors_are_quiet()
            && self.shared.connections.count() == 0
            && self.shared.pool.is_idle()
    }

    /// Goes on with the settings of a new generation: its limits and timeouts hold for requests that
    /// begin from now on, `open` is accepted from, and the sockets numbered `close` no longer.
    ///
    /// `servers`: host and port of every socket there has been, by number. The access log is what the
    /// log has open.
    pub fn reconfigure(
        &self,
        config: Arc<Config>,
        servers: &[(String, Option<u16>)],
        open: Vec<Listening>,
        close: &[u16],
    ) {
        self.shared.pool.set_limits(dispatch_limits(&config));
        self.shared.policy.store(Arc::new(Policy::new(&config)));
        self.shared.config.store(Arc::clone(&config));
        self.runtime.open_doors(&self.shared, open);
        close.iter().for_each(|number| self.runtime.close_door(*number));
        self.shared.access_log.configure(&config, &self.shared.log.outlets(), servers);
    }

    /// From now on probes are answered so.
    pub fn stand(&self, standing: Standing) {
        self.shared.standing.store(Arc::new(standing));
    }

    /// A look at the work.
    #[must_use]
    pub fn stats(&self) -> FrontStats {
        let (waiting, in_flight, counts) = self.shared.pool.stats();
        FrontStats { connections: self.shared.connections.count(), waiting, in_flight, counts }
    }

    /// The requests that the application has in a worker, the oldest first, at most `most`.
    #[must_use]
    pub fn running(&self, id: WorkerId, most: usize) -> Vec<Running> {
        self.shared.pool.running(id, most, clock::now())
    }

    /// What each worker has done and does.
    #[must_use]
    pub fn loads(&self) -> BTreeMap<WorkerId, Load> {
        self.shared.pool.loads()
    }
}

impl Shared {
    /// The settings as they are now. To be held for a moment only, not while something is waited
    /// for: a reload replaces them.
    fn config(&self) -> arc_swap::Guard<Arc<Config>> {
        self.config.load()
    }

    /// The settings as they are now, to be held as long as something takes that should not change its rules
    /// on the way.
    fn config_for_long(&self) -> Arc<Config> {
        self.config.load_full()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// While draining: says once that nothing is left.
    fn tell_if_idle(&self, doors: &Doors) {
        let idle = self.is_draining()
            && doors.are_quiet()
            && self.connections.count() == 0
            && self.pool.is_idle();
        if idle && !self.idle_told.swap(true, Ordering::SeqCst) {
            (self.sink)(FrontEvent::Idle);
        }
    }
}

/// The size of a worker's channel: room for all that it may run at once, and for what is queued
/// ahead.
#[must_use]
pub fn channel_limits(config: &Config) -> ChannelLimits {
    let capacity = config.worker_connections.max(config.threads);
    let slots = capacity.saturating_add(DispatchLimits::default().queue_ahead_requests_max);
    ChannelLimits {
        slots: u16::try_from(slots).unwrap_or(SLOTS_MAX).min(SLOTS_MAX),
        ..Default::default()
    }
}

/// Whether the front could speak TLS with these settings.
///
/// # Errors
/// When a file cannot be read, or the key does not belong to the certificate.
pub fn check_tls(config: &Config) -> Result<(), TlsError> {
    load_tls(config).map(drop)
}

fn load_tls(config: &Config) -> Result<Option<tls::Tls>, TlsError> {
    tls_files(config).map(tls::Tls::load).transpose()
}

/// Where the certificate lies, if the server speaks TLS.
fn tls_files(config: &Config) -> Option<tls::TlsFiles> {
    let certificate = config.certfile.clone()?;
    Some(tls::TlsFiles {
        key: config.keyfile.clone().unwrap_or_else(|| certificate.clone()),
        certificate,
        client_authorities: config.ca_certs.clone(),
        client_certificate: match config.cert_reqs {
            0 => tls::ClientCertificate::NotAsked,
            1 => tls::ClientCertificate::Optional,
            _ => tls::ClientCertificate::Required,
        },
        protocols: config.http_protocols.iter().map(|name| alpn_name(name)).collect(),
    })
}

/// The registered name of a version of HTTP (RFC 7301, RFC 9113) from its name in `http_protocols`.
fn alpn_name(name: &str) -> Vec<u8> {
    match name {
        "h2" => b"h2".to_vec(),
        _ => b"http/1.1".to_vec(),
    }
}

fn dispatch_limits(config: &Config) -> DispatchLimits {
    DispatchLimits {
        queue_requests_max: config.queue_requests_max,
        queue_timeout_us: micros(config.queue_timeout),
        ..DispatchLimits::default()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
