//! The logs, as far as the loop has to do with them: their settings, rotation, entries for a Python
//! logger, and the metrics about the server itself.

use std::io;
use std::time::{Duration, Instant, UNIX_EPOCH};

use indrik_core::ids::Generation;
use indrik_core::logs::level::Level;
use indrik_core::logs::metric::Value;
use indrik_core::settings::Config;
use indrik_core::supervise::Tally;

use super::parts::{Drive, Timer};
use crate::log::Entry;
use crate::zygote::{LostMetric, Request, Zygote};

/// How often the number of waiting requests is sent, if it is wanted.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(1);
/// A longer entry is cut before it goes to the zygote: a message holds 64 KiB, and escapes make
/// text longer.
const ENTRY_BYTES_MAX: usize = 10_000;

/// Remarks of workers that are remembered, so as not to be written again.
const TOLD_NOTICES_MAX: usize = 64;

impl Drive {
    /// Opens the logs of a configuration.
    ///
    /// # Errors
    /// When a file cannot be opened; then nothing changes.
    pub(super) fn open_logs(&mut self, config: &Config) -> io::Result<()> {
        self.log.configure(config, self.launch.is_stand_in(), &self.sources.bell)?;
        self.timers.set(Timer::Backlog, config.enable_backlog_metric.then(Instant::now));
        Ok(())
    }

    /// Whether the settings of this generation ask for a Python logger.
    pub(super) fn has_python_logs(&self, generation: Generation) -> bool {
        self.generations.config(generation).is_some_and(|config| config.logs_in_python())
    }

    /// The zygote of this generation has a Python logger; from now on that one writes.
    pub(super) fn python_logs_ready(&mut self, generation: Generation) {
        if let Some(zygote) = self.children.zygotes.get_mut(&generation) {
            zygote.logs = true;
        }
        // A generation in the making writes nothing: the one that serves does.
        if generation == Generation::FIRST {
            self.logs.logging = Some(generation);
        }
    }

    /// The generation that serves now also writes the logs.
    pub(super) fn move_python_logs(&mut self, generation: Generation) {
        let has_logger = self.children.zygotes.get(&generation).is_some_and(|zygote| zygote.logs);
        self.logs.logging = has_logger.then_some(generation);
    }

    /// Hands entries to the Python logger. Where there is none (any more), they are written here.
    pub(super) fn pass_entries_on(&mut self) {
        // Until the first zygote has its logger, entries wait for it.
        let Some(generation) = self.logs.logging else { return };
        while let Some(entry) = self.log.take_held() {
            let zygote = self.children.zygotes.get(&generation).filter(|zygote| zygote.logs);
            let passed = zygote.is_some_and(|zygote| pass(zygote, &entry).is_ok());
            if !passed {
                self.log.write_here(&entry);
            }
        }
    }

    /// The zygote is about to be told to leave: it gets what is there, and nothing more.
    pub(super) fn end_python_logs(&mut self, generation: Generation) {
        if self.logs.logging == Some(generation) {
            self.pass_entries_on();
        }
        if let Some(zygote) = self.children.zygotes.get_mut(&generation) {
            zygote.logs = false;
        }
    }

    /// The first of its kind is logged; all are counted where they are lost.
    pub(super) fn tell_lost_metric(&self, lost: &LostMetric) {
        if self.outside.admin.board.app_metrics().is_first(&lost.reason) {
            self.log.write(Level::Warning, &lost.text);
        }
    }

    /// Writes remarks that every worker and every generation may make again.
    pub(super) fn tell_once(&mut self, notices: Vec<String>) {
        for notice in notices {
            if self.logs.told.contains(&notice) {
                continue;
            }
            self.log.write(Level::Warning, &notice);
            self.logs.told.push_back(notice);
            if self.logs.told.len() > TOLD_NOTICES_MAX {
                self.logs.told.pop_front();
            }
        }
    }

    /// Says how many workers there are, when that has changed.
    pub(super) fn count_workers(&mut self) {
        let workers = self.machine.census().processes;
        if std::mem::replace(&mut self.logs.workers, workers) != workers {
            self.log.write(Level::Debug, &format!("{workers} workers"));
            self.send_metric("gunicorn.workers", "gauge", Value::Gauge(workers as u64));
        }
    }

    /// Says how many requests wait, once a second.
    pub(super) fn measure_backlog(&mut self) {
        self.timers.set(Timer::Backlog, Some(Instant::now() + BACKLOG_INTERVAL));
        let Some(front) = &self.front else { return };
        let waiting = front.stats().waiting as u64;
        self.send_metric("gunicorn.backlog", "histogram", Value::Sample(waiting));
    }

    /// Tells the metrics that a worker has started or ended.
    pub(super) fn count(&self, tally: Tally) {
        self.send_metric(&tally.metric(), "counter", Value::Count(1));
    }

    fn send_metric(&self, name: &str, kind: &str, value: Value) {
        let zygote =
            self.logs.logging.and_then(|generation| self.children.zygotes.get(&generation));
        match (zygote, value) {
            (Some(zygote), Value::Gauge(value) | Value::Sample(value) | Value::Count(value)) => {
                // One that does not read loses a number.
                let _ = zygote.send(&Request::Metric { name, kind, value }, &[]);
            }
            _ => self.log.metric(name, value),
        }
    }
}

/// Not as other requests: what a zygote that has gone does not get must be written by somebody else.
fn pass(zygote: &Zygote, entry: &Entry) -> io::Result<()> {
    let text = serde_json::to_vec(&request(entry))?;
    zygote.socket.send(&text, &[])
}

fn request(entry: &Entry) -> Request<'_> {
    let mut end = entry.text.len().min(ENTRY_BYTES_MAX);
    while !entry.text.is_char_boundary(end) {
        end -= 1;
    }
    Request::Log {
        level: entry.level.name(),
        pid: entry.pid,
        time: entry.at.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        text: &entry.text[..end],
    }
}
