//! From a checked value to the field of [`Config`](super::Config) that holds it: one rule for each type
//! of field, which the generated code asks for by the field's type.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use super::address::BindAddress;
use super::network::Network;
use super::rlimits::WorkerRlimit;
use super::servers::{StatsdAddress, SyslogAddress};
use super::share::Share;
use super::types::{ClassSpec, ControlSocket, LogTarget};
use super::value::Value;
use crate::memory::Limit;

/// What a field may be made of.
pub(super) trait FromValue: Sized {
    /// The field's value; `None` where the setting holds something else.
    fn from_value(value: &Value) -> Option<Self>;
}

/// The values of all settings, for reading them into fields.
pub(super) struct Values<'a>(pub(super) BTreeMap<&'static str, &'a Value>);

/// A setting whose value is not what its field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mistyped(pub(super) &'static str);

impl Values<'_> {
    pub(super) fn field<T: FromValue>(&self, name: &'static str) -> Result<T, Mistyped> {
        self.0.get(name).and_then(|value| T::from_value(value)).ok_or(Mistyped(name))
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Nothing { Some(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl FromValue for $number {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Int(number) => Self::try_from(*number).ok(),
                    Value::Size(bytes) => Self::try_from(*bytes).ok(),
                    Value::Mode(bits) => Self::try_from(*bits).ok(),
                    _ => None,
                }
            }
        }
    )*};
}

whole_numbers!(u8, u32, u64, usize, i32);

/// Fields that hold what a value holds.
macro_rules! held {
    ($($kind:ident => $field:ty),* $(,)?) => {$(
        impl FromValue for $field {
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::$kind(held) => Some(held.clone()),
                    _ => None,
                }
            }
        }
    )*};
}

held! {
    Bool => bool,
    Text => String,
    Duration => Duration,
    Memory => Limit,
    Share => Share,
    Log => LogTarget,
    Class => ClassSpec,
    StatsD => StatsdAddress,
    Syslog => SyslogAddress,
    List => Vec<String>,
    Networks => Vec<Network>,
    Rlimits => Vec<WorkerRlimit>,
    Pairs => Vec<(String, String)>,
    Addresses => Vec<BindAddress>,
    Texts => BTreeMap<String, String>,
    Dict => BTreeMap<String, Json>,
}

impl FromValue for PathBuf {
    fn from_value(value: &Value) -> Option<Self> {
        String::from_value(value).map(Self::from)
    }
}

impl FromValue for ControlSocket {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Auto => Some(Self::Auto),
            value => PathBuf::from_value(value).map(Self::from),
        }
    }
}
