//! One moment of the server as the supervision loop knows it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use indrik_core::settings::{Config, Shown};
use serde::{Serialize, Serializer};

/// One moment of the server. What changes without the loop (requests, memory) is not in it: who shows it asks the
/// front and the kernel.
#[derive(Clone, Debug, Serialize)]
pub struct Look {
    /// When it was made, in milliseconds since 1970.
    pub at_ms: u64,
    /// When the server began.
    #[serde(skip)]
    pub began: Instant,
    /// What and where it is.
    #[serde(serialize_with = "whole")]
    pub server: Arc<ServerLook>,
    /// How it is.
    pub health: HealthLook,
    /// How many workers there are.
    pub census: CensusLook,
    /// What has been done.
    pub totals: TotalsLook,
    /// How the last reload ended.
    pub last_reload: Option<ReloadLook>,
    /// Every worker, the oldest first.
    pub workers: Vec<WorkerLook>,
    /// Starts of workers by reason.
    pub starts: BTreeMap<String, u64>,
    /// Ends of workers by reason.
    pub ends: BTreeMap<String, u64>,
    /// What operators have made of the requests that come.
    pub steering: SteeringLook,
    /// The process that has taken this one's place.
    pub handed_over_to: Option<u32>,
    /// The settings in use.
    #[serde(skip)]
    pub settings: Option<Arc<SettingsLook>>,
}

/// What and where the server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ServerLook {
    pub pid: u32,
    pub version: &'static str,
    /// As the title says it.
    pub application: String,
    pub directory: String,
    /// Where it listens, as users write it.
    pub addresses: Vec<String>,
    /// Where the admin listener does.
    pub admin: Vec<String>,
    /// In milliseconds since 1970.
    pub started_ms: u64,
}

/// How the server is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct HealthLook {
    pub state: &'static str,
    pub ready: bool,
    /// What is wrong, one line.
    pub why: String,
}

/// How many workers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct CensusLook {
    pub generation: u64,
    pub wanted: u32,
    pub ready: u32,
    pub processes: usize,
    pub reloading: bool,
    pub serving: bool,
    pub paused: bool,
    /// Workers keep failing and are tried one at a time.
    pub breaker_open: bool,
}

/// What has been done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct TotalsLook {
    pub spawned: u64,
    pub ended: u64,
    pub reloads: u64,
    pub reloads_done: u64,
    pub reloads_failed: u64,
}

/// What operators have made of the requests that come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct SteeringLook {
    /// They wait, for so many seconds at most from the moment of the look on.
    pub pause_left_s: Option<f64>,
    /// The front answers them itself.
    pub maintenance: bool,
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct ReloadLook {
    pub generation: u64,
    /// The generation that serves after it.
    pub serving: u64,
    pub failed: bool,
    pub why: String,
    /// What the log says of it.
    pub details: String,
}

/// One worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct WorkerLook {
    pub id: u64,
    pub place: u32,
    pub pid: Option<u32>,
    pub generation: u64,
    pub state: &'static str,
    pub booted: bool,
    pub aborted: bool,
    pub started_for: String,
    pub ends_for: Option<String>,
    /// When it was asked for, counted from the server's start.
    #[serde(skip)]
    pub born: Duration,
    /// When its main thread showed life last, counted so.
    #[serde(skip)]
    pub beat_at: Option<Duration>,
}

/// The settings in use, and where they are from.
#[derive(Clone, Debug)]
pub struct SettingsLook {
    /// Their values.
    pub config: Arc<Config>,
    /// The same for showing, without secrets.
    pub rows: Vec<Shown>,
}

impl Look {
    /// Before anything is known but that the process is there.
    #[must_use]
    pub fn starting(began: Instant) -> Self {
        let at_ms = unix_ms();
        let server = ServerLook {
            pid: std::process::id(),
            version: env!("CARGO_PKG_VERSION"),
            started_ms: at_ms,
            ..ServerLook::default()
        };
        Self {
            at_ms,
            began,
            server: Arc::new(server),
            health: HealthLook { state: "starting", ready: false, why: String::new() },
            census: CensusLook::default(),
            totals: TotalsLook::default(),
            last_reload: None,
            workers: Vec::new(),
            starts: BTreeMap::new(),
            ends: BTreeMap::new(),
            steering: SteeringLook::default(),
            handed_over_to: None,
            settings: None,
        }
    }
}

/// What is shared is written as if it were not.
fn whole<S: Serializer>(server: &Arc<ServerLook>, serializer: S) -> Result<S::Ok, S::Error> {
    server.serialize(serializer)
}

/// Milliseconds since 1970.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
