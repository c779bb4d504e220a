//! What `alert_rules` changes: `cpu > 90% for 2m over 1m recover 5m`, or `cpu off`.

use std::time::Duration;

use super::generated::ROWS;
use super::row::{Row, Unit};
use crate::settings::{read_duration, suggest};

/// The shortest and the longest time over which something is counted, and the longest hold.
const WINDOW_MIN: Duration = Duration::from_secs(5);
const WINDOW_MAX: Duration = Duration::from_secs(3_600);
const HOLD_MAX: Duration = Duration::from_secs(86_400);
/// A threshold beyond any number that is counted.
const THRESHOLD_MAX: f64 = 1e15;
const FORM: &str =
    "write a name, then what to change: cpu > 90% for 2m over 5m recover 5m; or cpu off";

/// An alert with what the settings say of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The alert.
    pub row: &'static Row,
    /// Its threshold.
    pub threshold: f64,
    /// Over how long it is counted; zero: it is not counted.
    pub window: Duration,
    /// How long it has to be bad.
    pub hold: Duration,
    /// How long it has to be well again.
    pub recovery: Duration,
}

/// What is wrong with a text, and what to write instead.
pub type Bad = (String, String);

impl Rule {
    /// The alert as it is without settings.
    #[must_use]
    pub fn of(row: &'static Row) -> Self {
        let seconds = Duration::from_secs;
        Self {
            row,
            threshold: row.threshold,
            window: seconds(row.window),
            hold: seconds(row.hold),
            recovery: seconds(row.recovery),
        }
    }

    /// Whether a value is bad. What is no number is not.
    #[must_use]
    pub fn is_bad(&self, value: f64) -> bool {
        if self.row.above { value > self.threshold } else { value < self.threshold }
    }
}

/// All alerts with these changes; of two that change the same, the later one holds. What is no change is left out: [`check`]
/// has refused it before.
#[must_use]
pub fn rules(texts: &[String]) -> Vec<Rule> {
    let mut all: Vec<Option<Rule>> = ROWS.iter().map(|row| Some(Rule::of(row))).collect();
    for (at, rule) in texts.iter().filter_map(|text| read(text).ok()) {
        all[at] = rule;
    }
    all.into_iter().flatten().collect()
}

/// Whether a text is a change.
///
/// # Errors
/// What is wrong with it.
pub fn check(text: &str) -> Result<(), Bad> {
    read(text).map(|_| ())
}

/// Which alert, and what becomes of it; `None`: it is switched off.
fn read(text: &str) -> Result<(usize, Option<Rule>), Bad> {
    let wrong = |what: String, hint: &str| Err((format!("{text:?}: {what}"), hint.to_owned()));
    let spaced = text.replace('>', " > ").replace('<', " < ").replace(" %", "%");
    let mut words = spaced.split_whitespace();
    let name = words.next().unwrap_or_default();
    let Some(at) = ROWS.iter().position(|row| row.key == name) else {
        let all: Vec<&str> = ROWS.iter().map(|row| row.key).collect();
        let hint = match suggest::nearest(name, all.iter().copied()) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("the alerts are {}", all.join(", ")),
        };
        return wrong(format!("there is no alert {name:?}"), &hint);
    };
    let mut rule = Rule::of(&ROWS[at]);
    let words: Vec<&str> = words.collect();
    if words == ["off"] {
        return Ok((at, None));
    }
    if words.is_empty() || !words.len().is_multiple_of(2) {
        return wrong("it says nothing, or half of something".to_owned(), FORM);
    }
    for pair in words.chunks_exact(2) {
        if let Err((what, hint)) = change(&mut rule, pair[0], pair[1]) {
            return wrong(what, &hint);
        }
    }
    Ok((at, Some(rule)))
}

fn change(rule: &mut Rule, word: &str, text: &str) -> Result<(), Bad> {
    let time = |least: Duration, most: Duration| {
        read_duration(text).filter(|it| (least..=most).contains(it)).ok_or_else(|| {
            let (least, most) = (least.as_secs(), most.as_secs());
            let hint = format!("write {word} and {least} to {most} seconds, for example 90s or 5m");
            (format!("{text:?} is no time that {word} can have"), hint)
        })
    };
    match (word, rule.row.above) {
        (">", true) | ("<", false) => rule.threshold = threshold(rule.row.unit, text)?,
        (">" | "<", above) => {
            let (key, right) = (rule.row.key, if above { ">" } else { "<" });
            let what =
                format!("{key} is bad {} its threshold", if above { "above" } else { "below" });
            return Err((what, format!("write {key} {right} {text}")));
        }
        ("for", _) => rule.hold = time(Duration::ZERO, HOLD_MAX)?,
        ("recover", _) => rule.recovery = time(Duration::ZERO, HOLD_MAX)?,
        ("over", _) if rule.row.window == 0 => {
            let what = format!("{} is not counted over a time", rule.row.key);
            return Err((what, "leave `over` out".to_owned()));
        }
        ("over", _) => rule.window = time(WINDOW_MIN, WINDOW_MAX)?,
        _ => return Err((format!("{word:?} means nothing here"), FORM.to_owned())),
    }
    Ok(())
}

