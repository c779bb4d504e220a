//! Where lines go: a file that can be opened anew, or a standard stream.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};

use indrik_core::settings::LogTarget;
use parking_lot::Mutex;

/// An open log, shared by all threads.
#[derive(Debug)]
pub(crate) struct Output {
    target: LogTarget,
    file: Mutex<Option<File>>,
}

impl Output {
    /// Opens the target. `what` names the log in the error.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub(crate) fn open(what: &str, target: &LogTarget) -> io::Result<Self> {
        let file = open(target).map_err(|error| {
            let text = format!("cannot open the {what} {target}: {}", reason(&error));
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self { target: target.clone(), file: Mutex::new(file) })
    }

    /// Standard error.
    pub(crate) const fn stderr() -> Self {
        Self { target: LogTarget::Stderr, file: Mutex::new(None) }
    }

    /// Opens the file anew, after somebody has moved it away.
    ///
    /// # Errors
    /// When it cannot be opened; then the old one is written on.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let file = open(&self.target).map_err(|error| {
            let text = format!("cannot reopen the log {}: {}", self.target, reason(&error));
            io::Error::new(error.kind(), text)
        })?;
        *self.file.lock() = file;
        Ok(())
    }

    /// Writes whole lines at once. What cannot be written is lost: there is nowhere to say so, and
    /// a full disk must not stop the service.
    pub(crate) fn write(&self, lines: &[u8]) {
        let mut file = self.file.lock();
        let _ = match (&mut *file, &self.target) {
            (Some(file), _) => file.write_all(lines),
            (None, LogTarget::Stdout) => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines).and_then(|()| stdout.flush())
            }
            (None, LogTarget::Stderr | LogTarget::File(_)) => io::stderr().lock().write_all(lines),
        };
    }
}

fn open(target: &LogTarget) -> io::Result<Option<File>> {
    let LogTarget::File(path) = target else { return Ok(None) };
    OpenOptions::new().append(true).create(true).open(path).map(Some)
}

/// What the system says, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}
