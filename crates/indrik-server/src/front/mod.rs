//! The front: owns every connection, from accept to the last byte of the answer.
//!
//! The way of a request, in order:
//!
//! * `accept` takes the connection; `conn` has it from then on: `open` reads what comes before HTTP, `h1` drives
//!   hyper over `io`, which shows every byte to the framing screen first, `h2` does so where HTTP/2 is spoken;
//! * `pipeline` is the request path itself, to be read top to bottom: checks, the stages that the settings
//!   ask for, the body (`body`), dispatch (`call`), the answer;
//! * `pool` gives it to a worker and brings the events back to its `exchange`;
//! * `response` turns them into heads and bodies.
//!
//! What all of them share is `services`; what they know of a connection and of one request is `context`; the
//! settings they read are one value (`settings`), which a reload replaces whole.
//!
//! Threads: each of the `io_threads` runs one single-threaded tokio runtime. A connection stays on
//! its thread; a worker's responses are taken by the thread its number falls to. What workers say beside that
//! (`lane`) is heard by one more, that of the lanes.

mod accept;
mod access_log;
mod account;
mod admin_tls;
mod ahead;
mod body;
mod channel_size;
mod clock;
mod conn;
mod context;
mod descriptors;
mod doors;
mod events;
mod exchange;
mod eye;
mod holdings;
mod http2_settings;
mod lane;
mod listener;
mod maintenance;
mod metrics;
mod peer;
mod pipeline;
mod pool;
mod printable;
mod recent;
mod recording;
mod refusal;
mod refusals;
mod relief;
mod response;
mod route_names;
mod runtime;
mod scraper;
mod served;
mod services;
mod settings;
mod stats;
mod tap;
mod trail;
mod uploads;
mod warmup;
mod watching;
pub mod websocket;
mod ws;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use indrik_core::dispatch::DispatchLimits;
use indrik_core::ids::{Generation, WorkerId};
use indrik_core::lane::RouteId;
use indrik_core::logs::level::Level;
use indrik_core::record;
use indrik_core::settings::Config;

pub use account::MemoryStats;
pub(crate) use admin_tls::AdminTls;
pub use channel_size::channel_limits;
pub use conn::reaper::Flow;
pub(crate) use conn::tls::LOOK_INTERVAL as CERTIFICATE_LOOK_INTERVAL;
pub use conn::tls::TlsError;
pub use descriptors::DescriptorStats;
pub use events::{ChannelFault, EventSink, FrontEvent, Interface};
pub use eye::{Eye, IN_FLIGHT_MAX};
pub use listener::{Listener, Listening};
pub use maintenance::Maintenance;
pub use pipeline::probe::Standing;
pub use pool::{Answers, Counts, Flown, InFlight, Load, NewWorker, Running, Where};
pub use recent::Ended;
pub use response::{SpoolStats, set_server_header};
pub use scraper::{Scrape, Scraped, Scraper};
pub use stats::FrontStats;
pub use uploads::UploadStats;
pub use watching::{WATCH_COOKIE, Watch};

use crate::lane::Lanes;
use crate::log::Log;
pub use crate::otlp::SpanStats;
use accept::LAST_ACCEPTS_MAX;
use account::Account;
use clock::micros;
use conn::reaper::Connections;
use conn::tls;
use descriptors::{Descriptors, shortage};
use doors::Order;
use maintenance::Sign;
use metrics::Metrics;
use pool::Pool;
use recording::Wanted;
use route_names::SharedRouteNames;
use services::Services;
use settings::Settings;
use stats::stats;
use trail::{Marking, SlowRequests, Tracing};

/// The running front.
pub struct Front {
    services: Arc<Services>,
    runtime: runtime::Threads,
    lanes: Lanes,
}

