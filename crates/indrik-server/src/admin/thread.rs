//! The admin listener's thread.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use std::{fmt, thread};

use arc_swap::ArcSwap;
use indrik_core::descriptors::TURNED_AWAY_MAX;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{Semaphore, mpsc, watch};

use super::context::{Context, LOOKS_MAX, STREAMS_KEPT, STREAMS_MAX};
use super::guard::Guard;
use super::orders::Orders;
use super::places::Places;
use super::serve::accept;
use crate::front::Listener;
use crate::history::{Remembered, Sampler};
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
        self.context.guard.use_file(rules.tokens, &self.context.log);
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
