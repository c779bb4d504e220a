//! The history as threads share it, and as a successor inherits it.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use bytes::Bytes;
use indrik_core::history::{History, Page, SAVED_BYTES_MAX, Share, Span};
use indrik_core::logs::level::Level;
use parking_lot::Mutex;
use rustix::fs::{FileType, MemfdFlags, fstat, memfd_create};
use serde::Serialize;
use tokio::sync::watch;

use crate::boot::HISTORY_VARIABLE;
use crate::log::Log;

/// What is remembered, and the newest frame for those who look.
pub(crate) struct Remembered {
    history: Mutex<History>,
    frame: watch::Sender<Bytes>,
    summary: Mutex<Summary>,
}

/// How requests went in the last minutes, for those who ask in words.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Summary {
    /// 95 of 100 requests of the last second took no longer, in seconds; none came: nothing.
    pub(crate) p95_s: Option<f32>,
    /// The routes with the largest shares of the time.
    pub(crate) routes: Vec<Share>,
}

impl Remembered {
    /// What the server before this one has left, or nothing. Read once: the descriptor is gone after that.
    pub(crate) fn inherit(log: &Log) -> Arc<Self> {
        let history = match inherited() {
            None => History::default(),
            Some(Ok(history)) => history,
            Some(Err(why)) => {
                let text = format!(
                    "the history of the old server cannot be read: {why}; a new one begins"
                );
                log.write(Level::Warning, &text);
                History::default()
            }
        };
        Arc::new(Self::of(history))
    }

    fn of(history: History) -> Self {
        let frame = watch::Sender::new(Bytes::new());
        Self { history: Mutex::new(history), frame, summary: Mutex::default() }
    }

    /// How requests went in the last minutes.
    pub(crate) fn summary(&self) -> Summary {
        self.summary.lock().clone()
    }

    pub(super) fn sum_up(&self, summary: Summary) {
        *self.summary.lock() = summary;
    }

    /// All of it in a file without a name, for the successor.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub(crate) fn leave(&self) -> io::Result<OwnedFd> {
        let bytes = self.history.lock().save();
        let file = memfd_create("indrik-history", MemfdFlags::CLOEXEC)?;
        let mut file = File::from(file);
        file.write_all(&bytes)?;
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
        Ok(file.into())
    }

    /// The past, for a browser.
    pub(crate) fn page(&self, span: Span, now_ms: u64) -> Page {
        self.history.lock().page(span, now_ms)
    }

    /// Hears of each new frame.
    pub(crate) fn frames(&self) -> watch::Receiver<Bytes> {
        self.frame.subscribe()
    }

    /// Somebody looks.
    pub(super) fn is_watched(&self) -> bool {
        self.frame.receiver_count() > 0
    }

    pub(super) fn show(&self, frame: Bytes) {
        self.frame.send_replace(frame);
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut History) -> T) -> T {
        change(&mut self.history.lock())
    }
}

impl std::fmt::Debug for Remembered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Remembered")
    }
}

/// `None`: nothing was left.
fn inherited() -> Option<Result<History, String>> {
    let number = std::env::var(HISTORY_VARIABLE).ok()?;
    let number = number.trim().parse().map_err(|_| format!("{HISTORY_VARIABLE} is no number"));
    Some(number.and_then(read))
}

fn read(number: i32) -> Result<History, String> {
    let wrong = |error: io::Error| error.to_string();
    let file = indrik_sys::process::inherited_alone(number).map_err(wrong)?;
    let about = fstat(file.as_fd()).map_err(|error| error.to_string())?;
    // Anything else could make this server wait.
    if FileType::from_raw_mode(about.st_mode) != FileType::RegularFile {
        return Err("it is no file".to_owned());
    }
    let mut bytes = Vec::new();
    let most = SAVED_BYTES_MAX as u64;
    File::from(file).take(most + 1).read_to_end(&mut bytes).map_err(wrong)?;
    if bytes.len() > SAVED_BYTES_MAX {
        return Err(format!("it has more than {SAVED_BYTES_MAX} bytes"));
    }
    History::restore(&bytes)
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd as _;

    use super::*;

    #[test]
    fn what_one_server_leaves_the_next_one_reads() {
        let remembered = Remembered::of(History::default());
        remembered.with(|history| history.failures_mut().count("GET /x 500", 2, 10, 1));
        let number = remembered.leave().unwrap().into_raw_fd();
        let read = read(number).unwrap();
        assert_eq!(read, *remembered.history.lock());
    }

    #[test]
    fn what_is_no_history_or_no_file_is_refused() {
        let (end, _other) = rustix::pipe::pipe().unwrap();
        assert_eq!(read(end.into_raw_fd()), Err("it is no file".to_owned()));
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"something else").unwrap();
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).unwrap();
        assert!(read(OwnedFd::from(file).into_raw_fd()).is_err());
        assert!(read(1_000_000).is_err());
    }
}