fn threshold(unit: Unit, text: &str) -> Result<f64, Bad> {
    let number = |text: &str| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        text.parse::<f64>().ok().filter(|number| is_plain && *number <= THRESHOLD_MAX)
    };
    let (read, hint) = match unit {
        Unit::Ratio => {
            let part = match text.strip_suffix('%') {
                Some(percent) => number(percent).map(|number| number / 100.0),
                None => number(text),
            };
            (part.filter(|part| *part <= 1.0), "write it as 90% or 0.9")
        }
        Unit::Seconds => {
            let days = text.strip_suffix('d').and_then(number).map(|days| days * 86_400.0);
            let seconds = || read_duration(text).map(|time| time.as_secs_f64());
            (days.or_else(seconds), "write it as 500ms, 2s, 1m or 14d")
        }
        Unit::Number => (number(text), "write a number"),
    };
    read.ok_or_else(|| (format!("{text:?} is no threshold of this alert"), hint.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<Rule> {
        check(text).unwrap();
        let key = text.split(['>', '<', ' ']).next().unwrap();
        rules(&[text.to_owned()]).into_iter().find(|rule| rule.row.key == key)
    }

    #[test]
    fn a_change_says_what_it_says_and_leaves_the_rest() {
        let rule = of("cpu>90% for 2m over 1m recover 30s").unwrap();
        assert_eq!((rule.threshold, rule.hold.as_secs()), (0.9, 120));
        assert_eq!((rule.window.as_secs(), rule.recovery.as_secs()), (60, 30));
        assert_eq!(of("success < 0.9").unwrap().threshold, 0.9);
        assert_eq!(of("memory > 70 %").unwrap().threshold, 0.7);
        assert_eq!(of("p95 > 500ms").unwrap().threshold, 0.5);
        assert_eq!(of("certificate < 30d").unwrap().threshold, 30.0 * 86_400.0);
        assert_eq!(of("certificate for 0").unwrap().hold, Duration::ZERO);
        assert_eq!(of("disk off"), None);
        assert_eq!(rules(&[]).len(), ROWS.len());
    }

    #[test]
    fn the_manual_lists_every_alert_with_its_times() {
        let manual = include_str!("../../../../docs/manual/alerts.md");
        let time = |seconds: u64| match seconds {
            0 => String::new(),
            3_600 => "1 h".to_owned(),
            seconds if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
            seconds => format!("{seconds} s"),
        };
        for row in ROWS {
            let line = manual.lines().find(|line| line.starts_with(&format!("| `{}` |", row.key)));
            let line = line.unwrap_or_else(|| panic!("{} is not in the manual", row.key));
            let columns: Vec<&str> = line.split('|').map(str::trim).collect();
            let hold = if row.hold == 0 { "at once".to_owned() } else { time(row.hold) };
            assert_eq!(columns[3..6], [hold, time(row.window), time(row.recovery)], "{line}");
        }
    }

    #[test]
    fn what_is_no_change_is_refused_with_what_to_write() {
        for (text, hint) in [
            ("", "the alerts are cpu"),
            ("cpuu > 90%", "did you mean cpu?"),
            ("cpu", "write a name"),
            ("cpu >", "write a name"),
            ("cpu < 90%", "write cpu > 90%"),
            ("success > 90%", "write success < 90%"),
            ("cpu > 90", "90% or 0.9"),
            ("cpu > nan", "90% or 0.9"),
            ("cpu > -1", "90% or 0.9"),
            ("p95 > 1parsec", "500ms"),
            ("queue > inf", "write a number"),
            ("cpu for 2d", "86400 seconds"),
            ("cpu over 1s", "5 to 3600"),
            ("memory over 1m", "leave `over` out"),
            ("cpu off please", "write a name"),
            ("cpu since 2m", "write a name"),
        ] {
            let (what, found) = check(text).unwrap_err();
            assert!(found.contains(hint), "{text}: {what}: {found}");
        }
    }
}
