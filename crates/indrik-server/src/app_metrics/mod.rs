//! The application's metrics: the tables of all processes, and the files of prometheus_client where there are some.
//!
//! The supervision loop makes a table with each process and says when that has ended; it never waits for whoever looks.
//! Looking is for any thread.

mod mirror;
mod tables;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indrik_core::app_metrics::{LOSSES, Loss};
use indrik_core::ids::{Generation, WorkerId};
use indrik_core::metrics::{Family, Label, generated as metrics};
use indrik_core::settings::Config;
use parking_lot::Mutex;

pub(crate) use tables::{Lease, Owner, PoolsOfTable};

use mirror::mirrored;
use tables::Tables;

/// Series before the settings say how many there may be.
const SERIES_MAX: usize = 10_000;

/// What names that directory; the second is the old name.
const MIRRORED: [&str; 2] = ["PROMETHEUS_MULTIPROC_DIR", "prometheus_multiproc_dir"];

/// All of it. A copy is the same.
#[derive(Clone)]
pub(crate) struct AppMetrics(Arc<Shared>);

struct Shared {
    tables: Arc<Tables>,
    mirror: Mutex<Option<PathBuf>>,
    /// Losses that were logged, one bit each.
    told: AtomicU64,
    series_max: AtomicU64,
    /// What was shown of losses: what a look finds broken may be gone at the next one, and a counter does not go down.
    shown: [AtomicU64; LOSSES.len()],
}

impl Default for AppMetrics {
    fn default() -> Self {
        Self(Arc::new(Shared {
            tables: Arc::new(Tables::new(SERIES_MAX)),
            mirror: Mutex::new(None),
            told: AtomicU64::new(0),
            series_max: AtomicU64::new(SERIES_MAX as u64),
            shown: Default::default(),
        }))
    }
}

impl AppMetrics {
    /// Makes the table of a process that is about to be started.
    ///
    /// # Errors
    /// When the system is out of memory or descriptors.
    pub(crate) fn lease(
        &self,
        owner: Owner,
        generation: Generation,
        bytes: usize,
    ) -> std::io::Result<Lease> {
        Lease::new(Arc::clone(&self.0.tables), owner, generation, bytes)
    }

    /// This generation has the server for good: it says what a metric is.
    pub(crate) fn serves(&self, generation: Generation) {
        self.0.tables.serves(generation);
    }

    /// What the settings say.
    pub(crate) fn configure(&self, config: &Config) {
        self.0.series_max.store(config.app_metrics_series_max as u64, Ordering::Relaxed);
        *self.0.mirror.lock() = mirrored_directory(config);
    }

    /// Whether this is the first loss of its kind, so that it is logged.
    pub(crate) fn is_first(&self, reason: &str) -> bool {
        let Some(at) = LOSSES.iter().position(|loss| loss.name() == reason) else { return false };
        self.0.told.fetch_or(1 << at, Ordering::Relaxed) & 1 << at == 0
    }

    /// The pools of connections of each worker.
    pub(crate) fn pools(&self) -> Vec<(WorkerId, PoolsOfTable)> {
        self.0.tables.pools()
    }

    /// What the application has counted, and what of it could not be kept.
    pub(crate) fn families(&self) -> Vec<Family> {
        let series_max = self.0.series_max.load(Ordering::Relaxed) as usize;
        let (mut families, mut lost) = self.0.tables.families(series_max);
        let directory = self.0.mirror.lock().clone();
        if let Some(directory) = directory {
            let (more, unread) = mirrored(&directory, series_max);
            lost[Loss::Corrupt as usize] += unread;
            merge(&mut families, more);
        }
        for (now, shown) in lost.iter_mut().zip(&self.0.shown) {
            *now = (*now).max(shown.fetch_max(*now, Ordering::Relaxed));
        }
        families.push(lost_family(lost));
        families
    }
}

/// Where prometheus_client keeps files, if it was told to: as the application's environment has it.
fn mirrored_directory(config: &Config) -> Option<PathBuf> {
    MIRRORED.iter().find_map(|variable| {
        let set = config.raw_env.iter().rev().find(|(name, _)| name == variable);
        let value = set.map(|(_, value)| value.into()).or_else(|| std::env::var_os(variable))?;
        Some(config.chdir.join(value))
    })
}

/// A name is shown once: what comes first wins.
fn merge(families: &mut Vec<Family>, more: Vec<Family>) {
    let names: std::collections::HashSet<_> =
        families.iter().map(|family| family.name.clone()).collect();
    families.extend(more.into_iter().filter(|family| !names.contains(&family.name)));
    families.sort_by(|a, b| a.name.cmp(&b.name));
}

fn lost_family(lost: [u64; LOSSES.len()]) -> Family {
    let lost = LOSSES.iter().zip(lost);
    metrics::APP_METRICS_LOST
        .family(lost.map(|(loss, count)| ([Label::from(loss.name())], count as f64)))
}
