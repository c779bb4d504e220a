//! What has happened to the server: a bounded list of what an operator would mark on a chart.
//!
//! It tells of decisions and ends, not of requests: deploys, scalings, recyclings, crashes. The oldest entries go.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use crate::logs::escape::is_active;
use crate::supervise::{EndReason, HealthState};

/// Entries that are kept.
pub const ENTRIES_MAX: usize = 1024;
/// Entries that keep the requests of a worker that ended; older ones forget them.
pub const WITH_REQUESTS_MAX: usize = 16;
/// Requests that such an entry names.
pub const REQUESTS_MAX: usize = 8;
/// Characters of an entry's text, and of a request's.
pub const TEXT_CHARS_MAX: usize = 400;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The server began.
    Start,
    /// A generation took over.
    Deploy,
    /// A generation was given up; the one before serves on.
    ReloadFailed,
    /// Another number of workers is wanted.
    Scale,
    /// A worker was replaced because its time had come.
    Recycle,
    /// A worker ended that nobody wanted to end.
    Crash,
    /// Workers keep failing and are tried one at a time, or that is over.
    Breaker,
    /// The server became well or unwell.
    Health,
    /// New requests are held, or new connections are left where they are; or that is over.
    Pause,
    /// Clients see the page of maintenance, or that is over.
    Maintenance,
    /// Settings were changed by hand.
    Setting,
    /// Somebody changed something over the admin listener.
    Operator,
    /// A number passed a threshold, or came back.
    Alert,
    /// Another server takes this one's place.
    Upgrade,
    /// The server ends.
    ShutDown,
}

impl Kind {
    /// The word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Deploy => "deploy",
            Self::ReloadFailed => "reload_failed",
            Self::Scale => "scale",
            Self::Recycle => "recycle",
            Self::Crash => "crash",
            Self::Breaker => "breaker",
            Self::Health => "health",
            Self::Pause => "pause",
            Self::Maintenance => "maintenance",
            Self::Setting => "setting",
            Self::Operator => "operator",
            Self::Alert => "alert",
            Self::Upgrade => "upgrade",
            Self::ShutDown => "shut_down",
        }
    }
}

/// Something that happened, before it has its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// What kind of thing.
    pub kind: Kind,
    /// What happened, one line.
    pub text: String,
    /// The worker's place, if it is about one.
    pub place: Option<u32>,
    /// Its process.
    pub pid: Option<u32>,
    /// The generation it is about.
    pub generation: Option<u64>,
    /// What the worker had when it ended and before, one line each.
    pub requests: Vec<String>,
}

impl News {
    /// What concerns the server as a whole.
    #[must_use]
    pub fn of(kind: Kind, text: impl Into<String>) -> Self {
        let text = text.into();
        Self { kind, text, place: None, pid: None, generation: None, requests: Vec::new() }
    }

    /// The same, of a generation.
    #[must_use]
    pub fn of_generation(self, generation: u64) -> Self {
        Self { generation: Some(generation), ..self }
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// Its number; they go up by one.
    pub number: u64,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// What kind of thing happened.
    pub kind: Kind,
    /// What happened, one line.
    pub text: String,
    /// The worker's place, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<u32>,
    /// Its process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// The generation it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What the worker had when it ended and before, one line each; forgotten when many workers have ended since.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<String>,
}

impl Entry {
    /// The entry for somebody who may look, and perhaps not `inside`, at what is private: who steers the server, and
    /// what its settings are.
    #[must_use]
    pub fn shown_to(self: &Arc<Self>, inside: bool) -> Arc<Self> {
        let text = match self.kind {
            Kind::Operator => "somebody asked for something: a token shows who, and for what",
            Kind::Setting => "settings were changed by hand: a token shows which",
            Kind::Start
            | Kind::Deploy
            | Kind::ReloadFailed
            | Kind::Scale
            | Kind::Recycle
            | Kind::Crash
            | Kind::Breaker
            | Kind::Health
            | Kind::Pause
            | Kind::Maintenance
            | Kind::Alert
            | Kind::Upgrade
            | Kind::ShutDown => return Arc::clone(self),
        };
        match inside {
            true => Arc::clone(self),
            false => Arc::new(Self { text: text.to_owned(), ..(**self).clone() }),
        }
    }
}

/// The list.
#[derive(Debug, Default)]
pub struct Chronicle {
    entries: VecDeque<Arc<Entry>>,
    newest: u64,
}

impl Chronicle {
    /// An empty one whose numbers follow that one. Where it is the time, no server gives a number again that one before
    /// it gave: who comes with an old one has seen nothing of this.
    #[must_use]
    pub fn beginning_after(newest: u64) -> Self {
        Self { newest, ..Self::default() }
    }

