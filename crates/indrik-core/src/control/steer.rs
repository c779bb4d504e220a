//! The arguments of the commands that steer a server: how many workers, which of them, and what the front answers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::words::{MOST, shown};
use crate::settings::{Network, NetworkError};
use crate::supervise::limits::WORKERS_MAX;

/// Networks that a maintenance may let pass.
const ALLOWED_MAX: usize = 64;

/// How many workers are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// So many.
    To(u32),
    /// So many more.
    Up(u32),
    /// So many fewer; one is left.
    Down(u32),
}

impl Scale {
    pub(super) fn parse(rest: &[&str]) -> Result<Self, String> {
        let [word] = rest else {
            return Err("Invalid argument: scale takes one number: N, +N or -N".to_owned());
        };
        let (kind, digits): (fn(u32) -> Self, &str) = match word.as_bytes().first() {
            Some(b'+') => (Self::Up, &word[1..]),
            Some(b'-') => (Self::Down, &word[1..]),
            _ => (Self::To, word),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let word = shown(word);
            return Err(format!("Invalid argument: scale takes N, +N or -N workers, not '{word}'"));
        }
        match digits.parse::<u32>() {
            Ok(0) => {
                Err("Invalid argument: the number of workers must be at least 1, not 0".to_owned())
            }
            Ok(number) if number <= WORKERS_MAX => Ok(kind(number)),
            _ => Err(format!("Invalid argument: {} workers: {MOST}", shown(digits))),
        }
    }
}

/// Which workers are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// All of them.
    All,
    /// The one at this place, from 1.
    Place(u32),
    /// The one with this process number.
    Pid(u32),
    /// The one at this place or with this process number, if that is one.
    Number(u32),
}

impl Whom {
    pub(super) fn parse(command: &str, rest: &[&str]) -> Result<Self, String> {
        let [word] = rest else {
            return Err(format!(
                "Invalid argument: say which worker: {command} all, or {command} N with its place or its process \
                 number, from show workers"
            ));
        };
        if *word == "all" {
            return Ok(Self::All);
        }
        let (kind, digits): (fn(u32) -> Self, &str) = match word.split_once(':') {
            Some(("place", digits)) => (Self::Place, digits),
            Some(("pid", digits)) => (Self::Pid, digits),
            _ => (Self::Number, word),
        };
        let number =
            digits.parse::<u32>().ok().filter(|number| *number > 0 && !digits.starts_with('+'));
        number.map(kind).ok_or_else(|| {
            let word = shown(word);
            format!(
                "Invalid argument: '{word}' names no worker: say all, its place or its process number (place:1, pid:4711)"
            )
        })
    }

    /// Whether it may be the worker at this place with this process number.
    #[must_use]
    pub fn is_at(self, place: u32, pid: Option<u32>) -> bool {
        match self {
            Self::All => true,
            Self::Place(number) => number == place,
            Self::Pid(number) => Some(number) == pid,
            Self::Number(number) => number == place || Some(number) == pid,
        }
    }
}

/// Whether the front answers requests, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Maintenance {
    /// No longer.
    Off,
    /// With this.
    On(MaintenanceOrder),
}

/// How the front answers requests during a maintenance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceOrder {
    /// The page it sends; none: a line of its own.
    pub page: Option<PathBuf>,
    /// Clients that are served as ever.
    pub allow: Vec<Network>,
}

impl Maintenance {
    pub(super) fn parse(rest: &[String]) -> Result<Self, String> {
        let words: Vec<&str> = rest.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["off"] => Ok(Self::Off),
            ["off", ..] => Err("Invalid argument: maintenance off takes nothing else".to_owned()),
            ["on", rest @ ..] => MaintenanceOrder::parse(rest).map(Self::On),
            _ => Err("Invalid argument: maintenance is on or off".to_owned()),
        }
    }
}

impl MaintenanceOrder {
    fn parse(mut rest: &[&str]) -> Result<Self, String> {
        let mut order = Self::default();
        loop {
            rest = match rest {
                [] => return Ok(order),
                ["page", path, rest @ ..] => {
                    let path = PathBuf::from(path);
                    if !path.is_absolute() {
                        return Err("Invalid argument: the page needs an absolute path".to_owned());
                    }
                    order.page = Some(path);
                    rest
                }
                ["allow", network, rest @ ..] => {
                    if order.allow.len() == ALLOWED_MAX {
                        return Err(format!(
                            "Invalid argument: more than {ALLOWED_MAX} networks to allow"
                        ));
                    }
                    order.allow.push(allowed(network)?);
                    rest
                }
                ["page"] => return Err("Invalid argument: page needs a path".to_owned()),
                ["allow"] => return Err("Invalid argument: allow needs a network".to_owned()),
                [other, ..] => {
                    let other = shown(other);
                    return Err(format!(
                        "Invalid argument: maintenance on takes page FILE and allow CIDR, not '{other}'"
                    ));
                }
            }
        }
    }
}

fn allowed(text: &str) -> Result<Network, String> {
    text.parse().map_err(|error| {
        let text = shown(text);
        match error {
            NetworkError::NotANetwork => {
                format!("Invalid argument: '{text}' is neither an address nor a network such as 10.0.0.0/8")
            }
            NetworkError::HostBits => {
                format!("Invalid argument: '{text}': a network's address ends in zeros")
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_workers_are_absolute_or_relative() {
        assert_eq!(Scale::parse(&["4"]), Ok(Scale::To(4)));
        assert_eq!(Scale::parse(&["+4"]), Ok(Scale::Up(4)));
        assert_eq!(Scale::parse(&["-4"]), Ok(Scale::Down(4)));
        for wrong in ["", "+", "--4", "4.5", "0x4", "+99999999999"] {
            assert!(Scale::parse(&[wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_worker_is_named_by_its_place_its_process_or_a_number_that_is_one_of_them() {
        assert_eq!(Whom::parse("recycle", &["place:2"]), Ok(Whom::Place(2)));
        assert_eq!(Whom::parse("recycle", &["pid:2"]), Ok(Whom::Pid(2)));
        let number = Whom::parse("recycle", &["2"]).unwrap();
        assert!(number.is_at(2, Some(77)) && number.is_at(9, Some(2)) && !number.is_at(1, None));
    }

    #[test]
    fn a_maintenance_keeps_the_case_of_its_path_and_several_networks() {
        let words: Vec<String> =
            ["on", "page", "/Tmp/Page.html", "allow", "10.0.0.0/8", "allow", "::1"]
                .map(str::to_owned)
                .to_vec();
        let Ok(Maintenance::On(order)) = Maintenance::parse(&words) else { panic!("{words:?}") };
        assert_eq!(order.page, Some(PathBuf::from("/Tmp/Page.html")));
        assert_eq!(order.allow.len(), 2);
        let many: Vec<String> = std::iter::once("on")
            .chain(std::iter::repeat_n(["allow", "::1"], ALLOWED_MAX + 1).flatten())
            .map(str::to_owned)
            .collect();
        assert!(Maintenance::parse(&many).is_err());
    }
}
