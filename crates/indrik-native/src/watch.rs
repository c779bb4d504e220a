//! Watching source files for the reloader, without holding the interpreter.

use std::path::PathBuf;
use std::time::Duration;

use indrik_sys::watch::{Change, Watch};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

/// A set of files, and how they looked last. See `indrik_sys::watch`.
#[pyclass(frozen)]
pub(crate) struct FileWatch {
    watch: Watch,
}

#[pymethods]
impl FileWatch {
    /// `events`: look when the kernel tells of an event as well as every `interval` seconds.
    ///
    /// # Errors
    /// `OSError` when the kernel gives no inotify instance.
    #[new]
    fn new(events: bool, interval: f64) -> PyResult<Self> {
        let watch = Watch::new(events, seconds(interval)?)
            .map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(Self { watch })
    }

    /// Makes these the watched files; a new one among `wanted` counts as changed, except at first.
    fn update(&self, py: Python<'_>, found: Vec<PathBuf>, wanted: Vec<PathBuf>) {
        py.detach(|| self.watch.update(&found, &wanted));
    }

    /// Ends every wait, now and later.
    fn stop(&self) {
        self.watch.stop();
    }

    /// Waits at most `limit` seconds for files to change; returns path and stamp of each that did.
    ///
    /// # Errors
    /// `OSError` when waiting fails.
    fn wait(&self, py: Python<'_>, limit: f64) -> PyResult<Vec<(String, String)>> {
        let limit = seconds(limit)?;
        let changes = py.detach(|| self.watch.wait(limit));
        let changes = changes.map_err(|error| PyOSError::new_err(error.to_string()))?;
        Ok(changes.iter().map(shown).collect())
    }
}

fn shown(change: &Change) -> (String, String) {
    let stamp = change.stamp.map_or_else(
        || "gone".to_owned(),
        |(seconds, nanoseconds, size, inode)| format!("{seconds}.{nanoseconds}/{size}/{inode}"),
    );
    (change.path.to_string_lossy().into_owned(), stamp)
}

fn seconds(seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(format!("{seconds} seconds: {error}")))
}
