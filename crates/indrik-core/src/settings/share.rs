//! A number of workers, or a part of them: `2`, `25%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::problem::Problem;
use super::resolve::Settlement;
use super::value::Value;

/// So many, or so many in a hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Share {
    /// A number.
    Count(u32),
    /// A percentage, at most 100.
    Percent(u32),
}

impl Share {
    /// Of `all`, rounded up.
    #[must_use]
    pub fn of_rounded_up(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = (u64::from(all) * u64::from(percent)).div_ceil(100);
                u32::try_from(part).unwrap_or(u32::MAX)
            }
        }
    }

    /// Of `all`, rounded down.
    #[must_use]
    pub fn of_rounded_down(self, all: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = u64::from(all) * u64::from(percent) / 100;
                u32::try_from(part).unwrap_or(u32::MAX)
            }
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl FromStr for Share {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "is neither a number nor a percentage from 0% to 100%";
        let number = |digits: &str| digits.trim().parse::<u32>().map_err(|_| wrong);
        match text.trim().strip_suffix('%') {
            None => number(text).map(Self::Count),
            Some(digits) => match number(digits)? {
                percent @ 0..=100 => Ok(Self::Percent(percent)),
                _ => Err(wrong),
            },
        }
    }
}

impl TryFrom<String> for Share {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

/// What a reload's settings must be beside texts.
pub(super) fn check(settlement: &mut Settlement) {
    for name in ["reload_max_surge", "reload_max_unavailable"] {
        let hint = "write a number such as 1, or a percentage such as 25%";
        refuse(settlement, name, hint, |text| text.parse::<Share>().err());
    }
    let hint = "write a percentage such as 10%";
    refuse(settlement, "reload_error_rate_max", hint, |text| match text.parse() {
        Ok(Share::Percent(_)) => None,
        Ok(Share::Count(_)) | Err(_) => Some("is not a percentage from 0% to 100%"),
    });
    let paths = match settlement.get("warmup").map(|settled| &settled.value) {
        Some(Value::List(paths)) => paths.clone(),
        _ => Vec::new(),
    };
    let hint = "write the path of a request such as /health, without scheme and host";
    let is_path =
        |path: &&String| path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic());
    if let Some(bad) = paths.iter().find(|path| !is_path(path)) {
        add(settlement, "warmup", &format!("{bad:?} is not the path of a request"), hint);
    }
}

fn refuse(
    settlement: &mut Settlement,
    name: &'static str,
    hint: &str,
    wrong: impl Fn(&str) -> Option<&'static str>,
) {
    let Some(Value::Text(text)) = settlement.get(name).map(|settled| settled.value.clone()) else {
        return add(settlement, name, "is empty", hint);
    };
    if let Some(wrong) = wrong(&text) {
        add(settlement, name, &format!("{text:?} {wrong}"), hint);
    }
}

fn add(settlement: &mut Settlement, name: &str, what: &str, hint: &str) {
    let place = settlement.get(name).map(|settled| settled.origin.to_string());
    let what = format!("{name}: {what}");
    settlement.problems.push(Problem { what, place, hint: Some(hint.to_owned()) });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_rounded_in_the_direction_that_is_asked_for() {
        let quarter: Share = "25%".parse().unwrap();
        assert_eq!((quarter.of_rounded_up(5), quarter.of_rounded_down(5)), (2, 1));
        assert_eq!((quarter.of_rounded_up(0), quarter.of_rounded_down(3)), (0, 0));
        let three: Share = "3".parse().unwrap();
        assert_eq!((three.of_rounded_up(1), three.of_rounded_down(100)), (3, 3));
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for text in ["", "%", "101%", "-1", "1.5", "a few", "25 percent"] {
            assert!(text.parse::<Share>().is_err(), "{text}");
        }
        assert_eq!(" 50 % ".parse(), Ok(Share::Percent(50)));
        assert_eq!(String::from(Share::Percent(50)), "50%");
    }
}
