//! Where the supervision loop hangs up what others may see.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use indrik_core::chronicle::{Chronicle, Entry, News};
use indrik_core::diagnose::Standing;
use parking_lot::Mutex;
use tokio::sync::watch;

use super::snapshot::{Look, unix_ms};
use super::turns::Turns;
use crate::alerts::Alerts;
use crate::app_metrics::AppMetrics;
use crate::front::Eye;

/// What was found longer ago says nothing of now.
const FINDINGS_AGE_MAX: Duration = Duration::from_secs(10);

/// What was found, and when.
struct Found {
    at: Instant,
    findings: Arc<Vec<Standing>>,
}

/// What the loop shows. There is one for the life of the process; it is locked for moments only.
pub struct Board {
    look: ArcSwap<Look>,
    front: ArcSwapOption<Eye>,
    app_metrics: AppMetrics,
    alerts: Arc<Alerts>,
    findings: ArcSwapOption<Found>,
    turns: Turns,
    chronicle: Mutex<Chronicle>,
    /// The number of the chronicle's newest entry.
    newest: watch::Sender<u64>,
}

impl Board {
    /// A server that begins.
    #[must_use]
    pub fn new(began: Instant) -> Arc<Self> {
        Arc::new(Self {
            look: ArcSwap::from_pointee(Look::starting(began)),
            front: ArcSwapOption::empty(),
            app_metrics: AppMetrics::default(),
            alerts: Arc::default(),
            findings: ArcSwapOption::empty(),
            turns: Turns::new(began),
            chronicle: Mutex::new(Chronicle::beginning_after(unix_ms())),
            newest: watch::Sender::new(0),
        })
    }

    /// What was hung up last.
    #[must_use]
    pub fn look(&self) -> Arc<Look> {
        self.look.load_full()
    }

    /// The front, once there is one.
    #[must_use]
    pub fn front(&self) -> Option<Arc<Eye>> {
        self.front.load_full()
    }

    /// How long the loop is busy at a stretch.
    pub(crate) const fn turns(&self) -> &Turns {
        &self.turns
    }

    /// What the application counts.
    pub(crate) const fn app_metrics(&self) -> &AppMetrics {
        &self.app_metrics
    }

    /// What has gone wrong and was told.
    pub(crate) const fn alerts(&self) -> &Arc<Alerts> {
        &self.alerts
    }

    /// What is wrong, the worst first; `None`: nobody has looked lately.
    #[must_use]
    pub fn findings(&self) -> Option<Arc<Vec<Standing>>> {
        let found = self.findings.load_full()?;
        (found.at.elapsed() <= FINDINGS_AGE_MAX).then(|| Arc::clone(&found.findings))
    }

    /// Hangs up what was found.
    pub(crate) fn tell(&self, findings: &Arc<Vec<Standing>>) {
        let found = Found { at: Instant::now(), findings: Arc::clone(findings) };
        self.findings.store(Some(Arc::new(found)));
    }

    /// What has happened after the entry with this number, the oldest first.
    #[must_use]
    pub fn after(&self, number: u64) -> Vec<Arc<Entry>> {
        self.chronicle.lock().after(number)
    }

    /// Hears of each new entry by its number.
    #[must_use]
    pub fn news(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    /// Enters something in the chronicle; from any thread.
    pub fn enter(&self, news: News) {
        let number = self.chronicle.lock().enter(unix_ms(), news);
        self.newest.send_replace(number);
    }

    /// Hangs up a new look.
    pub(crate) fn show(&self, look: Look) {
        self.look.store(Arc::new(Look { at_ms: unix_ms(), ..look }));
    }

    /// The front has begun.
    pub(crate) fn has_front(&self, front: Eye) {
        self.front.store(Some(Arc::new(front)));
    }
}
