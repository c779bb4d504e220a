//! When a log is rotated, what the file that it leaves is called, and which of those go.

use std::cmp::Reverse;
use std::time::Duration;

/// The first pause after a rotation that failed.
const PAUSE_MIN: Duration = Duration::from_secs(10);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(600);
/// A file whose name is from so much later than now was named by a clock that was wrong.
const FUTURE_SECONDS: i64 = 86_400;
/// What a compressed file's name ends with.
const PACKED: &str = ".gz";
/// What the name of one that is being compressed ends with.
const UNFINISHED: &str = ".gz.part";

/// What the settings say of rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A file of so many bytes is rotated.
    pub bytes: Option<u64>,
    /// A file is rotated at whole multiples of this, in local time.
    pub age: Option<Duration>,
    /// So many rotated files of a log are kept.
    pub keep: usize,
    /// They are compressed.
    pub packs: bool,
}

/// A moment, in seconds since 1970 of the server's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalSeconds(pub i64);

/// What is to be known of a log's file.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// How large it is.
    pub bytes: u64,
    /// When it was begun, as far as that is known.
    pub begun: LocalSeconds,
}

impl Policy {
    /// Whether anything is rotated at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.bytes.is_some() || self.age.is_some()
    }

    /// Whether a file is to be rotated now. An empty one never is.
    #[must_use]
    pub fn is_due(&self, seen: Seen, now: LocalSeconds) -> bool {
        let is_large = self.bytes.is_some_and(|max| seen.bytes >= max);
        // A file from the future was begun now, as far as anybody can tell.
        let begun = seen.begun.min(now);
        let is_old = self.age.is_some_and(|age| period(begun, age) < period(now, age));
        seen.bytes > 0 && (is_large || is_old)
    }
}

/// The number of the span of time that a moment is in.
fn period(at: LocalSeconds, age: Duration) -> i64 {
    at.0.div_euclid(i64::try_from(age.as_secs().max(1)).unwrap_or(i64::MAX))
}

/// How long nothing is tried after so many failures, one after the other.
#[must_use]
pub fn pause_after(failures: u32) -> Duration {
    let doubled = PAUSE_MIN.checked_mul(1 << failures.saturating_sub(1).min(16));
    doubled.unwrap_or(PAUSE_MAX).min(PAUSE_MAX)
}

/// The name of a file that a log leaves: `access.log.20261201-235959`, and with a number if there is one of
/// that second already.
#[must_use]
pub fn name(log: &str, at: LocalSeconds, attempt: u32) -> String {
    let stamp = stamp(at);
    match attempt {
        0 => format!("{log}.{stamp}"),
        again => format!("{log}.{stamp}-{}", again + 1),
    }
}

/// The name of its compressed form, and of that while it is not finished.
#[must_use]
pub fn packed_names(rotated: &str) -> (String, String) {
    (format!("{rotated}{PACKED}"), format!("{rotated}{UNFINISHED}"))
}

fn stamp(at: LocalSeconds) -> String {
    let (days, seconds) = (at.0.div_euclid(86_400), at.0.rem_euclid(86_400));
    let (year, month, day) = date(days);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}{month:02}{day:02}-{hour:02}{minute:02}{second:02}")
}

/// Year, month and day of a number of days since 1970 (the era of 400 years has 146,097 days, and begins in
/// March).
const fn date(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
}

/// In which form a rotated file is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As it was written.
    Plain,
    /// Compressed.
    Packed,
    /// Compressed in part: what a crash has left, or what somebody is about to finish.
    Unfinished,
}

/// A file that a log has left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotated {
    /// Its name, as the log left it.
    pub name: String,
    /// Its form.
    pub form: Form,
    stamp: String,
    attempt: u32,
}

impl Rotated {
    /// Reads a name; `None`: it is none that a rotation of this log gives.
    #[must_use]
    pub fn read(log: &str, name: &str) -> Option<Self> {
        let rest = name.strip_prefix(log)?.strip_prefix('.')?;
        let (rest, form) = match rest.strip_suffix(UNFINISHED) {
            Some(rest) => (rest, Form::Unfinished),
            None => match rest.strip_suffix(PACKED) {
                Some(rest) => (rest, Form::Packed),
                None => (rest, Form::Plain),
            },
        };
        let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let (day, time) = rest.split_once('-')?;
        let (time, attempt) = match time.split_once('-') {
            None => (time, 0),
            Some((time, number)) => {
                let attempt = number.parse().ok().filter(|number| *number >= 2);
                if !is_digits(number) || number.starts_with('0') {
                    return None;
                }
                (time, attempt?)
            }
        };
        let is_stamp = day.len() == 8 && time.len() == 6 && is_digits(day) && is_digits(time);
        let name = format!("{log}.{rest}");
        is_stamp.then(|| Self { name, form, stamp: format!("{day}-{time}"), attempt })
    }

    /// The file's own name.
    #[must_use]
    pub fn file_name(&self) -> String {
        match self.form {
            Form::Plain => self.name.clone(),
            Form::Packed => packed_names(&self.name).0,
            Form::Unfinished => packed_names(&self.name).1,
        }
    }
}

