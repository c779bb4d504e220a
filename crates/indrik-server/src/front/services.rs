//! What all parts of the front share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};

use super::access_log::AccessLog;
use super::account::Account;
use super::conn::reaper::Connections;
use super::conn::tls::Tls;
use super::descriptors::Descriptors;
use super::doors::Doors;
use super::events::{EventSink, FrontEvent};
use super::maintenance::Sign;
use super::metrics::Metrics;
use super::pipeline::probe::Standing;
use super::pool::Pool;
use super::recent::Recent;
use super::refusals::Refusals;
use super::response::Spools;
use super::route_names::SharedRouteNames;
use super::scraper::Scraper;
use super::settings::Settings;
use super::trail::SlowRequests;
use super::uploads::Uploads;
use crate::log::Log;
use crate::otlp::Counts;

/// What all parts of the front share.
pub(super) struct Services {
    /// Replaced by a reload; see [`Services::settings`].
    pub(super) settings: ArcSwap<Settings>,
    pub(super) standing: ArcSwap<Standing>,
    /// Who answers scrapers, once there is somebody.
    pub(super) scraper: ArcSwapOption<Scraper>,
    /// While an operator has the front answer requests itself.
    pub(super) maintenance: Sign,
    pub(super) pool: Pool,
    pub(super) connections: Connections,
    /// What the front holds of memory.
    pub(super) account: Arc<Account>,
    /// The names of the applications' routes.
    pub(super) route_names: Arc<SharedRouteNames>,
    pub(super) descriptors: Arc<Descriptors>,
    /// What responses have in files.
    pub(super) spools: Spools,
    /// What bodies of requests have in files.
    pub(super) uploads: Arc<Uploads>,
    pub(super) refusals: Refusals,
    /// The slowest and the failed requests of the last minutes.
    pub(super) recent: Recent,
    /// What the io threads count.
    pub(super) metrics: Arc<Metrics>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) access_log: AccessLog,
    pub(super) log: Arc<Log>,
    /// Requests that may become slow.
    pub(super) slow: Arc<SlowRequests>,
    /// What became of spans.
    pub(super) spans: Arc<Counts>,
    pub(super) sink: EventSink,
    /// No new connections; every response closes its connection.
    pub(super) draining: AtomicBool,
    pub(super) idle_told: AtomicBool,
}

impl Services {
    /// The settings as they are now. To be held for a moment only, not while something is waited
    /// for: a reload replaces them.
    pub(super) fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// While draining: says once that nothing is left.
    pub(super) fn tell_if_idle(&self, doors: &Doors) {
        let idle = self.is_draining()
            && doors.are_quiet()
            && self.connections.count() == 0
            && self.pool.is_idle();
        if idle && !self.idle_told.swap(true, Ordering::SeqCst) {
            (self.sink)(FrontEvent::Idle);
        }
    }
}
