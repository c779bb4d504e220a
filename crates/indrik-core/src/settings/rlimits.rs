//! The kernel's limits of one process, as `worker_rlimits` names them: `nofile=4096`, `as=2GiB:4GiB`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::quantity;
use super::suggest;

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of setrlimit(2)")]
pub enum Resource {
    As,
    Core,
    Cpu,
    Data,
    Fsize,
    Memlock,
    Msgqueue,
    Nofile,
    Nproc,
    Rtprio,
    Sigpending,
    Stack,
}

/// One limit. As text it is what the user wrote: `NAME=SOFT` or `NAME=SOFT:HARD`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WorkerRlimit {
    /// Of what.
    pub resource: Resource,
    /// What is enforced; `None` is no limit.
    pub soft: Option<u64>,
    /// How far the process may raise that itself; `None` is no limit.
    pub hard: Option<u64>,
}

/// Why a text is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RlimitError {
    /// Without `=`.
    NoValue,
    /// No resource of that name; one whose name is like it.
    Unknown(Option<&'static str>),
    /// Not a number of this resource.
    Value {
        /// What was written.
        text: String,
        /// What may be.
        expected: &'static str,
    },
    /// A worker with that limit could not run at all.
    Nothing,
    /// The soft limit is above the hard one.
    SoftAboveHard,
}

/// Words for "no limit", as in `ulimit`, systemd and `setrlimit`.
const NO_LIMIT: [&str; 4] = ["unlimited", "infinity", "inf", "-1"];

const RESOURCES: [(&str, Resource); 12] = [
    ("as", Resource::As),
    ("core", Resource::Core),
    ("cpu", Resource::Cpu),
    ("data", Resource::Data),
    ("fsize", Resource::Fsize),
    ("memlock", Resource::Memlock),
    ("msgqueue", Resource::Msgqueue),
    ("nofile", Resource::Nofile),
    ("nproc", Resource::Nproc),
    ("rtprio", Resource::Rtprio),
    ("sigpending", Resource::Sigpending),
    ("stack", Resource::Stack),
];

impl Resource {
    /// Its name, as in `worker_rlimits`.
    #[must_use]
    pub fn name(self) -> &'static str {
        RESOURCES.iter().find(|(_, resource)| *resource == self).map_or("", |(name, _)| name)
    }

    fn parse(name: &str) -> Result<Self, RlimitError> {
        let name = name.trim().to_ascii_lowercase();
        let short = name.strip_prefix("rlimit_").unwrap_or(&name);
        let found = RESOURCES.iter().find(|(known, _)| *known == short);
        found.map(|(_, resource)| *resource).ok_or_else(|| {
            RlimitError::Unknown(suggest::nearest(short, RESOURCES.iter().map(|(name, _)| *name)))
        })
    }

    fn unit(self) -> Unit {
        match self {
            Self::As | Self::Core | Self::Data | Self::Fsize => Unit::Bytes,
            Self::Memlock | Self::Msgqueue | Self::Stack => Unit::Bytes,
            Self::Cpu => Unit::Seconds,
            Self::Nofile | Self::Nproc | Self::Rtprio | Self::Sigpending => Unit::Number,
        }
    }

    /// Whether a worker can run when the limit is zero.
    fn may_be_zero(self) -> bool {
        match self {
            Self::As | Self::Cpu | Self::Data | Self::Nofile | Self::Stack => false,
            Self::Core | Self::Fsize | Self::Memlock | Self::Msgqueue => true,
            Self::Nproc | Self::Rtprio | Self::Sigpending => true,
        }
    }

    fn amount(self, text: &str) -> Result<Option<u64>, RlimitError> {
        let text = text.trim();
        if NO_LIMIT.iter().any(|word| word.eq_ignore_ascii_case(text)) {
            return Ok(None);
        }
        let bad = |expected| RlimitError::Value { text: text.to_owned(), expected };
        let number = match self.unit() {
            Unit::Bytes => quantity::parse_size(text)
                .ok()
                .and_then(|bytes| u64::try_from(bytes).ok())
                .ok_or_else(|| bad("bytes, a size such as 2GiB, or unlimited"))?,
            // A part of a second would be none.
            Unit::Seconds => quantity::parse_duration(text)
                .ok()
                .filter(|span| span.subsec_nanos() == 0)
                .map(|span| span.as_secs())
                .ok_or_else(|| bad("whole seconds, a time such as 10m, or unlimited"))?,
            Unit::Number => quantity::parse_int(text)
                .ok()
                .and_then(|number| u64::try_from(number).ok())
                .ok_or_else(|| bad("a whole number or unlimited"))?,
        };
        if number == 0 && !self.may_be_zero() {
            return Err(RlimitError::Nothing);
        }
        Ok(Some(number))
    }

    fn write(self, amount: Option<u64>) -> String {
        match (amount, self.unit()) {
            (None, _) => NO_LIMIT[0].to_owned(),
            (Some(amount), Unit::Bytes) => quantity::write_size(amount),
            (Some(amount), Unit::Seconds | Unit::Number) => amount.to_string(),
        }
    }
}

