//! Who may: tokens, and how often somebody has tried.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indrik_core::admin::access::{Brought, Scope};
use indrik_core::admin::guesses::Guesses;
use indrik_core::admin::tokens::Tokens;
use parking_lot::Mutex;

use super::caller::Caller;
use crate::log::Log;
use crate::paths::{self, Stamp};

/// How often the file is looked at, when tokens come.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// The guard.
pub(crate) struct Guard {
    file: Mutex<File>,
    guesses: Mutex<Guesses>,
    began: Instant,
}

#[derive(Default)]
struct File {
    path: Option<PathBuf>,
    looked: Option<Instant>,
    stamp: Option<Stamp>,
    tokens: Tokens,
}

/// What became of a token that was brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) brought: Brought,
    /// The token's name.
    pub(crate) name: Option<String>,
}

impl Guard {
    pub(crate) fn new(began: Instant) -> Self {
        Self { file: Mutex::default(), guesses: Mutex::default(), began }
    }

    /// From now on tokens are in this file.
    pub(crate) fn use_file(&self, path: Option<PathBuf>, log: &Log) {
        let mut file = self.file.lock();
        if file.path != path {
            *file = File { path, ..File::default() };
        }
        file.look(log);
    }

    /// What a token is worth.
    ///
    /// # Errors
    /// How long this caller has to wait before another one is looked at.
    pub(crate) fn judge(
        &self,
        token: Option<&str>,
        caller: &Caller,
        log: &Log,
    ) -> Result<Judged, Duration> {
        let Some(token) = token else {
            return Ok(Judged { brought: Brought::Nothing, name: None });
        };
        let now = self.began.elapsed();
        if let Some(wait) = caller.ip.and_then(|ip| self.guesses.lock().wait(ip, now)) {
            return Err(wait);
        }
        let mut file = self.file.lock();
        file.look(log);
        let found = file.tokens.whose(token).map(|(name, scope)| (name.to_owned(), scope));
        drop(file);
        Ok(self.note(found, caller, now, log))
    }

    fn note(
        &self,
        found: Option<(String, Scope)>,
        caller: &Caller,
        now: Duration,
        log: &Log,
    ) -> Judged {
        let mut guesses = self.guesses.lock();
        match (found, caller.ip) {
            (Some((name, scope)), ip) => {
                ip.into_iter().for_each(|ip| guesses.right(ip));
                Judged { brought: Brought::Right(scope), name: Some(name) }
            }
            (None, ip) => {
                let tries = ip.map_or(1, |ip| guesses.wrong(ip, now));
                let text = format!("Admin: a wrong token from {caller} (try {tries})");
                log.write(indrik_core::logs::level::Level::Warning, &text);
                Judged { brought: Brought::Wrong, name: None }
            }
        }
    }
}

impl File {
    /// Reads the file if it has changed. One that cannot be read leaves nobody a token.
    fn look(&mut self, log: &Log) {
        let Some(path) = &self.path else { return };
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK_PAUSE) {
            return;
        }
        self.looked = Some(Instant::now());
        let stamp = paths::stamp(path);
        if stamp.is_some() && stamp == self.stamp {
            return;
        }
        self.stamp = stamp;
        let read = paths::read_text(path)
            .map_err(|error| error.to_string())
            .and_then(|text| Tokens::read(&text));
        self.tokens = read.unwrap_or_else(|why| {
            let path = path.display();
            log.error(&format!("admin_tokens: cannot read {path}: {why}; no token is good"));
            Tokens::default()
        });
    }
}
