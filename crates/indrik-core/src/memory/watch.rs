//! One worker's memory against its limits: when to look, and what follows from what is seen.
//!
//! Resident memory is looked at every second, sooner when it grows so fast that a limit is near, and
//! when the front says that requests have been served: those are what makes a worker grow. The
//! proportional share costs the kernel a walk over all pages: it is read at a slower pace, and only
//! from a worker whose resident memory, which is never less, is above the limit.

use std::time::Duration;

/// How often resident memory is looked at when nothing asks for more.
pub const SAMPLE_MAX: Duration = Duration::from_secs(1);
/// How often at most when it grows fast.
pub const SAMPLE_MIN: Duration = Duration::from_millis(100);
/// How often at most when requests are served.
pub const SERVED_MIN: Duration = Duration::from_millis(20);
/// As [`SERVED_MIN`], far below a limit.
pub const SERVED_MAX: Duration = Duration::from_millis(250);
/// How often the proportional share is read of a worker that may be above its limit.
pub const PSS_INTERVAL: Duration = Duration::from_secs(10);
/// How often at most, when growth since then says that it must be above.
pub const PSS_MIN: Duration = Duration::from_millis(500);
/// How often open descriptors are counted.
pub const DESCRIPTORS_INTERVAL: Duration = Duration::from_secs(2);
/// How fast a worker may plausibly grow, bytes a second: it writes what it gets.
const GROWTH_MAX: u64 = 1 << 30;
/// A worker that got too large within fewer requests than this would be followed by one that does the
/// same: it is not taken away before its successor is ready.
pub const SERVED_FEW: u64 = 16;

/// The limits of one measure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Above it, the worker is to be replaced.
    pub soft: Option<u64>,
    /// Above it, the worker is ended.
    pub hard: Option<u64>,
}

impl Bounds {
    fn is_set(self) -> bool {
        self.soft.or(self.hard).is_some()
    }

    fn lowest(self) -> Option<u64> {
        [self.soft, self.hard].into_iter().flatten().min()
    }

    /// Above it, the worker gets no more requests, whether or not its successor is ready: half as
    /// much again as the soft limit, or half the way to the hard one.
    fn urgent(self) -> Option<u64> {
        let soft = self.soft?;
        let half = soft.saturating_add(soft / 2);
        Some(self.hard.map_or(half, |hard| half.min(soft / 2 + hard / 2)))
    }

    /// The next limit above `used`.
    fn next(self, used: u64) -> Option<u64> {
        let all = [self.soft, self.urgent(), self.hard];
        all.into_iter().flatten().filter(|limit| *limit > used).min()
    }
}

/// The limits of one worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of its resident memory.
    pub rss: Bounds,
    /// Of its proportional share.
    pub pss: Bounds,
    /// Of the file descriptors that it has open: it is to be replaced above that.
    pub descriptors: Option<u64>,
}

impl Limits {
    /// Whether there is anything to watch.
    #[must_use]
    pub fn is_set(self) -> bool {
        self.rss.is_set() || self.pss.is_set() || self.descriptors.is_some()
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Resident memory.
    Rss,
    /// The proportional share.
    Pss,
    /// Open file descriptors.
    Descriptors,
}

/// What follows, the mildest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// It was above its soft limit as soon as it had started, and so would its successor be: nothing,
    /// but somebody should know.
    Misfit,
    /// It goes when its turn has come and its successor is ready.
    Turn,
    /// It grows too fast for that: it gets nothing more, finishes what it has, and goes.
    Now,
    /// It is ended.
    Force,
}

/// A limit that was passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// What is to be done with the worker.
    pub step: Step,
    /// Of what there is too much.
    pub measure: Measure,
    /// How much there is, in bytes or as a number.
    pub used: u64,
    /// The limit as it was set, in the same.
    pub limit: u64,
}

/// One measure of one worker.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// When the worker had just started.
    first: u64,
    last: u64,
    at: Duration,
}

impl Seen {
    fn after(before: Option<Self>, used: u64, at: Duration) -> Self {
        Self { first: before.map_or(used, |seen| seen.first), last: used, at }
    }