enum Unit {
    Bytes,
    Seconds,
    Number,
}

impl FromStr for WorkerRlimit {
    type Err = RlimitError;

    /// One number is both limits, as in `ulimit` and in systemd's units.
    fn from_str(text: &str) -> Result<Self, RlimitError> {
        let (name, amounts) = text.split_once('=').ok_or(RlimitError::NoValue)?;
        let resource = Resource::parse(name)?;
        let (soft, hard) = amounts.split_once(':').unwrap_or((amounts, amounts));
        let (soft, hard) = (resource.amount(soft)?, resource.amount(hard)?);
        if soft.unwrap_or(u64::MAX) > hard.unwrap_or(u64::MAX) {
            return Err(RlimitError::SoftAboveHard);
        }
        Ok(Self { resource, soft, hard })
    }
}

impl fmt::Display for WorkerRlimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.resource.name(), self.resource.write(self.soft))?;
        if self.soft == self.hard {
            return Ok(());
        }
        write!(f, ":{}", self.resource.write(self.hard))
    }
}

impl fmt::Display for RlimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue => f.write_str("it has no ="),
            Self::Unknown(Some(near)) => write!(f, "no limit has that name; did you mean {near}?"),
            Self::Unknown(None) => {
                f.write_str("no limit has that name; there are ")?;
                f.write_str(&RESOURCES.map(|(name, _)| name).join(", "))
            }
            Self::Value { text, expected } => {
                write!(f, "'{}' is not {expected}", text.escape_debug())
            }
            Self::Nothing => f.write_str("with 0 no worker could run"),
            Self::SoftAboveHard => f.write_str("the soft limit is above the hard one"),
        }
    }
}

impl std::error::Error for RlimitError {}

impl TryFrom<String> for WorkerRlimit {
    type Error = RlimitError;

    fn try_from(text: String) -> Result<Self, RlimitError> {
        text.parse()
    }
}

impl From<WorkerRlimit> for String {
    fn from(limit: WorkerRlimit) -> Self {
        limit.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(text: &str) -> WorkerRlimit {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<WorkerRlimit>().unwrap_err().to_string()
    }

    #[test]
    fn one_number_is_both_limits_and_two_are_soft_and_hard() {
        let both = limit("nofile=4096");
        assert_eq!(
            (both.resource, both.soft, both.hard),
            (Resource::Nofile, Some(4096), Some(4096))
        );
        let two = limit("nofile = 1024 : 4096");
        assert_eq!((two.soft, two.hard), (Some(1024), Some(4096)));
    }

    #[test]
    fn memory_has_units_and_so_has_time() {
        assert_eq!(limit("as=2G").soft, Some(2 << 30));
        assert_eq!(limit("RLIMIT_STACK=8MiB:unlimited").hard, None);
        assert_eq!(limit("cpu=10m").soft, Some(600));
        assert_eq!(limit("core=0").soft, Some(0));
    }

    #[test]
    fn what_is_no_limit_says_why() {
        assert_eq!(error("nofile"), "it has no =");
        assert_eq!(error("nofiles=3"), "no limit has that name; did you mean nofile?");
        assert!(error("zzzzzz=3").contains("there are as, core, cpu"));
        assert_eq!(error("nofile=1G"), "'1G' is not a whole number or unlimited");
        assert_eq!(
            error("cpu=500ms"),
            "'500ms' is not whole seconds, a time such as 10m, or unlimited"
        );
        assert_eq!(error("as=-5"), "'-5' is not bytes, a size such as 2GiB, or unlimited");
        assert_eq!(error("as=0"), "with 0 no worker could run");
        assert_eq!(error("nofile=4096:1024"), "the soft limit is above the hard one");
        assert_eq!(error("core=unlimited:0"), "the soft limit is above the hard one");
    }

    proptest! {
        #[test]
        fn a_written_limit_reads_as_the_same(text in "[a-z]{2,8}=[0-9]{1,12}[kmg]?(:[0-9]{1,12}|:inf)?|.*") {
            if let Ok(limit) = text.parse::<WorkerRlimit>() {
                prop_assert_eq!(limit.to_string().parse(), Ok(limit));
            }
        }
    }
}
