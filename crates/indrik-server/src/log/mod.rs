//! The logs: Gunicorn's lines or JSON, to files, standard streams and syslog, counted by statsd, or
//! handed to Python where a Python logger writes them.
//!
//! `entry` is what an entry of the error log looks like, `output` a file or stream, `courier` the
//! way to another process, `outlets` all that one configuration opens, `rotation` gives files other names and `packing`
//! compresses those. The access log's lines are
//! made in the front.

mod courier;
mod entry;
mod outlets;
mod output;
mod packing;
mod rotation;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use indrik_core::logs::level::Level;
use indrik_core::logs::metric::Value;
use indrik_core::logs::recent::Recent;
use indrik_core::settings::{Config, LogFormat};
use indrik_core::supervise::Ailment;
use indrik_sys::bell::Bell;
use parking_lot::Mutex;
use serde_json::{Value as Json, json};

use crate::ailing::Ailing;
use crate::look::unix_ms;

pub(crate) use entry::Entry;
pub(crate) use outlets::{Outlets, Statsd, Syslog};
pub(crate) use output::Output;
use rotation::Rotation;

/// Entries that wait for the Python logger. More are written here, so that none is lost.
const HELD_ENTRIES_MAX: usize = 1_000;

/// Where entries go and which are written. Shared by all threads of the supervisor.
pub struct Log {
    state: Mutex<Destinations>,
    ailing: Arc<Ailing>,
    rotation: Mutex<Option<Rotation>>,
}

struct Destinations {
    outlets: Outlets,
    /// Entries for the Python logger, while it is to write them.
    held: Option<VecDeque<Entry>>,
    bell: Option<Arc<Bell>>,
    /// What was written last, for whoever asks.
    recent: Recent<Entry>,
}

impl Default for Log {
    fn default() -> Self {
        Self::new()
    }
}

impl Log {
    /// A log to standard error, for the time before the settings are known.
    #[must_use]
    pub fn new() -> Self {
        let ailing = Arc::new(Ailing::default());
        let outlets = Outlets::new(&ailing);
        Self {
            state: Mutex::new(Destinations {
                outlets,
                held: None,
                bell: None,
                recent: Recent::beginning_after(unix_ms()),
            }),
            ailing,
            rotation: Mutex::new(None),
        }
    }

    /// Goes on as `config` says. With a Python logger, entries are held from now on; `bell` is rung
    /// for each, to be taken by [`Self::take_held`]. `is_stand_in`: who started the server takes it for Gunicorn.
    ///
    /// # Errors
    /// When a file cannot be opened; then nothing changes.
    pub(crate) fn configure(
        &self,
        config: &Config,
        is_stand_in: bool,
        bell: &Arc<Bell>,
    ) -> io::Result<()> {
        let outlets = Outlets::open(config, is_stand_in, &self.ailing)?;
        let in_python = outlets.in_python;
        let mut state = self.state.lock();
        if !in_python {
            flush(&mut state, &outlets);
        }
        state.held = in_python.then(|| state.held.take().unwrap_or_default());
        state.bell = Some(Arc::clone(bell));
        self.ailing.wake(bell);
        // What the old ones have on its way is sent by their threads, which then end.
        state.outlets = outlets;
        Ok(())
    }

    /// Rotates files from now on as `config` says, and rings `bell` for [`Self::take_moved`]. Apart from
    /// [`Self::configure`], because a process that is to become a daemon must not have threads.
    pub(crate) fn rotate(&self, config: &Config, bell: &Arc<Bell>) {
        match Rotation::start(config, &self.outlets(), bell) {
            Ok(rotation) => *self.rotation.lock() = rotation,
            Err(error) => self.error(&format!("cannot rotate the logs: {error}")),
        }
    }

    /// Whether files were rotated since this was asked last: processes that write to them have to open them anew.
    pub(crate) fn take_moved(&self) -> bool {
        self.rotation.lock().as_ref().is_some_and(Rotation::take_moved)
    }

    /// Writes in this format from now on: a start may fail before the logs are opened.
    pub(crate) fn speak(&self, format: LogFormat) {
        self.state.lock().outlets.as_json = format == LogFormat::Json;
    }

    /// Something fails, and requests are served on: whoever asks how the server is shall hear of it. `why` is
    /// one line.
    pub(crate) fn ails(&self, ailment: Ailment, why: impl FnOnce() -> String) {
        self.ailing.sees(ailment, why);
    }

    /// What fails, for the loop; its bell was rung for it.
    pub(crate) fn take_ailing(&self) -> Vec<(Ailment, String)> {
        self.ailing.take()
    }

    /// What is open now.
    pub(crate) fn outlets(&self) -> Outlets {
        self.state.lock().outlets.clone()
    }

    /// Opens the files anew, after somebody has moved them away.
    ///
    /// # Errors
    /// When one cannot be opened; then the old one is written on.
    pub fn reopen(&self) -> io::Result<()> {
        self.outlets().reopen()
    }

    /// Writes one entry of level `ERROR` about this process.
    pub fn error(&self, text: &str) {
        self.write(Level::Error, text);
    }

    /// Writes one entry about this process.
    pub fn write(&self, level: Level, text: &str) {
        self.write_about(level, std::process::id(), text);
    }

    /// Writes who has changed what, whatever `loglevel` is.
    pub(crate) fn audit(&self, text: &str) {
        let entry = Entry::now(Level::Info, std::process::id(), text);
        self.write_entry(Entry { always: true, ..entry });
    }