impl Front {
    /// Starts the io threads. Connections stay in the kernel's queue until [`Front::open_doors`]; requests wait until a
    /// worker is added.
    /// `memory`: what this server may use of it, bytes.
    ///
    /// # Errors
    /// When a thread or a file descriptor cannot be had.
    pub fn start(
        config: Arc<Config>,
        listeners: Vec<Listening>,
        log: Arc<Log>,
        sink: EventSink,
        memory: Option<u64>,
    ) -> io::Result<Self> {
        let other_cores = indrik_sys::cpus::available() > 1;
        let servers: Vec<_> = listeners.iter().map(|listening| listening.socket.server()).collect();
        let descriptors = Descriptors::new(config.workers as u64);
        let pool =
            Pool::new(dispatch_limits(&config), Arc::clone(&sink), other_cores, &descriptors);
        let account = Account::new(config.front_memory_limits(memory));
        let route_names = Arc::new(SharedRouteNames::new(&account));
        let (spans, slow) = (Arc::default(), SlowRequests::new(&log, &sink));
        let tracing = Tracing::new(&config, None, &log, &spans);
        let services = Arc::new(Services {
            pool,
            connections: Connections::default(),
            descriptors,
            account,
            spools: response::Spools::default(),
            uploads: Arc::default(),
            refusals: refusals::Refusals::default(),
            recent: recent::Recent::default(),
            metrics: Metrics::new(&route_names, config.metrics_routes_max),
            tls: load_tls(&config).map_err(io::Error::other)?.map(Arc::new),
            access_log: access_log::AccessLog::new(&config, &log.outlets(), &servers, &route_names),
            route_names,
            log,
            spans,
            slow,
            sink,
            draining: AtomicBool::new(false),
            idle_told: AtomicBool::new(false),
            standing: ArcSwap::default(),
            scraper: ArcSwapOption::empty(),
            maintenance: Sign::default(),
            settings: ArcSwap::from_pointee(Settings::new(config, tracing)),
        });
        let runtime = runtime::Threads::start(&services)?;
        let lanes = Lanes::start(Arc::new(lane::Listener(Arc::clone(&services))))?;
        // What the threads have open is the front's own, and nothing is open for a client yet.
        let workers = services.settings().config.workers;
        services.descriptors.count_own(workers as u64);
        if let Some(text) = shortage(services.descriptors.share(), workers) {
            services.log.write(Level::Warning, &text);
        }
        runtime.add_doors(&services, listeners);
        Ok(Self { services, runtime, lanes })
    }

    /// There are to be so many workers: descriptors are kept for them.
    pub fn keep_descriptors_for(&self, workers: u32) {
        self.services.descriptors.keep_for(u64::from(workers));
    }

    /// A worker has booted. Clients' requests come when it is opened.
    ///
    /// # Errors
    /// When its wake-up cannot be watched.
    pub fn add_worker(&self, id: WorkerId, worker: NewWorker, lane: OwnedFd) -> io::Result<()> {
        let generation = worker.generation;
        self.runtime.watch_worker(&self.services, id, worker)?;
        self.lanes.add(generation, id, lane);
        Ok(())
    }

    /// A worker is ready for clients' requests.
    pub fn open_worker(&self, id: WorkerId) {
        self.services.pool.open(id, clock::now());
    }

    /// Sends a worker that was added the requests of its warm-up, one after the other.
    /// [`FrontEvent::WorkerWarm`] or [`FrontEvent::WarmUpFailed`] follows.
    pub fn warm_up(&self, id: WorkerId, config: &Config) {
        let warm_up = warmup::WarmUp::new(config);
        self.runtime.thread_of(id).spawn(warm_up.run(Arc::clone(&self.services), id));
    }

    /// A worker gets no requests for now; it keeps what it has started, and may be resumed.
    pub fn hold_worker(&self, id: WorkerId) {
        self.services.pool.hold(id, clock::now());
    }

    /// A worker that was held gets requests again.
    pub fn resume_worker(&self, id: WorkerId) {
        self.services.pool.resume(id, clock::now());
    }

    /// Counts what the workers of a generation answer, or no more.
    pub fn begin_trial(&self, generation: Option<Generation>) {
        self.services.pool.begin_trial(generation);
    }

    /// What the generation on trial has answered.
    #[must_use]
    pub fn trial(&self) -> Option<Answers> {
        self.services.pool.trial()
    }