    /// Enters something; the oldest entry makes room. Returns the number of the new one.
    pub fn enter(&mut self, at_ms: u64, news: News) -> u64 {
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.pop_front();
        }
        self.newest += 1;
        let News { kind, text, place, pid, generation, requests } = news;
        let text = one_line(&text);
        if !requests.is_empty() {
            self.forget_requests();
        }
        let requests = requests.iter().take(REQUESTS_MAX).map(|it| one_line(it)).collect();
        let number = self.newest;
        self.entries.push_back(Arc::new(Entry {
            number,
            at_ms,
            kind,
            text,
            place,
            pid,
            generation,
            requests,
        }));
        number
    }

    /// Makes room for one more entry with requests.
    fn forget_requests(&mut self) {
        let with = self.entries.iter_mut().rev().filter(|entry| !entry.requests.is_empty());
        for entry in with.skip(WITH_REQUESTS_MAX - 1) {
            Arc::make_mut(entry).requests = Vec::new();
        }
    }

    /// The number of the newest entry; 0: there is none.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.newest
    }

    /// What came after the entry with this number, the oldest first. A number that was never given is another
    /// server's: whoever brings it has seen nothing of this one.
    #[must_use]
    pub fn after(&self, number: u64) -> Vec<Arc<Entry>> {
        let number = if number > self.newest { 0 } else { number };
        self.entries.iter().filter(|entry| entry.number > number).cloned().collect()
    }
}

/// The first line of a text, shortened, without what moves a terminal's cursor.
fn one_line(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default();
    let mut chars = line.chars().map(|char| if is_active(char) { ' ' } else { char });
    let mut short: String = chars.by_ref().take(TEXT_CHARS_MAX).collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// What a worker's end is called, if it is worth an entry: those that come with a reload, a scaling or the server's end
/// are told by that.
#[must_use]
pub const fn kind_of_end(reason: EndReason) -> Option<Kind> {
    match reason {
        EndReason::Reload
        | EndReason::Rollback
        | EndReason::Scale
        | EndReason::Pause
        | EndReason::ShutDown => None,
        EndReason::MaxRequests
        | EndReason::Age
        | EndReason::Memory
        | EndReason::Descriptors
        | EndReason::Replaced
        | EndReason::Restarted
        | EndReason::Refork
        | EndReason::Application
        | EndReason::Outside => Some(Kind::Recycle),
        EndReason::MemoryHard
        | EndReason::Timeout
        | EndReason::Deadlock
        | EndReason::ChannelBroken
        | EndReason::DescriptorsLost
        | EndReason::LaneCut
        | EndReason::ForkFailed
        | EndReason::ZygoteLost
        | EndReason::BootFailed
        | EndReason::BootTimeout
        | EndReason::Oom
        | EndReason::Crash(_)
        | EndReason::Exit(_) => Some(Kind::Crash),
    }
}

/// What of the server is compared from one moment to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The generation that serves.
    pub generation: u64,
    /// Workers wanted.
    pub wanted: u32,
    /// How the server is.
    pub health: HealthState,
    /// What is wrong.
    pub why: String,
    /// Workers keep failing and are tried one at a time.
    pub breaker: bool,
    /// Who has taken this server's place.
    pub successor: Option<u32>,
}

/// What has changed between two pictures, to be entered in this order.
#[must_use]
pub fn changes(before: &Picture, now: &Picture) -> Vec<News> {
    let mut news = Vec::new();
    // The number that a server starts with is no change.
    if before.wanted != now.wanted && before.health != HealthState::Starting {
        let text = format!("{} workers are wanted, {} before", now.wanted, before.wanted);
        news.push(News::of(Kind::Scale, text));
    }
    if before.breaker != now.breaker {
        let text = match now.breaker {
            true => "workers keep failing and are tried one at a time",
            false => "workers do not fail any more",
        };
        news.push(News::of(Kind::Breaker, text));
    }
    if let (None, Some(pid)) = (before.successor, now.successor) {
        let text = format!("process {pid} takes this server's place");
        news.push(News::of(Kind::Upgrade, text));
    }
    if before.health != now.health {
        news.push(of_health(before.health, now));
    }
    news
}