    /// Writes one entry about the process `pid`. An entry that cannot be written is lost: there is
    /// nowhere to say so.
    pub fn write_about(&self, level: Level, pid: u32, text: &str) {
        self.write_entry(Entry::now(level, pid, text));
    }

    /// Writes one entry.
    pub(crate) fn write_entry(&self, entry: Entry) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        state.note(&entry);
        // A Python logger of that level would leave it out.
        let is_past_level = entry.always && !state.outlets.writes(entry.level);
        match &mut state.held {
            Some(held) if !is_past_level && held.len() < HELD_ENTRIES_MAX => {
                held.push_back(entry);
                if let Some(bell) = &state.bell {
                    bell.ring();
                }
            }
            Some(_) | None => state.outlets.write(&entry),
        }
    }

    /// What a worker has written to the error log itself goes to syslog and is counted as well.
    pub(crate) fn copy(&self, level: &str, pid: u32, text: &str, exception: bool) {
        let levels = [Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical];
        let level = levels.into_iter().find(|known| known.name() == level);
        let entry = Entry::now(level.unwrap_or(Level::Error), pid, text);
        let mut state = self.state.lock();
        state.outlets.copy(&entry, exception);
        state.note(&entry);
    }

    /// What was written last, from that number on, and the number of what comes next. The log itself may lie
    /// anywhere; this is what the server remembers of it.
    pub(crate) fn recent(&self, since: u64) -> Json {
        let state = self.state.lock();
        let entries = state.recent.since(since).map(|(number, entry)| {
            let mut shown = entry.shown();
            shown["number"] = number.into();
            shown
        });
        json!({"pid": std::process::id(), "entries": entries.collect::<Vec<_>>(), "next": state.recent.next()})
    }

    /// What was written after the entry with this number, each with its own, as far as it is remembered. A number that
    /// was never given is another server's: whoever brings it has seen nothing of this one.
    pub(crate) fn after(&self, number: u64) -> Vec<(u64, Entry)> {
        let state = self.state.lock();
        let since = if number >= state.recent.next() { 0 } else { number + 1 };
        state.recent.since(since).map(|(number, entry)| (number, entry.clone())).collect()
    }

    /// The number of the newest entry.
    pub(crate) fn newest(&self) -> u64 {
        self.state.lock().recent.next() - 1
    }

    /// Sends a metric, if there is somewhere to send it.
    pub(crate) fn metric(&self, name: &str, value: Value) {
        if let Some(statsd) = &self.state.lock().outlets.statsd {
            statsd.send(name, value);
        }
    }

    /// The oldest entry that waits for the Python logger.
    pub(crate) fn take_held(&self) -> Option<Entry> {
        self.state.lock().held.as_mut()?.pop_front()
    }

    /// Writes an entry here, although a Python logger should.
    pub(crate) fn write_here(&self, entry: &Entry) {
        self.state.lock().outlets.write(entry);
    }

    /// There is no Python logger any more: what it did not get is written here.
    pub(crate) fn stop_holding(&self) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let outlets = state.outlets.clone();
        flush(state, &outlets);
        state.held = None;
    }

    /// The end: sends what is on its way.
    pub(crate) fn close(&self) {
        self.stop_holding();
        self.outlets().close();
    }
}

impl Destinations {
    /// Remembers an entry that is written.
    fn note(&mut self, entry: &Entry) {
        if self.outlets.takes(entry) {
            self.recent.push(entry.clone(), entry.bytes());
        }
    }
}

fn flush(state: &mut Destinations, outlets: &Outlets) {
    for entry in state.held.iter_mut().flat_map(|held| held.drain(..)) {
        outlets.write(&entry);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn who_has_changed_what_is_kept_whatever_the_level_is() {
        let outlets = Log::new().outlets();
        let entry = Entry::now(Level::Debug, 42, "Admin: x");
        assert!(!outlets.takes(&entry));
        assert!(outlets.takes(&Entry { always: true, ..entry }));
    }

    #[test]
    fn an_entry_looks_like_gunicorns() {
        let entry = Entry::now(Level::Info, 42, "Booting worker with pid: 42\u{1b}");
        let line = String::from_utf8(entry.format(false)).unwrap();
        let (stamp, rest) = line.split_at(27);
        assert!(stamp.starts_with("[20") && stamp.ends_with(']'), "{line}");
        assert_eq!(rest, " [42] [INFO] Booting worker with pid: 42\\x1b\n");
    }

    #[test]
    fn an_entry_in_json_is_one_line() {
        let entry = Entry {
            at: SystemTime::UNIX_EPOCH,
            level: Level::Error,
            pid: 7,
            text: "it \"failed\"\nTraceback:\n  x".to_owned(),
            fields: vec![
                ("reason", "crash:SIGSEGV".to_owned().into()),
                ("requests", 3.into()),
                ("uptime_s", std::time::Duration::from_millis(12_345).into()),
            ],
            always: false,
        };
        let line = String::from_utf8(entry.format(true)).unwrap();
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(line.matches('\n').count(), 1);
        assert!(json["time"].as_str().unwrap().contains(".000"));
        assert_eq!((&json["level"], &json["pid"]), (&"ERROR".into(), &7.into()));
        assert_eq!(json["message"], "it \"failed\"");
        assert_eq!(json["details"], "Traceback:\n  x");
        assert_eq!(json["reason"], "crash:SIGSEGV");
        assert_eq!((&json["requests"], &json["uptime_s"]), (&3.into(), &12.345.into()));
    }
}