    /// A worker gets nothing new; what lies unstarted in its ring goes to others.
    /// [`FrontEvent::WorkerDrained`] follows.
    pub fn drain_worker(&self, id: WorkerId) {
        self.services.pool.drain(id, clock::now());
    }

    /// A worker's process has ended. `blameless`: for none of its requests.
    pub fn worker_gone(&self, id: WorkerId, blameless: bool) {
        self.lanes.remove(id);
        self.services.pool.gone(id, blameless, clock::now());
    }

    /// Workers that run the only request they can.
    #[must_use]
    pub fn with_their_only_request(&self) -> BTreeSet<WorkerId> {
        self.services.pool.with_their_only_request()
    }

    /// A worker's main loop stands still: the requests it has started are answered 504.
    pub fn worker_stands_still(&self, id: WorkerId) {
        self.services.pool.answer_timed_out(id, clock::now());
    }

    /// Stops accepting after what the kernel has accepted is taken; every response closes its
    /// connection. [`FrontEvent::Idle`] follows when nothing is left.
    pub fn stop_accepting(&self) {
        // Nobody new comes, and nobody who was accepted is to be turned away for the others.
        let limits = dispatch_limits(&self.services.settings().config);
        let queue_requests_max = limits.queue_requests_max.saturating_add(LAST_ACCEPTS_MAX);
        self.services.pool.set_limits(DispatchLimits { queue_requests_max, ..limits });
        self.drain(Order::Finish);
    }

    /// Leaves new connections in the kernel's queue; every response closes its connection.
    /// [`FrontEvent::Idle`] follows when nothing is left.
    pub fn pause_accepting(&self) {
        self.drain(Order::Pause);
    }

    fn drain(&self, order: Order) {
        self.runtime.tell_doors(order);
        self.services.idle_told.store(false, Ordering::SeqCst);
        self.services.draining.store(true, Ordering::SeqCst);
        self.services.connections.drain();
    }

    /// Takes connections from now on; since its start it has left them in the kernel's queue.
    pub fn open_doors(&self) {
        self.runtime.tell_doors(Order::Accept);
    }

    /// Takes connections again, after [`Front::pause_accepting`].
    pub fn resume_accepting(&self) {
        self.services.draining.store(false, Ordering::SeqCst);
        self.runtime.tell_doors(Order::Accept);
    }

    /// Requests that come wait from now on, and what no worker has begun waits again.
    pub fn hold_requests(&self) {
        self.services.pool.hold_all(clock::now());
    }

    /// What waits goes to workers again.
    pub fn release_requests(&self) {
        self.services.pool.release_all(clock::now());
    }

    /// From now on requests are answered so, or by workers again.
    pub fn maintain(&self, maintenance: Option<Arc<Maintenance>>) {
        self.services.maintenance.put(maintenance);
    }

    /// Closes everything at once.
    pub fn close_now(&self) {
        self.services.draining.store(true, Ordering::SeqCst);
        self.runtime.tell_doors(Order::Leave);
        self.services.connections.close_all();
    }