    fn excess(&self, measure: Measure, bounds: Bounds, served: u64) -> Option<Excess> {
        let used = self.last;
        let passes = |limit: Option<u64>| limit.filter(|limit| used >= *limit);
        let found = |step, limit| Some(Excess { step, measure, used, limit });
        if let Some(hard) = passes(bounds.hard) {
            return found(Step::Force, hard);
        }
        let soft = passes(bounds.soft)?;
        if self.first >= soft {
            return found(Step::Misfit, soft);
        }
        let urgent = passes(bounds.urgent()).is_some() && served >= SERVED_FEW;
        found(if urgent { Step::Now } else { Step::Turn }, soft)
    }
}

/// One worker's memory, from the moment it serves. Times are of any clock that does not go back.
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    limits: Limits,
    rss: Option<Seen>,
    pss: Option<Seen>,
    descriptors: Option<Seen>,
    /// Resident memory when the share was read.
    rss_then: u64,
    /// Requests it has served, as far as the front has said.
    served: u64,
    due: Duration,
    /// What has been said.
    said: Option<Step>,
}

impl Watch {
    /// Begins to watch a worker that is ready now; it is to be looked at at once.
    #[must_use]
    pub fn new(limits: Limits, now: Duration) -> Self {
        Self {
            limits,
            rss: None,
            pss: None,
            descriptors: None,
            rss_then: 0,
            served: 0,
            due: now,
            said: None,
        }
    }

    /// When to look at it next.
    #[must_use]
    pub fn due(&self) -> Duration {
        self.due
    }

    /// Resident memory as last seen.
    #[must_use]
    pub fn resident(&self) -> Option<u64> {
        self.rss.map(|seen| seen.last)
    }

    /// It has served some more requests, so many altogether: look sooner.
    pub fn has_served(&mut self, served: u64) {
        self.served = served;
        if let Some(seen) = self.rss {
            let fast = self.room().map_or(SERVED_MAX, |room| time(room / 2, GROWTH_MAX));
            self.due = self.due.min(seen.at + fast.clamp(SERVED_MIN, SERVED_MAX));
        }
    }

    /// Takes in its resident memory. True: read its share too, and say it to [`Self::saw_pss`].
    #[must_use]
    pub fn saw_rss(&mut self, used: u64, now: Duration) -> bool {
        let before = self.rss;
        self.rss = Some(Seen::after(before, used, now));
        let grown = before.map_or(0, |seen| used.saturating_sub(seen.last));
        let passed = before.map_or(Duration::ZERO, |seen| now.saturating_sub(seen.at));
        let wait = match self.room() {
            Some(room) if grown > 0 => {
                let fraction = room as f64 / grown as f64;
                passed.mul_f64((fraction / 2.0).min(WAIT_FACTOR_MAX))
            }
            _ => SAMPLE_MAX,
        };
        self.due = now + wait.clamp(SAMPLE_MIN, SAMPLE_MAX);
        self.wants_pss(used, now)
    }

    fn wants_pss(&self, rss: u64, now: Duration) -> bool {
        let Some(lowest) = self.limits.pss.lowest() else { return false };
        let Some(seen) = self.pss else { return true };
        let age = now.saturating_sub(seen.at);
        if rss < lowest {
            return false;
        }
        let guess = seen.last.saturating_add(rss.saturating_sub(self.rss_then));
        let passes = self.limits.pss.next(seen.last).is_some_and(|limit| guess >= limit);
        age >= PSS_INTERVAL || (passes && age >= PSS_MIN)
    }

    /// Takes in its proportional share.
    pub fn saw_pss(&mut self, used: u64, now: Duration) {
        self.pss = Some(Seen::after(self.pss, used, now));
        self.rss_then = self.resident().unwrap_or(0);
    }

    /// Whether to count its descriptors now, and say it to [`Self::saw_descriptors`].
    #[must_use]
    pub fn wants_descriptors(&self, now: Duration) -> bool {
        let is_due = |seen: Seen| now.saturating_sub(seen.at) >= DESCRIPTORS_INTERVAL;
        self.limits.descriptors.is_some() && self.descriptors.is_none_or(is_due)
    }

    /// Takes in how many descriptors it has open.
    pub fn saw_descriptors(&mut self, count: u64, now: Duration) {
        self.descriptors = Some(Seen::after(self.descriptors, count, now));
    }

