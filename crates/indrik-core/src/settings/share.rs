//! A number of workers, or a part of them: `2`, `25%`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
