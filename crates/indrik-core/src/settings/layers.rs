//! Layers of values, each remembering where it came from.

use std::fmt;

use serde_json::Value as Json;

use super::table::Setting;

/// Values from one source.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layer {
    /// In the order they were given.
    pub entries: Vec<Entry>,
}

/// One value for one setting, not yet checked.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The setting.
    pub setting: &'static Setting,
    /// What was written.
    pub raw: Raw,
    /// The file and line, option or variable it came from.
    pub origin: Origin,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        // A setting is one row of the table.
        (self.setting.name, &self.raw, &self.origin)
            == (other.setting.name, &other.raw, &other.origin)
    }
}

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub enum Raw {
    /// Text from the command line or the environment. A flag given several times is several texts;
    /// a flag without a value is none.
    Texts(Vec<String>),
    /// A typed value from a file.
    Json(Json),
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The table's default.
    Default,
    /// A file, and the line if known.
    File {
        /// As the user named it.
        path: String,
        /// Counted from 1.
        line: Option<u32>,
    },
    /// An environment variable.
    Variable(String),
    /// A flag inside an environment variable that holds a command line.
    FlagInVariable {
        /// The variable's name.
        variable: String,
        /// As the table spells it.
        flag: String,
    },
    /// A flag of the command line, as the table spells it.
    Flag(String),
    /// The word of the command line that names the application.
    Argument,
    /// An operator, while the server ran.
    ByHand(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("the default"),
            Self::File { path, line: Some(line) } => write!(f, "{path}:{line}"),
            Self::File { path, line: None } => f.write_str(path),
            Self::Variable(name) => f.write_str(name),
            Self::FlagInVariable { variable, flag } => write!(f, "{flag} in {variable}"),
            Self::Flag(flag) => f.write_str(flag),
            Self::Argument => f.write_str("the command line"),
            Self::ByHand(who) => write!(f, "set by hand ({who})"),
        }
    }
}
