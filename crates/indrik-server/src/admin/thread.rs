//! The admin listener's thread.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, thread};

use arc_swap::{ArcSwap, ArcSwapOption};
use indrik_core::descriptors::TURNED_AWAY_MAX;
use indrik_core::logs::level::Level;
use indrik_core::settings::Network;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, mpsc, watch};

use super::context::{Context, LOOKS_MAX, STREAMS_KEPT, STREAMS_MAX};
use super::guard::Guard;
use super::orders::Orders;
use super::places::Places;
use super::scraped::scraped;
use super::serve::accept;
use crate::front::{AdminTls, CERTIFICATE_LOOK_INTERVAL, Listener, Scraper};
use crate::history::{Remembered, Sampler, Summary};
use crate::log::Log;
use crate::look::Board;

/// Threads that read what takes its time; scrapes wait for each other there, and nobody else does.
const READERS_MAX: usize = 2;

/// The running listener. Its thread lives as long as the process.
pub(crate) struct Admin {
    doors: mpsc::UnboundedSender<Vec<Listener>>,
    context: Arc<Context>,
}

/// What of the settings holds for those who ask.
pub(crate) struct Rules {
    /// Names that `Host` may have.
    pub(crate) hosts: Vec<String>,
    /// The file of tokens.
    pub(crate) tokens: Option<PathBuf>,
    /// What is spoken on its ports; none: plain HTTP.
    pub(crate) tls: Option<AdminTls>,
    /// Who may read the application's `metrics_path` without a token.
    pub(crate) metrics_allow: Vec<Network>,
}

impl Admin {
    /// Starts the thread.
    ///
    /// # Errors
    /// When it, or what it waits with, cannot be had.
    pub(crate) fn start(
        board: &Arc<Board>,
        orders: &Arc<Orders>,
        log: &Arc<Log>,
    ) -> io::Result<Self> {
        let (doors, ordered) = mpsc::unbounded_channel();
        let remembered = Remembered::inherit(log);
        Sampler::start(board, &remembered)?;
        let context = Arc::new(Context {
            board: Arc::clone(board),
            remembered,
            orders: Arc::clone(orders),
            log: Arc::clone(log),
            hosts: ArcSwap::default(),
            guard: Guard::new(Instant::now()),
            tls: ArcSwapOption::empty(),
            metrics_allow: ArcSwap::default(),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            streams_kept: Arc::new(Semaphore::new(STREAMS_KEPT)),
            looks: Semaphore::new(LOOKS_MAX),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(READERS_MAX)
            .thread_name("indrik-look")
            .build()?;
        let shared = Arc::clone(&context);
        thread::Builder::new()
            .name("indrik-admin".to_owned())
            .spawn(move || runtime.block_on(run(ordered, shared)))?;
        Ok(Self { doors, context })
    }

    /// What is remembered, in a file without a name, for the server that takes this one's place.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn leave_history(&self) -> io::Result<OwnedFd> {
        self.context.remembered.leave()
    }

    /// From now on this holds for those who ask.
    pub(crate) fn rule(&self, rules: Rules) {
        self.context.hosts.store(Arc::new(rules.hosts));
        self.context.tls.store(rules.tls.map(Arc::new));
        self.context.metrics_allow.store(Arc::new(rules.metrics_allow));
        self.context.guard.use_file(rules.tokens, &self.context.log);
    }

    /// How requests went in the last minutes.
    pub(crate) fn summary(&self) -> Summary {
        self.context.remembered.summary()
    }

    /// Who answers scrapers on the application's addresses.
    pub(crate) fn scraper(&self) -> Scraper {
        let context = Arc::clone(&self.context);
        Arc::new(move |scrape| scraped(&context, scrape))
    }

    /// From now on connections are accepted here, and nowhere else.
    pub(crate) fn listen(&self, listeners: Vec<Listener>) {
        // The thread ends with the process only.
        let _ = self.doors.send(listeners);
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

/// Keeps the doors as they were ordered last.
async fn run(mut ordered: mpsc::UnboundedReceiver<Vec<Listener>>, context: Arc<Context>) {
    tokio::spawn(watch_certificate(Arc::clone(&context)));
    let limit = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let places = Places::new(limit);
    let farewells = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
    // Streams last: others shall find a place beside them.
    context.streams.forget_permits(STREAMS_MAX.saturating_sub(places.all() / 2));
    let mut stop = watch::Sender::new(false);
    while let Some(listeners) = ordered.recv().await {
        stop.send_replace(true);
        stop = watch::Sender::new(false);
        for listener in listeners {
            let (context, places) = (Arc::clone(&context), places.clone());
            let farewells = Arc::clone(&farewells);
            tokio::spawn(accept(listener, context, places, farewells, stop.subscribe()));
        }
    }
}

/// Takes a renewed certificate into use.
async fn watch_certificate(context: Arc<Context>) {
    loop {
        tokio::time::sleep(CERTIFICATE_LOOK_INTERVAL).await;
        let Some(tls) = context.tls.load_full() else { continue };
        // A disk, perhaps a remote one: nobody waits for it.
        match tokio::task::spawn_blocking(move || tls.look_again()).await {
            Ok(Ok(true)) => {
                context.log.write(Level::Info, "Admin: the new certificate is in use");
            }
            Ok(Err(error)) => {
                context.log.error(&format!("{error}; the old certificate stays in use"));
            }
            Ok(Ok(false)) | Err(_) => {}
        }
    }
}
