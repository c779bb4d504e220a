//! Looks one after the other, and what was found in them: since when, and for how long it stands.

use std::collections::VecDeque;

use super::finding::{Cause, Finding, Whose};
use super::judge::{FINDINGS_MAX, diagnose};
use super::sight::Sight;

/// Looks that are kept.
const LOOKS_MAX: usize = 60;
/// What requests were running is kept of so many of them.
const WITH_REQUESTS: usize = 2;
/// What has not lasted so long is told when it is found twice in a row, seconds: a moment of load is no finding.
const LASTS_S: f64 = 2.0;
/// What comes back within this is the same as before, milliseconds.
const SAME_MS: u64 = 30_000;
/// Causes whose beginning is remembered.
const REMEMBERED_MAX: usize = 4 * FINDINGS_MAX;

/// The looks at one server, and what was found.
#[derive(Debug, Default)]
pub struct Watch {
    looks: VecDeque<Sight>,
    remembered: Vec<Remembered>,
    looked_ms: Option<u64>,
}

/// A finding, and when it began.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// What was found.
    pub finding: Finding,
    /// Since when it is so, as far as is known; milliseconds since 1970.
    pub since_ms: u64,
}

/// What was found and when.
#[derive(Debug)]
struct Remembered {
    cause: Cause,
    whose: Option<Whose>,
    since_ms: u64,
    seen_ms: u64,
    is_told: bool,
}

impl Watch {
    /// A new look, and what stands now, the worst first. `at_ms`: when it was taken, milliseconds since 1970.
    pub fn look(&mut self, at_ms: u64, sight: Sight) -> Vec<Standing> {
        self.push(sight);
        let found = diagnose(self.looks.make_contiguous());
        let before_ms = self.looked_ms.replace(at_ms);
        let found = found.into_iter();
        let standing = found.filter_map(|finding| self.stand(at_ms, before_ms, finding)).collect();
        self.remembered.retain(|it| at_ms.saturating_sub(it.seen_ms) <= SAME_MS);
        standing
    }

    /// The last look.
    #[must_use]
    pub fn last(&self) -> Option<&Sight> {
        self.looks.back()
    }

    fn push(&mut self, sight: Sight) {
        // Another server, or a clock that was put back.
        if self.looks.back().is_some_and(|last| last.at >= sight.at) {
            self.looks.clear();
        }
        if self.looks.len() >= LOOKS_MAX {
            self.looks.pop_front();
        }
        self.looks.push_back(sight);
        if let Some(old) = self.looks.len().checked_sub(WITH_REQUESTS + 1) {
            self.looks[old].workers.iter_mut().for_each(|worker| worker.running = Vec::new());
        }
    }

    fn stand(&mut self, at_ms: u64, before_ms: Option<u64>, finding: Finding) -> Option<Standing> {
        let whose = subject(&finding);
        let began_ms = at_ms.saturating_sub(millis(finding.for_s.unwrap_or(0.0)));
        let is_same = |it: &Remembered| it.cause == finding.cause && it.whose == whose;
        let known = self.remembered.iter().position(is_same);
        if known.is_none() && self.remembered.len() >= REMEMBERED_MAX {
            return None;
        }
        let before = known.map(|at| self.remembered.swap_remove(at));
        let is_again =
            before.as_ref().is_some_and(|it| it.is_told || Some(it.seen_ms) == before_ms);
        let lasts = finding.for_s.is_some_and(|seconds| seconds >= LASTS_S);
        let is_told = is_again || lasts || finding.cause.is_state();
        let since_ms = before.filter(|_| is_again).map_or(began_ms, |it| it.since_ms.min(began_ms));
        let cause = finding.cause;
        self.remembered.push(Remembered { cause, whose, since_ms, seen_ms: at_ms, is_told });
        is_told.then_some(Standing { finding, since_ms })
    }
}

/// What must be the same for a finding to be the same as before.
fn subject(finding: &Finding) -> Option<Whose> {
    match finding.cause {
        // Which route has most of the slow requests changes while they are slow.
        Cause::SlowBackend | Cause::FullQueue | Cause::CrashLoop => None,
        _ => Some(finding.whose.clone()),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time that is not negative"
)]
fn millis(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1000.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_800_000_000_000;

    fn sight(second: u32, paused: bool, is_full: bool) -> Sight {
        let mut sight = Sight { at: f64::from(second), ..Sight::default() };
        sight.server.paused_s = paused.then_some(9.0);
        sight.server.ready = 1;
        if is_full {
            sight.front.refused.insert("queue_full".to_owned(), u64::from(second));
        }
        sight
    }

    fn look(watch: &mut Watch, second: u32, paused: bool, is_full: bool) -> Vec<(Cause, u64)> {
        let standing =
            watch.look(NOW_MS + u64::from(second) * 1000, sight(second, paused, is_full));
        standing.iter().map(|it| (it.finding.cause, (it.since_ms - NOW_MS) / 1000)).collect()
    }

    #[test]
    fn a_finding_keeps_its_beginning_while_it_stands_and_for_a_while_after_that() {
        let mut watch = Watch::default();
        assert_eq!(look(&mut watch, 1, true, false), []);
        for second in 2..20 {
            assert_eq!(look(&mut watch, second, true, false), [(Cause::Paused, 2)]);
        }
        for second in 20..30 {
            assert_eq!(look(&mut watch, second, false, false), []);
        }
        assert_eq!(look(&mut watch, 30, true, false), [(Cause::Paused, 2)]);
        for second in 31..70 {
            assert_eq!(look(&mut watch, second, false, false), []);
        }
        assert_eq!(look(&mut watch, 70, true, false), [(Cause::Paused, 70)]);
    }

    #[test]
    fn a_moment_of_load_is_told_when_it_lasts() {
        let mut watch = Watch::default();
        look(&mut watch, 1, false, false);
        assert_eq!(look(&mut watch, 2, false, true), []);
        for second in 3..9 {
            assert_eq!(look(&mut watch, second, false, false), [], "{second}");
        }
        assert_eq!(look(&mut watch, 9, false, true), []);
        assert_eq!(look(&mut watch, 10, false, true), [(Cause::FullQueue, 8)]);
    }

    #[test]
    fn looks_and_what_is_remembered_are_bounded() {
        let mut watch = Watch::default();
        for second in 0..1_000 {
            let mut sight = sight(second, true, false);
            sight.machine.disks =
                (0..50).map(|disk| (format!("/{second}/{disk}"), 0, 1 << 40)).collect();
            assert!(watch.look(NOW_MS + u64::from(second) * 1000, sight).len() <= FINDINGS_MAX);
        }
        assert_eq!(watch.looks.len(), LOOKS_MAX);
        assert!(watch.remembered.len() <= REMEMBERED_MAX);
    }
}
