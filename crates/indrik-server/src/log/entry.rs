//! One entry of the error log.

use std::time::SystemTime;

use indrik_core::logs::entry;
use indrik_core::supervise::Level;
use indrik_sys::clock;

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: SystemTime,
    pub(crate) level: Level,
    /// The process it is about.
    pub(crate) pid: u32,
    pub(crate) text: String,
}

impl Entry {
    pub(crate) fn now(level: Level, pid: u32, text: &str) -> Self {
        Self { at: SystemTime::now(), level, pid, text: text.to_owned() }
    }

    /// The entry as it stands in the log, with its line end.
    pub(crate) fn format(&self, as_json: bool) -> Vec<u8> {
        let time = clock::local(self.at);
        if as_json {
            entry::object(&time.iso(clock::millis(self.at)), self.level, self.pid, &self.text)
        } else {
            entry::line(&time.plain(), self.level, self.pid, &self.text)
        }
    }
}
