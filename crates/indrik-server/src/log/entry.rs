//! One entry of the error log.

use std::time::SystemTime;

use indrik_core::logs::entry::{self, Fields};
use indrik_core::logs::level::Level;
use indrik_sys::clock;
use serde_json::{Value as Json, json};

/// One entry.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) at: SystemTime,
    pub(crate) level: Level,
    /// The process it is about.
    pub(crate) pid: u32,
    pub(crate) text: String,
    /// Shown where entries have fields.
    pub(crate) fields: Fields,
    /// It is written whatever `loglevel` is: who has changed what must not be hidden by a change.
    pub(crate) always: bool,
}

impl Entry {
    pub(crate) fn now(level: Level, pid: u32, text: &str) -> Self {
        let (text, fields) = (text.to_owned(), Fields::new());
        Self { at: SystemTime::now(), level, pid, text, fields, always: false }
    }

    /// What it takes of memory, about.
    pub(crate) fn bytes(&self) -> usize {
        const FIELD_BYTES: usize = 64;
        self.text.len() + self.fields.len() * FIELD_BYTES + size_of::<Self>()
    }

    /// The entry as a command shows it.
    pub(crate) fn shown(&self) -> Json {
        let line = self.format(true);
        serde_json::from_slice(&line).unwrap_or_else(|_| json!({"message": self.text}))
    }

    /// The entry as it stands on a terminal.
    pub(crate) fn coloured(&self) -> Vec<u8> {
        let time = clock::local(self.at).plain();
        entry::coloured_line(&time, self.level, self.pid, &self.text)
    }

    /// The entry as it stands in the log, with its line end.
    pub(crate) fn format(&self, as_json: bool) -> Vec<u8> {
        let time = clock::local(self.at);
        if as_json {
            let stamp = time.iso(clock::millis(self.at));
            entry::object(&stamp, self.level, self.pid, &self.text, &self.fields)
        } else {
            entry::line(&time.plain(), self.level, self.pid, &self.text)
        }
    }
}
