//! How long requests may run, and the steps that end one that runs longer.
//!
//! The steps: its client is answered and the application is told to stop; if it has not stopped after
//! [`CANCEL_GRACE_US`], its worker goes. Where other requests of the worker go on, its successor is
//! ready first; where nothing goes on there, it goes at once.

use std::time::Duration;

use crate::dispatch::Micros;
use crate::settings::read_duration;

/// What an application has to stop in, after it was told to: for `finally` and roll-backs.
pub const CANCEL_GRACE_US: Micros = 1_000_000;
/// What a worker may leave lying in its ring before its requests go to others. A loop that turns
/// looks into it thousands of times in this time.
pub const INTAKE_PAUSE_MAX_US: Micros = 100_000;
/// How often running requests are looked at, by the shortest limit: a tenth of it, in these bounds.
const LOOK_MIN: Duration = Duration::from_millis(10);
const LOOK_MAX: Duration = Duration::from_millis(100);
const LOOKS_IN_LIMIT: u32 = 10;

/// How long requests may run, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeLimits {
    /// For paths that nothing is said of; 0: no limit.
    all: Micros,
    /// Beginnings of paths, the longest first.
    paths: Vec<(String, Micros)>,
}

impl TimeLimits {
    /// `paths` as the setting `request_timeout_paths` has them; what cannot be read says nothing.
    #[must_use]
    pub fn new(all: Duration, paths: &[String]) -> Self {
        let read = paths.iter().filter_map(|text| read_path(text));
        let mut paths: Vec<_> = read.map(|(path, limit)| (path, micros(limit))).collect();
        paths.sort_by(|one, other| other.0.len().cmp(&one.0.len()).then(one.0.cmp(&other.0)));
        Self { all: micros(all), paths }
    }

    /// Whether no request has a limit.
    #[must_use]
    pub fn are_off(&self) -> bool {
        self.all == 0 && self.paths.iter().all(|(_, limit)| *limit == 0)
    }

    /// The limit of a request with this path, without its query, as the client wrote it; 0: none.
    #[must_use]
    pub fn of(&self, path: &str) -> Micros {
        let found = self.paths.iter().find(|(prefix, _)| begins_with(path, prefix));
        found.map_or(self.all, |(_, limit)| *limit)
    }

    /// How often to look at running requests; `None`: never.
    #[must_use]
    pub fn look_every(&self) -> Option<Duration> {
        let limits = self.paths.iter().map(|(_, limit)| *limit).chain([self.all]);
        let shortest = limits.filter(|limit| *limit != 0).min()?;
        let part = Duration::from_micros(shortest) / LOOKS_IN_LIMIT;
        Some(part.clamp(LOOK_MIN, LOOK_MAX))
    }
}

/// Reads `PREFIX=SECONDS`. `None`: it is nothing of that kind.
#[must_use]
pub fn read_path(text: &str) -> Option<(String, Duration)> {
    let (prefix, limit) = text.trim().rsplit_once('=')?;
    let prefix = prefix.trim();
    prefix.starts_with('/').then_some(())?;
    Some((prefix.to_owned(), read_duration(limit.trim())?))
}

fn micros(duration: Duration) -> Micros {
    Micros::try_from(duration.as_micros()).unwrap_or(Micros::MAX)
}

/// Whether a path begins with a prefix. `%61` in it is an `a`, as for the application: otherwise a
/// client could choose its limit.
fn begins_with(path: &str, prefix: &str) -> bool {
    let mut rest = path.as_bytes();
    prefix.bytes().all(|wanted| {
        let (found, len) = match rest {
            [b'%', high, low, ..] => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, 3),
                _ => (b'%', 1),
            },
            [first, ..] => (*first, 1),
            [] => return false,
        };
        rest = &rest[len..];
        found == wanted
    })
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// What is to be done about a running request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step {
    /// Nothing.
    Wait,
    /// Its time is over: its client is answered, and the application told to stop.
    Cancel,
    /// It has not stopped.
    GiveUp,
}

/// How far one request is on the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overtime {
    /// When the application was first seen to have it.
    began: Option<Micros>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Its time is not over, or its answer has begun.
    #[default]
    InTime,
    /// It was told to stop.
    Cancelled { at: Micros },
    /// It did not stop.
    GivenUp,
}

impl Overtime {
    /// A look at a request that the application has. `limit`: its own, 0 is none. `spared`: it may
    /// run longer, as nobody waits for its worker.
    pub fn look(&mut self, limit: Micros, spared: bool, now: Micros) -> Step {
        let began = *self.began.get_or_insert(now);
        match self.stage {
            Stage::InTime if limit != 0 && !spared && now.saturating_sub(began) >= limit => {
                self.stage = Stage::Cancelled { at: now };
                Step::Cancel
            }
            Stage::Cancelled { at } if now.saturating_sub(at) >= CANCEL_GRACE_US => {
                self.stage = Stage::GivenUp;
                Step::GiveUp
            }
            Stage::InTime | Stage::Cancelled { .. } | Stage::GivenUp => Step::Wait,
        }
    }

    /// Since when the application has had it, if it was seen there.
    #[must_use]
    pub const fn began(&self) -> Option<Micros> {
        self.began
    }

    /// Whether its client was answered without it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.stage != Stage::InTime
    }

    /// Whether it is not expected to end.
    #[must_use]
    pub fn is_given_up(&self) -> bool {
        self.stage == Stage::GivenUp
    }
}

/// What a request that did not stop says of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Other requests go on there: its successor is to be ready before it goes.
    Hangs,
    /// Nothing goes on there: it goes at once.
    Stuck,
}