fn of_health(before: HealthState, now: &Picture) -> News {
    let text = match now.why.is_empty() {
        true => format!("{}, {} before", now.health.word(), before.word()),
        false => format!("{}, {} before: {}", now.health.word(), before.word(), now.why),
    };
    let kind = match (before, now.health) {
        (_, HealthState::Paused) | (HealthState::Paused, HealthState::Ready) => Kind::Pause,
        (_, HealthState::Draining | HealthState::Stopping) => Kind::ShutDown,
        (_, HealthState::Starting | HealthState::Ready | HealthState::Degraded) => Kind::Health,
    };
    News::of(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_steers_and_with_what_is_for_those_who_may_look_inside() {
        let mut list = Chronicle::default();
        list.enter(
            1,
            News::of(Kind::Setting, "token deploy sets liveness_path = /x (none before)"),
        );
        list.enter(2, News::of(Kind::Operator, "token deploy asked for \"shutdown\": done"));
        list.enter(3, News::of(Kind::Crash, "worker 3 died"));
        for entry in list.after(0) {
            assert_eq!(entry.shown_to(true), entry);
            let stranger = entry.shown_to(false);
            assert!(!stranger.text.contains("deploy"), "{stranger:?}");
            assert_eq!(stranger == entry, entry.kind == Kind::Crash);
        }
    }

    fn picture() -> Picture {
        Picture {
            generation: 1,
            wanted: 2,
            health: HealthState::Ready,
            why: String::new(),
            breaker: false,
            successor: None,
        }
    }

    #[test]
    fn the_oldest_entries_make_room_and_numbers_go_on() {
        let mut chronicle = Chronicle::default();
        for at in 0..ENTRIES_MAX as u64 + 5 {
            assert_eq!(chronicle.enter(at, News::of(Kind::Scale, "x")), at + 1);
        }
        let all = chronicle.after(0);
        assert_eq!((all.len(), all[0].number), (ENTRIES_MAX, 6));
        assert_eq!(chronicle.after(chronicle.newest() - 1).len(), 1);
        assert_eq!(chronicle.after(chronicle.newest()).len(), 0);
    }

    #[test]
    fn a_number_of_another_server_means_from_the_start() {
        let mut chronicle = Chronicle::default();
        chronicle.enter(1, News::of(Kind::Start, "x"));
        assert_eq!(chronicle.after(99).len(), 1);
    }

    #[test]
    fn numbers_of_a_server_before_are_below_those_of_this_one() {
        let mut chronicle = Chronicle::beginning_after(1_000);
        for _ in 0..3 {
            chronicle.enter(1, News::of(Kind::Start, "x"));
        }
        assert_eq!(chronicle.after(2).len(), 3, "of the server before");
        assert_eq!(chronicle.after(1_001).len(), 2);
    }

    #[test]
    fn the_newest_ends_keep_their_requests_bounded_and_older_ones_forget_them() {
        let mut chronicle = Chronicle::default();
        for _ in 0..WITH_REQUESTS_MAX + 4 {
            let requests = vec!["GET /\nx".to_owned(); REQUESTS_MAX + 1];
            chronicle.enter(1, News { requests, ..News::of(Kind::Crash, "x") });
            chronicle.enter(1, News::of(Kind::Scale, "x"));
        }
        let all = chronicle.after(0);
        let with: Vec<_> = all.iter().filter(|entry| !entry.requests.is_empty()).collect();
        assert_eq!((with.len(), with[0].number), (WITH_REQUESTS_MAX, 9));
        assert_eq!(with[0].requests, vec!["GET /"; REQUESTS_MAX]);
    }

    #[test]
    fn a_text_is_one_bounded_line_without_control_characters() {
        let mut chronicle = Chronicle::default();
        chronicle.enter(1, News::of(Kind::Crash, format!("a\x1b[2J\nb{}", "c".repeat(999))));
        chronicle.enter(1, News::of(Kind::Crash, "d".repeat(999)));
        let all = chronicle.after(0);
        assert_eq!(all[0].text, "a [2J");
        assert_eq!(all[1].text.chars().count(), TEXT_CHARS_MAX + 1);
    }

    #[test]
    fn what_changed_between_two_pictures_is_told_and_nothing_else() {
        let before = picture();
        assert_eq!(changes(&before, &picture()), []);
        let now = Picture {
            wanted: 3,
            health: HealthState::Degraded,
            why: "1 of 3 workers are ready".into(),
            breaker: true,
            successor: Some(7),
            ..picture()
        };
        let kinds: Vec<Kind> = changes(&before, &now).iter().map(|news| news.kind).collect();
        assert_eq!(kinds, [Kind::Scale, Kind::Breaker, Kind::Upgrade, Kind::Health]);
        let paused = Picture { health: HealthState::Paused, ..picture() };
        assert_eq!(changes(&before, &paused)[0].kind, Kind::Pause);
        assert_eq!(changes(&paused, &before)[0].kind, Kind::Pause);
    }

    #[test]
    fn ends_that_others_tell_of_have_no_entry() {
        assert_eq!(kind_of_end(EndReason::Reload), None);
        assert_eq!(kind_of_end(EndReason::MaxRequests), Some(Kind::Recycle));
        assert_eq!(kind_of_end(EndReason::Crash(11)), Some(Kind::Crash));
    }
}