    /// What follows from what was seen; each step is told once.
    pub fn excess(&mut self) -> Option<Excess> {
        let rss = self.rss.and_then(|it| it.excess(Measure::Rss, self.limits.rss, self.served));
        let pss = self.pss.and_then(|it| it.excess(Measure::Pss, self.limits.pss, self.served));
        let bounds = Bounds { soft: self.limits.descriptors.map(|max| max + 1), hard: None };
        let descriptors = self.descriptors.and_then(|it| {
            let excess = it.excess(Measure::Descriptors, bounds, self.served)?;
            Some(Excess { limit: excess.limit - 1, ..excess })
        });
        let excess =
            [rss, pss, descriptors].into_iter().flatten().max_by_key(|excess| excess.step)?;
        if self.said.is_some_and(|said| said >= excess.step) {
            return None;
        }
        self.said = Some(excess.step);
        Some(excess)
    }

    /// How much it may grow until the next limit.
    fn room(&self) -> Option<u64> {
        let rss = self.resident()?;
        let of_rss = self.limits.rss.next(rss).map(|limit| limit - rss);
        let pss = self.pss.map(|seen| seen.last.saturating_add(rss.saturating_sub(self.rss_then)));
        let of_pss = pss.and_then(|pss| Some(self.limits.pss.next(pss)? - pss));
        [of_rss, of_pss].into_iter().flatten().min()
    }
}

/// Waits are not reckoned longer than so many times what has passed; they are cut off anyway.
const WAIT_FACTOR_MAX: f64 = 1000.0;