/// `capacity`: requests that the worker runs at once. `turns`: it has taken what was sent to it since
/// the request was told to stop.
#[must_use]
pub const fn verdict(capacity: usize, turns: bool) -> Verdict {
    if capacity > 1 && turns { Verdict::Hangs } else { Verdict::Stuck }
}

/// Whether a worker takes what is sent to it, seen from how far it has come in its ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Intake {
    /// How far it was, and since when something lies there.
    waits: Option<(u64, Micros)>,
}

impl Intake {
    /// A look at the ring: descriptors ever taken, and whether that is all. True: it has left
    /// something lying there for too long.
    pub fn look(&mut self, taken: u64, is_empty: bool, now: Micros) -> bool {
        if is_empty {
            self.waits = None;
            return false;
        }
        match self.waits {
            Some((before, since)) if before == taken => {
                now.saturating_sub(since) >= INTAKE_PAUSE_MAX_US
            }
            _ => {
                self.waits = Some((taken, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(all: u64, paths: &[&str]) -> TimeLimits {
        let paths: Vec<_> = paths.iter().map(|text| (*text).to_owned()).collect();
        TimeLimits::new(Duration::from_secs(all), &paths)
    }

    #[test]
    fn the_longest_beginning_of_a_path_decides_and_zero_is_no_limit() {
        let limits = limits(10, &["/api=5s", "/api/export=0", "/api/export/small=500ms", "/x=y=2"]);
        assert_eq!(limits.of("/"), 10_000_000);
        assert_eq!(limits.of("/ap"), 10_000_000);
        assert_eq!(limits.of("/api"), 5_000_000);
        assert_eq!(limits.of("/api/exp"), 5_000_000);
        assert_eq!(limits.of("/api/export/big"), 0);
        assert_eq!(limits.of("/api/export/small/1"), 500_000);
        assert_eq!(limits.of("/x=y"), 2_000_000, "the last `=` parts the two");
    }

    #[test]
    fn a_client_cannot_choose_its_limit_by_writing_the_path_in_another_way() {
        let limits = limits(10, &["/report=1", "/%=3"]);
        assert_eq!(limits.of("/%72eport"), 1_000_000);
        assert_eq!(limits.of("/r%65Port"), 10_000_000);
        assert_eq!(limits.of("/%25"), 3_000_000);
        assert_eq!(limits.of("/%"), 3_000_000);
    }

    #[test]
    fn limits_are_off_when_every_one_is_zero() {
        assert!(limits(0, &[]).are_off());
        assert!(limits(0, &["/a=0"]).are_off());
        assert_eq!(limits(0, &["/a=0"]).look_every(), None);
        assert!(!limits(0, &["/a=1"]).are_off());
        assert_eq!(limits(0, &["/a=200ms"]).look_every(), Some(Duration::from_millis(20)));
        assert_eq!(limits(30, &[]).look_every(), Some(LOOK_MAX));
    }

    #[test]
    fn what_is_no_limit_of_a_path_is_not_read_as_one() {
        for text in ["", "/a", "a=1", "/a=", "/a=soon", "=1", "/a=-1"] {
            assert_eq!(read_path(text), None, "{text:?}");
        }
        assert_eq!(read_path(" /a = 2m "), Some(("/a".to_owned(), Duration::from_secs(120))));
    }

    #[test]
    fn a_request_is_cancelled_at_its_limit_and_given_up_after_the_grace() {
        let mut overtime = Overtime::default();
        assert_eq!(overtime.look(1_000, false, 50), Step::Wait);
        assert_eq!(overtime.look(1_000, false, 1_049), Step::Wait);
        assert!(!overtime.is_over());
        assert_eq!(overtime.look(1_000, false, 1_050), Step::Cancel);
        assert!(overtime.is_over() && !overtime.is_given_up());
        assert_eq!(overtime.look(1_000, true, 1_050 + CANCEL_GRACE_US - 1), Step::Wait);
        assert_eq!(overtime.look(1_000, true, 1_050 + CANCEL_GRACE_US), Step::GiveUp);
        assert_eq!(overtime.look(1_000, false, Micros::MAX), Step::Wait, "once");
        assert_eq!(overtime.began(), Some(50));
    }

    #[test]
    fn without_a_limit_or_while_it_is_spared_a_request_runs_on() {
        let mut free = Overtime::default();
        assert_eq!(free.look(0, false, 0), Step::Wait);
        assert_eq!(free.look(0, false, Micros::MAX), Step::Wait);
        let mut spared = Overtime::default();
        assert_eq!(spared.look(10, true, 0), Step::Wait);
        assert_eq!(spared.look(10, true, 1_000), Step::Wait);
        assert_eq!(spared.look(10, false, 1_001), Step::Cancel);
    }

    #[test]
    fn a_worker_goes_at_once_only_when_nothing_goes_on_there() {
        assert_eq!(verdict(1, true), Verdict::Stuck);
        assert_eq!(verdict(8, false), Verdict::Stuck);
        assert_eq!(verdict(8, true), Verdict::Hangs);
    }

    #[test]
    fn a_worker_that_takes_something_now_and_then_is_not_held_for_one_that_takes_nothing() {
        let mut intake = Intake::default();
        let step = INTAKE_PAUSE_MAX_US - 1;
        for turn in 0..5 {
            assert!(!intake.look(turn, false, turn * step));
        }
        assert!(!intake.look(4, false, 4 * step + step));
        assert!(intake.look(4, false, 4 * step + INTAKE_PAUSE_MAX_US));
        assert!(!intake.look(5, true, 4 * step + INTAKE_PAUSE_MAX_US));
        assert!(!intake.look(5, false, 6 * step + INTAKE_PAUSE_MAX_US), "it counts anew");
    }
}
