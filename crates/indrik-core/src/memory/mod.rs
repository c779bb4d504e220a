//! Memory: what the kernel says of it, and what follows for a worker.
//!
//! [`process`] reads the files under `/proc`, [`cgroup`] finds a control group and reads what it says
//! of memory; both take text and know nothing of files. [`watch`] holds one worker against its limits,
//! [`oom`] tells whose death was the kernel's work, [`account`] says what the front may hold for its clients,
//! [`ahead`] what workers may send it before a client takes it.

pub mod account;
pub mod ahead;
pub mod cgroup;
pub mod growth;
pub mod oom;
pub mod process;
pub mod watch;

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A limit as the settings have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So many bytes; 0 is no limit.
    Bytes(u64),
    /// So many hundredths of the memory this server may use, divided among its workers.
    Share(u8),
}

impl Limit {
    /// In bytes, for one of `workers` workers that share `memory` bytes; `None` is no limit. A share
    /// of what nobody knows is no limit either.
    #[must_use]
    pub fn bytes(self, memory: Option<u64>, workers: u64) -> Option<u64> {
        match self {
            Self::Bytes(0) => None,
            Self::Bytes(bytes) => Some(bytes),
            Self::Share(percent) => Some(memory? / 100 * u64::from(percent) / workers.max(1)),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "{bytes}"),
            Self::Share(percent) => write!(f, "{percent}%"),
        }
    }
}

/// As it travels: a number of bytes, or a text with a percent sign.
impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bytes(bytes) => to.serialize_u64(*bytes),
            Self::Share(_) => to.collect_str(self),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Wire {
            Bytes(u64),
            Share(String),
        }
        match Wire::deserialize(from)? {
            Wire::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            Wire::Share(text) => match text.strip_suffix('%').map(str::parse) {
                Some(Ok(percent)) => Ok(Self::Share(percent)),
                _ => Err(de::Error::custom(format!("{text} is no amount of memory"))),
            },
        }
    }
}

/// Bytes as people read them: `1.5 GiB`, `212.0 MiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, factor) in [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
            if self.0 >= factor {
                let tenths = self.0 / (factor / 10).max(1);
                return write!(f, "{}.{} {unit}", tenths / 10, tenths % 10);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_divided_among_the_workers() {
        let gib = 1 << 30;
        assert_eq!(Limit::Bytes(0).bytes(Some(gib), 4), None);
        assert_eq!(Limit::Bytes(7).bytes(None, 4), Some(7));
        assert_eq!(Limit::Share(80).bytes(Some(1000), 4), Some(200));
        assert_eq!(Limit::Share(80).bytes(None, 4), None);
        assert_eq!(Limit::Share(50).bytes(Some(1000), 0), Some(500));
    }

    #[test]
    fn bytes_are_written_for_people() {
        assert_eq!(Bytes(17).to_string(), "17 bytes");
        assert_eq!(Bytes(3 << 10).to_string(), "3.0 KiB");
        assert_eq!(Bytes(200 << 20).to_string(), "200.0 MiB");
        assert_eq!(Bytes((3 << 30) / 2).to_string(), "1.5 GiB");
    }
}