/// How long it takes to grow by so much.
fn time(bytes: u64, bytes_per_second: u64) -> Duration {
    Duration::from_micros(bytes.saturating_mul(1_000) / (bytes_per_second / 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn watch(soft: Option<u64>, hard: Option<u64>) -> Watch {
        let bounds = |limit: Option<u64>| limit.map(|limit| limit * MIB);
        let rss = Bounds { soft: bounds(soft), hard: bounds(hard) };
        Watch::new(Limits { rss, ..Limits::default() }, ms(0))
    }

    fn step(watch: &mut Watch, mib: u64, at: u64) -> Option<Step> {
        assert!(!watch.saw_rss(mib * MIB, ms(at)));
        watch.excess().map(|excess| excess.step)
    }

    #[test]
    fn each_limit_is_told_once() {
        let mut watch = watch(Some(200), Some(400));
        watch.has_served(1000);
        assert_eq!(step(&mut watch, 50, 0), None);
        assert_eq!(step(&mut watch, 201, 1000), Some(Step::Turn));
        assert_eq!(step(&mut watch, 220, 2000), None);
        assert_eq!(step(&mut watch, 300, 3000), Some(Step::Now));
        assert_eq!(step(&mut watch, 250, 4000), None);
        assert_eq!(step(&mut watch, 500, 5000), Some(Step::Force));
        assert_eq!(step(&mut watch, 600, 6000), None);
    }

    #[test]
    fn a_hard_limit_that_is_near_brings_the_urgent_one_nearer() {
        let near = Bounds { soft: Some(200), hard: Some(220) };
        assert_eq!(near.urgent(), Some(210));
        assert_eq!(Bounds { soft: Some(200), hard: None }.urgent(), Some(300));
        assert_eq!(Bounds { soft: None, hard: Some(200) }.urgent(), None);
    }

    #[test]
    fn a_worker_that_starts_above_its_limit_is_left_but_for_the_hard_one() {
        let mut watch = watch(Some(200), Some(400));
        watch.has_served(1000);
        assert_eq!(step(&mut watch, 250, 0), Some(Step::Misfit));
        assert_eq!(step(&mut watch, 390, 1000), None);
        assert_eq!(step(&mut watch, 400, 2000), Some(Step::Force));
    }

    #[test]
    fn one_that_got_large_within_a_few_requests_waits_for_its_successor() {
        let mut watch = watch(Some(200), None);
        assert_eq!(step(&mut watch, 50, 0), None);
        assert_eq!(step(&mut watch, 900, 1000), Some(Step::Turn));
        watch.has_served(SERVED_FEW);
        assert_eq!(step(&mut watch, 900, 2000), Some(Step::Now));
    }

    #[test]
    fn a_calm_worker_is_looked_at_every_second_and_a_steep_one_before_it_gets_there() {
        let mut watch = watch(Some(200), None);
        let _ = step(&mut watch, 50, 0);
        assert_eq!(watch.due(), ms(1000));
        // 50 MiB in a second leave two seconds until the limit.
        let _ = step(&mut watch, 100, 1000);
        assert_eq!(watch.due(), ms(2000));
        let _ = step(&mut watch, 150, 1500);
        assert_eq!(watch.due(), ms(1750));
        let _ = step(&mut watch, 195, 1750);
        assert_eq!(watch.due(), ms(1850));
    }

    #[test]
    fn served_requests_bring_the_next_look_forward_the_nearer_the_limit_the_more() {
        let mut watch = watch(Some(4096), None);
        let _ = step(&mut watch, 1, 0);
        watch.has_served(16);
        assert_eq!(watch.due(), SERVED_MAX);
        let _ = step(&mut watch, 4096 - 205, 1000);
        watch.has_served(32);
        assert!((ms(1099)..ms(1101)).contains(&watch.due()), "{:?}", watch.due());
        let _ = step(&mut watch, 4095, 2000);
        watch.has_served(48);
        assert_eq!(watch.due(), ms(2020));
    }

    #[test]
    fn a_leak_of_a_gibibyte_a_second_is_seen_soon_after_the_limit() {
        let mut watch = watch(Some(200), None);
        let used = |at: Duration| 30 + at.as_millis() as u64 * 1024 / 1000;
        let mut now = ms(0);
        let found = loop {
            watch.has_served(now.as_millis() as u64);
            now = watch.due().max(now + ms(1));
            if step(&mut watch, used(now), now.as_millis() as u64) == Some(Step::Now) {
                break used(now);
            }
        };
        assert!(found < 330, "{found} MiB");
    }

    #[test]
    fn the_share_is_read_slowly_and_only_when_it_can_be_too_much() {
        let pss = Bounds { soft: Some(100 * MIB), hard: None };
        let mut watch = Watch::new(Limits { pss, ..Limits::default() }, ms(0));
        // At the start, to know what the worker begins with.
        assert!(watch.saw_rss(90 * MIB, ms(0)));
        watch.saw_pss(20 * MIB, ms(0));
        assert!(!watch.saw_rss(90 * MIB, ms(60_000)));
        assert!(watch.saw_rss(150 * MIB, ms(61_000)));
        watch.saw_pss(80 * MIB, ms(61_000));
        assert_eq!(watch.excess(), None);
        assert!(!watch.saw_rss(160 * MIB, ms(62_000)));
        assert!(watch.saw_rss(171 * MIB, ms(62_000)), "what grew is its own");
        watch.saw_pss(101 * MIB, ms(62_000));
        let excess = watch.excess().unwrap();
        assert_eq!((excess.step, excess.measure), (Step::Turn, Measure::Pss));
        assert!(!watch.saw_rss(172 * MIB, ms(63_000)));
        assert!(watch.saw_rss(172 * MIB, ms(72_000)));
    }

    #[test]
    fn descriptors_are_counted_at_times_and_more_than_the_limit_is_told() {
        let limits = Limits { descriptors: Some(100), ..Limits::default() };
        assert!(limits.is_set());
        let mut watch = Watch::new(limits, ms(0));
        let mut count = |count, at| {
            assert!(watch.wants_descriptors(ms(at)));
            watch.saw_descriptors(count, ms(at));
            assert!(!watch.wants_descriptors(ms(at) + DESCRIPTORS_INTERVAL / 2));
            watch.excess()
        };
        assert_eq!(count(20, 0), None);
        assert_eq!(count(100, 2_000), None);
        let excess = count(101, 4_000).unwrap();
        assert_eq!((excess.step, excess.measure), (Step::Turn, Measure::Descriptors));
        assert_eq!((excess.used, excess.limit), (101, 100));
        assert_eq!(count(120, 6_000), None, "it is told once");
    }

    #[test]
    fn a_worker_that_starts_with_more_descriptors_than_the_limit_is_left() {
        let limits = Limits { descriptors: Some(5), ..Limits::default() };
        let mut watch = Watch::new(limits, ms(0));
        watch.saw_descriptors(9, ms(0));
        assert_eq!(watch.excess().map(|excess| excess.step), Some(Step::Misfit));
        assert!(!Watch::new(Limits::default(), ms(0)).wants_descriptors(ms(0)));
    }
}
