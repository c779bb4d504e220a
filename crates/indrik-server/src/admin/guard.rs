//! Who may: tokens, and how often somebody has tried.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use indrik_core::admin::access::Brought;
use indrik_core::admin::guesses::Guesses;
use indrik_core::admin::tokens::Tokens;
use indrik_core::logs::burst::Burst;
use indrik_core::logs::level::Level;
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
    /// Lines about wrong ones, which strangers decide the number of.
    told: Mutex<Burst>,
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
    /// It was wrong, and so many were before that this caller has to wait so long before one counts again.
    pub(crate) wait: Option<Duration>,
}

impl Guard {
    pub(crate) fn new(began: Instant) -> Self {
        Self { file: Mutex::default(), guesses: Mutex::default(), told: Mutex::default(), began }
    }

    /// From now on tokens are in this file.
    pub(crate) fn use_file(&self, path: Option<PathBuf>, log: &Log) {
        let mut file = self.file.lock();
        if file.path != path {
            *file = File { path, ..File::default() };
        }
        file.look(log);
    }

    /// What a token is worth. One has 256 random bits, so a right one was not guessed: it is never refused for the wrong
    /// ones of others, who may share its address.
    pub(crate) fn judge(&self, token: Option<&str>, caller: &Caller, log: &Log) -> Judged {
        let Some(token) = token else {
            return Judged { brought: Brought::Nothing, name: None, wait: None };
        };
        let mut file = self.file.lock();
        file.look(log);
        let found = file.tokens.whose(token).map(|(name, scope)| (name.to_owned(), scope));
        drop(file);
        match found {
            Some((name, scope)) => {
                caller.ip.into_iter().for_each(|ip| self.guesses.lock().right(ip));
                Judged { brought: Brought::Right(scope), name: Some(name), wait: None }
            }
            None => Judged {
                brought: Brought::Wrong,
                name: None,
                wait: self.count_wrong(caller, self.began.elapsed(), log),
            },
        }
    }

    /// One more is wrong; how long this caller has to wait. While one waits, nothing is counted and nothing written.
    fn count_wrong(&self, caller: &Caller, now: Duration, log: &Log) -> Option<Duration> {
        let mut guesses = self.guesses.lock();
        if let Some(wait) = caller.ip.and_then(|ip| guesses.wait(ip, now)) {
            return Some(wait);
        }
        let tries = caller.ip.map_or(1, |ip| guesses.wrong(ip, now));
        drop(guesses);
        let now = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let mut told = self.told.lock();
        if let Some(left_out) = told.take_left_out(now) {
            let text = format!("Admin: {left_out} more wrong tokens came in a second");
            log.write(Level::Warning, &text);
        }
        if told.happens(now) {
            let text = format!("Admin: a wrong token from {caller} (try {tries})");
            log.write(Level::Warning, &text);
        }
        None
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
