//! The error log: Gunicorn's format, one write per entry, to a file or to standard error.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

use indrik_core::settings::{LogLevel, LogTarget};
use indrik_core::supervise::Level;
use parking_lot::Mutex;

/// Where entries go and which are written. Shared by all threads of the supervisor.
pub struct Log {
    state: Mutex<State>,
}

struct State {
    least: Level,
    target: LogTarget,
    file: Option<File>,
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
        let state = State { least: Level::Info, target: LogTarget::Stderr, file: None };
        Self { state: Mutex::new(state) }
    }

    /// Goes on with another target and level.
    ///
    /// # Errors
    /// When the file cannot be opened; then nothing changes.
    pub fn configure(&self, target: &LogTarget, level: LogLevel) -> io::Result<()> {
        let file = open(target)?;
        let mut state = self.state.lock();
        state.target = target.clone();
        state.file = file;
        state.least = match level {
            LogLevel::Debug => Level::Debug,
            LogLevel::Info => Level::Info,
            LogLevel::Warning => Level::Warning,
            LogLevel::Error => Level::Error,
            LogLevel::Critical => Level::Critical,
        };
        Ok(())
    }

    /// Opens the file anew, after somebody has moved it away.
    ///
    /// # Errors
    /// When it cannot be opened; then the old one is written on.
    pub fn reopen(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.file = open(&state.target)?;
        Ok(())
    }

    /// Writes one entry of level `ERROR` about this process.
    pub fn error(&self, text: &str) {
        self.write(Level::Error, text);
    }

    /// Writes one entry about this process.
    pub fn write(&self, level: Level, text: &str) {
        self.write_about(level, std::process::id(), text);
    }

    /// Writes one entry about the process `pid`. An entry that cannot be written is lost: there is
    /// nowhere to say so.
    pub fn write_about(&self, level: Level, pid: u32, text: &str) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if level < state.least {
            return;
        }
        let entry = format_entry(SystemTime::now(), level, pid, text);
        let _ = match (&mut state.file, &state.target) {
            (Some(file), _) => file.write_all(entry.as_bytes()),
            (None, LogTarget::Stdout) => io::stdout().lock().write_all(entry.as_bytes()),
            (None, LogTarget::Stderr | LogTarget::File(_)) => {
                io::stderr().lock().write_all(entry.as_bytes())
            }
        };
    }
}

fn open(target: &LogTarget) -> io::Result<Option<File>> {
    match target {
        LogTarget::File(path) => open_file(path).map(Some),
        LogTarget::Stdout | LogTarget::Stderr => Ok(None),
    }
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path).map_err(|error| {
        let text = format!("cannot open the log file {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

fn format_entry(now: SystemTime, level: Level, pid: u32, text: &str) -> String {
    let time = indrik_sys::clock::local(now);
    let name = match level {
        Level::Debug => "DEBUG",
        Level::Info => "INFO",
        Level::Warning => "WARNING",
        Level::Error => "ERROR",
        Level::Critical => "CRITICAL",
    };
    let (sign, offset) =
        (if time.offset_minutes < 0 { '-' } else { '+' }, time.offset_minutes.abs());
    let mut entry = String::with_capacity(text.len() + 64);
    // Writing to a string cannot fail.
    let _ = writeln!(
        entry,
        "[{:04}-{:02}-{:02} {:02}:{:02}:{:02} {sign}{:02}{:02}] [{pid}] [{name}] {text}",
        time.year,
        time.month,
        time.day,
        time.hour,
        time.minute,
        time.second,
        offset / 60,
        offset % 60,
    );
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_looks_like_gunicorns() {
        let entry = format_entry(SystemTime::now(), Level::Info, 42, "Booting worker with pid: 42");
        let (stamp, rest) = entry.split_at(27);
        assert!(stamp.starts_with("[20") && stamp.ends_with(']'), "{entry}");
        assert_eq!(rest, " [42] [INFO] Booting worker with pid: 42\n");
    }

    #[test]
    fn a_file_gets_the_entries_from_the_level_up_and_can_be_reopened() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("error.log");
        let log = Log::new();
        log.configure(&LogTarget::File(path.clone()), LogLevel::Warning).unwrap();
        log.write(Level::Info, "unheard");
        log.write(Level::Error, "heard");
        std::fs::rename(&path, directory.path().join("old.log")).unwrap();
        log.reopen().unwrap();
        log.write(Level::Critical, "after");
        let old = std::fs::read_to_string(directory.path().join("old.log")).unwrap();
        assert!(old.contains("[ERROR] heard") && !old.contains("unheard"));
        assert!(std::fs::read_to_string(&path).unwrap().contains("[CRITICAL] after"));
    }
}