    /// Whether nothing is left and nothing comes in, as [`FrontEvent::Idle`] said: other orders may
    /// have been given since.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.services.is_draining()
            && self.runtime.doors_are_quiet()
            && self.services.connections.count() == 0
            && self.services.pool.is_idle()
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
        memory: Option<u64>,
    ) {
        self.services.account.set_limits(config.front_memory_limits(memory));
        self.services.metrics.set_routes_max(config.metrics_routes_max);
        self.services.pool.set_limits(dispatch_limits(&config));
        let settings = {
            let before = self.services.settings();
            let before = before.marking.as_ref().and_then(Marking::tracing).map(|it| &**it);
            let (log, spans) = (&self.services.log, &self.services.spans);
            Settings::new(Arc::clone(&config), Tracing::new(&config, before, log, spans))
        };
        self.services.settings.store(Arc::new(settings));
        self.runtime.add_doors(&self.services, open);
        close.iter().for_each(|number| self.runtime.close_door(*number));
        self.services.access_log.configure(&config, &self.services.log.outlets(), servers);
    }

    /// From now on probes are answered so.
    pub fn stand(&self, standing: Standing) {
        self.services.standing.store(Arc::new(standing));
    }

    /// From now on scrapers at `metrics_path` are answered so.
    pub fn answer_scrapers(&self, scraper: Scraper) {
        self.services.scraper.store(Some(Arc::new(scraper)));
    }

    /// What others may see of it, without the supervision loop.
    #[must_use]
    pub fn eye(&self) -> Eye {
        Eye::new(&self.services, self.lanes.dropped())
    }

    /// A look at the work.
    #[must_use]
    pub fn stats(&self) -> FrontStats {
        let pool = self.services.pool.stats();
        stats(&self.services, pool, self.lanes.dropped().count())
    }

    /// The end: what of traces waits to be exported is, within a limit.
    pub fn close_traces(&self) {
        if let Some(tracing) = self.services.settings().marking.as_ref().and_then(Marking::tracing)
        {
            tracing.close();
        }
    }

    /// The requests that the application has in a worker, the oldest first, at most `most`.
    #[must_use]
    pub fn running(&self, id: WorkerId, most: usize) -> Vec<Running> {
        let name = |route| self.services.route_names.name(route);
        self.services.pool.running(id, most, clock::now(), name)
    }

    /// What the application calls a route, if it is known.
    #[must_use]
    pub fn route_name(&self, route: RouteId) -> Option<String> {
        self.services.route_names.name(route)
    }

    /// Requests that each worker has answered, by the number of their route.
    #[must_use]
    pub fn by_route(&self) -> BTreeMap<WorkerId, Vec<(u16, u64)>> {
        self.services.pool.by_route()
    }

    /// The request that kept a worker's event loop or the interpreter's lock for long, the last that was seen.
    #[must_use]
    pub fn blocked_by(&self, id: WorkerId) -> Option<String> {
        self.services.pool.blocked_by(id)
    }

    /// Records requests as `order` says, and sends them to `client`; `now` is shown as the time that it begins.
    ///
    /// # Errors
    /// When requests are recorded already, or there is no thread for it.
    pub fn record(
        &self,
        order: record::Order,
        client: UnixStream,
        (now, workers): (&str, u32),
    ) -> io::Result<()> {
        let recordings = &self.services.access_log.recordings;
        let secrets = self.services.settings().config.record_redact.clone();
        let wanted = Wanted { order, secrets };
        recordings.begin(wanted, client, &self.services.account, (now, workers))
    }

    /// Whether requests are recorded.
    #[must_use]
    pub fn is_recording(&self) -> bool {
        self.services.access_log.recordings.is_on()
    }

    /// The server ends, and a recording with it.
    pub fn end_recording(&self) {
        self.services.access_log.recordings.end();
    }

    /// The requests that a worker had before those, the last first, at most `most`; to be asked before it is said to
    /// be gone.
    #[must_use]
    pub fn flown(&self, id: WorkerId, most: usize) -> Vec<Flown> {
        let name = |route| self.services.route_names.name(route);
        self.services.pool.flown(id, most, name)
    }

    /// What each worker has done and does.
    #[must_use]
    pub fn loads(&self) -> BTreeMap<WorkerId, Load> {
        self.services.pool.loads()
    }
}

/// Whether the front could speak TLS with these settings.
///
/// # Errors
/// When a file cannot be read, or the key does not belong to the certificate.
pub fn check_tls(config: &Config) -> Result<(), TlsError> {
    load_tls(config).map(drop)?;
    AdminTls::load(config).map(drop)
}

fn load_tls(config: &Config) -> Result<Option<tls::Tls>, TlsError> {
    tls_files(config).map(tls::Tls::load).transpose()
}

/// Where the certificate lies, if the server speaks TLS.
fn tls_files(config: &Config) -> Option<tls::TlsFiles> {
    let certificate = config.certfile.clone()?;
    Some(tls::TlsFiles {
        settings: ["certfile", "keyfile"],
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

#[cfg(test)]
mod tests;
