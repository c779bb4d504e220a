//! The thread: looks once a second at what a scraper would get, and tells what has begun and what is over.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use indrik_core::alerts::{Active, Counted, Message, Moment, Server, Watch, What, test};
use indrik_core::metrics::Family;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant as At, sleep_until};

use super::kept::Kept;
use super::plan::Plan;
use super::shown::{State, Tested};
use super::told::Sinks;
use crate::log::Log;
use crate::look::{Board, Look, unix_ms};
use crate::metrics;
use crate::post::host;

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Disks are looked at every so many looks: one that does not answer takes its time.
const DISKS_EVERY: u32 = 10;
/// An Alertmanager is told what goes on every so many looks.
const REFRESH_EVERY: u32 = 60;
/// Names that are looked up at a time.
const LOOKUPS_MAX: usize = 4;
/// Tests that wait.
const TESTS_WAITING_MAX: usize = 4;

/// Gets what became of a test.
pub(crate) type Answer = Box<dyn FnOnce(Result<Tested, String>) + Send>;

/// The thread's handle. It lives as long as the process.
pub(crate) struct Watcher {
    plans: watch::Sender<Option<Plan>>,
    tests: mpsc::Sender<Answer>,
    kept: Arc<Kept>,
}

impl Watcher {
    /// Begins. Nothing is told before the server has been ready once: until then the one before it tells, if there is one.
    ///
    /// # Errors
    /// When the thread, or what it waits with, cannot be had.
    pub(crate) fn start(plan: Plan, log: &Arc<Log>, board: &Arc<Board>) -> io::Result<Self> {
        let (plans, ordered) = watch::channel(Some(plan));
        let (tests, asked) = mpsc::channel(TESTS_WAITING_MAX);
        let kept = Arc::new(Kept::open()?);
        let mut watching = Watching {
            watch: Watch::new(host()),
            sinks: None,
            kept: Arc::clone(&kept),
            log: Arc::clone(log),
            board: Arc::clone(board),
            began: Instant::now(),
            looks: 0,
            disks: Vec::new(),
            has_served: false,
            is_ours: false,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUPS_MAX)
            .thread_name("indrik-alert-names")
            .build()?;
        thread::Builder::new()
            .name("indrik-alerts".to_owned())
            .spawn(move || runtime.block_on(watching.run(ordered, asked)))?;
        Ok(Self { plans, tests, kept })
    }

    /// From now on this holds.
    pub(crate) fn follow(&self, plan: Option<Plan>) {
        self.plans.send_if_modified(|before| {
            let changes = *before != plan;
            *before = plan;
            changes
        });
    }

    /// Sends a test through each sink.
    ///
    /// # Errors
    /// When that cannot be done now; the answer is never given then.
    pub(crate) fn test(&self, answer: Answer) -> Result<(), String> {
        let full = |_| "other tests are under way".to_owned();
        self.tests.try_send(answer).map_err(full)
    }

    /// What has been told, for the server that takes this one's place.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(crate) fn leave(&self) -> io::Result<OwnedFd> {
        self.kept.share()
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}

/// What the thread has.
struct Watching {
    watch: Watch,
    /// `None`: nothing is watched.
    sinks: Option<Sinks>,
    kept: Arc<Kept>,
    log: Arc<Log>,
    board: Arc<Board>,
    began: Instant,
    looks: u32,
    /// As they were last seen.
    disks: Vec<Family>,
    /// It has been ready once.
    has_served: bool,
    /// It is this server that tells.
    is_ours: bool,
}

impl Watching {
    async fn run(
        &mut self,
        mut plans: watch::Receiver<Option<Plan>>,
        mut tests: mpsc::Receiver<Answer>,
    ) {
        let first = plans.borrow_and_update().clone();
        self.follow(first);
        let mut next = At::now();
        loop {
            tokio::select! {
                changed = plans.changed() => {
                    // The handle lives as long as the process.
                    if changed.is_err() {
                        return;
                    }
                    let plan = plans.borrow_and_update().clone();
                    self.follow(plan);
                }
                Some(answer) = tests.recv() => self.test(answer),
                () = sleep_until(next) => {
                    if self.sinks.is_some() {
                        self.look();
                    }
                    // Who was stopped for long does not look several times at once.
                    next = (next + PAUSE).max(At::now());
                }
            }
        }
    }

    fn follow(&mut self, plan: Option<Plan>) {
        let (rules, repeat) =
            plan.as_ref().map(|plan| (plan.rules.clone(), plan.repeat)).unwrap_or_default();
        let sinks = plan.map(|plan| Sinks::begin(&plan, &self.log, &self.board));
        let over = self.watch.configure(rules, repeat);
        // Those who were told that it has begun are told that it is over.
        let before = std::mem::replace(&mut self.sinks, sinks);
        let look = self.board.look();
        if let Some(sinks) = before.as_ref().or(self.sinks.as_ref()).filter(|_| self.is_ours) {
            for event in over {
                sinks.tell(message(event.what, event.alert, &look));
            }
            self.kept.write(&self.watch.save());
        }
        self.show();
    }

    fn look(&mut self) {
        let look = self.board.look();
        if !self.take_over(&look) {
            return;
        }
        if self.looks.is_multiple_of(DISKS_EVERY) {
            self.disks = metrics::disks(&self.board);
        }
        self.looks = self.looks.wrapping_add(1);
        let mut families = metrics::counted(&self.board);
        families.extend(self.disks.iter().cloned());
        let moment = Moment { at: self.began.elapsed(), unix_ms: unix_ms() };
        let events = self.watch.observe(moment, Counted::of(&families));
        let Some(sinks) = &self.sinks else { return };
        let has_news = !events.is_empty();
        for event in events {
            sinks.tell(message(event.what, event.alert, &look));
        }
        if self.looks.is_multiple_of(REFRESH_EVERY) {
            sinks.refresh(&self.watch.active(), &server(&look), unix_ms());
        }
        if has_news {
            self.kept.write(&self.watch.save());
        }
        self.show();
    }

    /// Whether it is this server that tells. Whichever does from now on goes on from what the other one has told.
    fn take_over(&mut self, look: &Look) -> bool {
        let ends = matches!(look.health.state, "draining" | "stopping");
        self.has_served |= look.health.ready;
        let is_ours = look.handed_over_to.is_none() && !ends && self.has_served;
        if is_ours && !self.is_ours {
            let kept = self.kept.read();
            if !kept.is_empty()
                && let Err(why) = self.watch.restore(&kept)
            {
                let text = format!(
                    "What the old server told of alerts cannot be read: {why}; they begin anew"
                );
                self.log.error(&text);
            }
        }
        self.is_ours = is_ours;
        is_ours
    }

    fn test(&self, answer: Answer) {
        let Some(sinks) = &self.sinks else {
            return answer(Err(
                "alerts go nowhere: set alert_log, alert_exec or alert_webhook".to_owned()
            ));
        };
        let look = self.board.look();
        let outcome = sinks.test(test(server(&look), unix_ms()));
        tokio::spawn(async move { answer(Ok(outcome.await)) });
    }

    fn show(&self) {
        self.board.alerts().show(State {
            is_watched: self.sinks.is_some(),
            active: self.watch.active(),
            counts: self.watch.counts(),
        });
    }
}

fn message(what: What, alert: Active, look: &Look) -> Message {
    Message { what, alert, at_ms: unix_ms(), server: server(look) }
}

fn server(look: &Look) -> Server {
    Server {
        host: host(),
        application: look.server.application.clone(),
        pid: look.server.pid,
        version: look.server.version,
        addresses: look.server.addresses.clone(),
    }
}