/// Which of a log's rotated files go: all but the `keep` youngest. What bears the date of another day to come was
/// named while the clock was wrong, and what is named now is younger.
#[must_use]
pub fn superfluous(mut rotated: Vec<Rotated>, keep: usize, now: LocalSeconds) -> Vec<Rotated> {
    let horizon = stamp(LocalSeconds(now.0.saturating_add(FUTURE_SECONDS)));
    rotated.retain(|file| file.form != Form::Unfinished);
    rotated.sort_by_key(|file| {
        let is_from_the_future = file.stamp > horizon;
        (is_from_the_future, Reverse((file.stamp.clone(), file.attempt)), file.form)
    });
    let mut names: Vec<String> = Vec::new();
    rotated.retain(|file| {
        if !names.contains(&file.name) {
            names.push(file.name.clone());
        }
        // Both forms of one file count once.
        names.len() > keep
    });
    rotated
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);
    /// 2026-12-01 06:23:44.
    const NOW: LocalSeconds = LocalSeconds(1_796_106_224);

    fn policy(bytes: Option<u64>, age: Option<Duration>) -> Policy {
        Policy { bytes, age, keep: 3, packs: true }
    }

    fn seen(bytes: u64, begun: i64) -> Seen {
        Seen { bytes, begun: LocalSeconds(begun) }
    }

    #[test]
    fn a_file_is_due_when_it_is_as_large_as_it_may_be() {
        let policy = policy(Some(100), None);
        assert!(!policy.is_due(seen(99, 0), NOW));
        assert!(policy.is_due(seen(100, 0), NOW));
    }

    #[test]
    fn a_file_is_due_at_midnight_whenever_it_was_begun_that_day() {
        let policy = policy(None, Some(DAY));
        let midnight = NOW.0 - NOW.0 % 86_400;
        assert!(!policy.is_due(seen(1, midnight), NOW));
        assert!(policy.is_due(seen(1, midnight - 1), NOW));
        assert!(!policy.is_due(seen(0, midnight - 1), NOW), "an empty file says nothing");
    }

    #[test]
    fn a_file_from_the_future_is_not_due_and_no_obstacle() {
        let policy = policy(Some(100), Some(DAY));
        assert!(!policy.is_due(seen(1, NOW.0 + 10 * 86_400), NOW));
        assert!(policy.is_due(seen(100, NOW.0 + 10 * 86_400), NOW));
    }

    #[test]
    fn names_sort_as_they_were_given_and_are_read_back() {
        assert_eq!(name("a.log", NOW, 0), "a.log.20261201-062344");
        assert_eq!(name("a.log", NOW, 1), "a.log.20261201-062344-2");
        for (name, form) in [
            ("a.log.20261201-062344", Form::Plain),
            ("a.log.20261201-062344-2.gz", Form::Packed),
            ("a.log.20261201-062344-12.gz.part", Form::Unfinished),
        ] {
            let read = Rotated::read("a.log", name).expect("a name of ours");
            assert_eq!((read.form, read.file_name().as_str()), (form, name));
        }
    }

    #[test]
    fn names_of_others_are_left_alone() {
        for name in [
            "a.log",
            "a.log.1",
            "a.log.20261201",
            "a.log.20261201-062344.bz2",
            "a.log.20261201-06234x",
            "a.log.20261201-062344-1",
            "a.log.20261201-062344-02",
            "a.log.20261201-062344-+2",
            "a.log.20261201-062344-",
            "b.log.20261201-062344",
            "a.log.old.20261201-062344",
            "xa.log.20261201-062344",
        ] {
            assert_eq!(Rotated::read("a.log", name), None, "{name}");
        }
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), (1970, 1, 1));
        assert_eq!(date(11_016), (2000, 2, 29));
        assert_eq!(date(-1), (1969, 12, 31));
        assert_eq!(date(20_787), (2026, 11, 30));
        assert_eq!(date(47_540), (2100, 2, 28));
        assert_eq!(date(47_541), (2100, 3, 1));
    }

    fn files(names: &[&str]) -> Vec<Rotated> {
        names.iter().map(|name| Rotated::read("l", name).expect("a name of ours")).collect()
    }

    fn gone(names: &[&str], keep: usize) -> Vec<String> {
        superfluous(files(names), keep, NOW).iter().map(Rotated::file_name).collect()
    }

    #[test]
    fn the_oldest_go_and_the_youngest_stay() {
        let names = [
            "l.20261101-000000.gz",
            "l.20261201-062344-10",
            "l.20261201-062344-2",
            "l.20261130-000000.gz",
        ];
        assert_eq!(gone(&names, 2), ["l.20261130-000000.gz", "l.20261101-000000.gz"]);
        assert_eq!(gone(&names, 1)[0], "l.20261201-062344-2");
        assert!(gone(&names, 4).is_empty());
    }

    #[test]
    fn both_forms_of_a_file_count_once_and_unfinished_ones_do_not() {
        let names = [
            "l.20261130-000000",
            "l.20261130-000000.gz",
            "l.20261130-000000.gz.part",
            "l.20261101-000000",
        ];
        assert_eq!(gone(&names, 1), ["l.20261101-000000"]);
    }

    #[test]
    fn what_is_named_for_the_future_is_older_than_what_is_named_now() {
        let names = ["l.20990101-000000", "l.20990102-000000", "l.20261201-062300"];
        assert_eq!(gone(&names, 1), ["l.20990102-000000", "l.20990101-000000"]);
    }

    #[test]
    fn pauses_grow_to_a_limit() {
        assert_eq!(pause_after(1), PAUSE_MIN);
        assert_eq!(pause_after(2), 2 * PAUSE_MIN);
        assert_eq!(pause_after(1_000), PAUSE_MAX);
    }
}
