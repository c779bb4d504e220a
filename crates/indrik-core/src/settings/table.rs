//! The table of all settings: what `build.rs` made of `settings.toml`.

/// One setting.
#[derive(Debug)]
pub struct Setting {
    /// Gunicorn's name, or ours: the key in files, `INDRIK_<NAME>` in the environment.
    pub name: &'static str,
    /// The heading it stands under.
    pub section: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// The default, as a user would write it.
    pub default: Written,
    /// The default in words, where it says more.
    pub default_text: Option<&'static str>,
    /// Gunicorn's default, where ours differs.
    pub gunicorn_default: Option<&'static str>,
    /// The word `auto` is a value too.
    pub auto: bool,
    /// Refused below: the bare number, seconds or bytes.
    pub min: Option<i64>,
    /// Refused above: the bare number, seconds or bytes.
    pub max: Option<i64>,
    /// 0 and anything above this mean this.
    pub cap: Option<i64>,
    /// The words of a [`Kind::Choice`].
    pub choices: &'static [&'static str],
    /// Other spellings of choices: (spelling, choice).
    pub aliases: &'static [(&'static str, &'static str)],
    /// What a text, or each entry of a list, must be beside its type.
    pub rule: Option<Rule>,
    /// A reload does not change it.
    pub at_start_only: bool,
    /// Where a [`Kind::List`] written as one text is split.
    pub separator: Option<char>,
    /// Python's `None` is a value of its own, not "as if it were not written".
    pub none_is_value: bool,
    /// What `-` means in a [`Kind::Log`]: standard output, else standard error.
    pub dash_is_stdout: bool,
    /// Command line flags, the usual spelling first.
    pub flags: &'static [&'static str],
    /// What the flag means without a value, if it may stand without.
    pub bare: Option<&'static str>,
    /// The value's name in the help.
    pub placeholder: &'static str,
    /// Environment variables besides `INDRIK_<NAME>`.
    pub variables: &'static [Variable],
    /// Gunicorn has this setting.
    pub gunicorn: bool,
    /// Whether it does anything.
    pub status: Status,
    /// What it holds may be a secret, and is shown to nobody.
    pub secret: bool,
    /// An operator may change it while the server runs.
    pub by_api: bool,
    /// Indrik's version that first had it.
    pub since: &'static str,
    /// First line: the summary. Then unit, and what happens at the limit.
    pub doc: &'static str,
}

/// What values a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number.
    Int,
    /// Permissions: a number, which as text is octal when it starts with 0.
    Mode,
    /// Yes or no. Its flag takes no value.
    Bool,
    /// Any text.
    Text,
    /// A name, or the number that stands for it.
    NameOrNumber,
    /// A path.
    Path,
    /// Seconds, or a number with a unit: `500ms`, `30s`, `2m`, `1h`.
    Duration,
    /// Bytes, or a number with a unit: `64KiB`, `16MiB`, `1GiB`.
    Size,
    /// Memory of one process: as a size, or a part of what there is: `80%`.
    Memory,
    /// A number of workers, or a part of them: `2`, `25%`.
    Share,
    /// A part, in hundredths: `10%`.
    Percent,
    /// One of a few words.
    Choice,
    /// A Python class, by its import path or (`gunicorn.conf.py` only) itself.
    Class,
    /// A log file, or `-`.
    Log,
    /// Where a StatsD server listens: `HOST`, `HOST:PORT` or `unix://PATH`.
    StatsD,
    /// Where a syslog server listens: `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix://PATH`.
    Syslog,
    /// Several texts.
    List,
    /// Several addresses and networks of clients, or `*`.
    Networks,
    /// Several limits of a process: `NAME=SOFT[:HARD]`.
    Rlimits,
    /// Several `NAME=VALUE`.
    Pairs,
    /// Several addresses to listen on.
    Addresses,
    /// A table of texts (files only).
    Texts,
    /// A table of values (files only).
    Dict,
    /// A Python function (`gunicorn.conf.py` only).
    Hook,
}

/// What a text must be beside its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The path of a request, without a query.
    Path,
    /// The path of a request, with or without a query.
    Target,
    /// `PREFIX=SECONDS`.
    TimeLimit,
    /// What requests that go to the same worker have in common.
    Affinity,
    /// The name of a header.
    FieldName,
    /// The address of a collector.
    Endpoint,
    /// The address of a webhook, perhaps with a query.
    Webhook,
    /// A program and its arguments, as a shell would split them.
    Command,
    /// A change of an alert.
    Alert,
}

/// A default, as written in the table.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Written {
    Nothing,
    Int(i64),
    Bool(bool),
    Text(&'static str),
    List(&'static [&'static str]),
    Dict(&'static [(&'static str, &'static str)]),
}

/// An environment variable that other programs use for the same thing.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// The setting's value, with `{}` where the variable's text goes.
    pub template: &'static str,
    /// How strong it is.
    pub rank: Rank,
}

/// How strong an environment variable is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// It beats the files.
    Environment,
    /// It takes the place of the default; everything else beats it.
    Default,
}

/// Whether a setting does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does what its documentation says.
    Honoured,
    /// It is accepted and checked, and any value but the default stops the start: serving without
    /// it would do harm.
    Refused {
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// It is accepted and checked, and has no effect.
    Ignored {
        /// Why; logged once when somebody sets it.
        reason: &'static str,
    },
}

include!(concat!(env!("OUT_DIR"), "/settings_table.rs"));

impl Kind {
    /// Whether a flag may be given several times, each adding a value.
    pub fn is_list(self) -> bool {
        matches!(self, Self::List | Self::Networks | Self::Rlimits | Self::Pairs | Self::Addresses)
    }
}

impl Setting {
    /// The setting of that exact name.
    pub fn find(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.name == name)
    }

    /// The environment variable of this setting that is Indrik's own.
    pub fn own_variable(&self) -> String {
        format!("{OWN_VARIABLE_PREFIX}{}", self.name.to_ascii_uppercase())
    }

    /// The flag as messages and help call it: the first long one.
    pub fn flag(&self) -> Option<&'static str> {
        self.flags.iter().find(|flag| flag.starts_with("--")).copied()
    }

    /// Whether the flag stands alone, without a value.
    pub fn is_switch(&self) -> bool {
        self.kind == Kind::Bool
    }

    /// The documentation's first sentence.
    pub fn summary(&self) -> &'static str {
        self.doc.lines().next().unwrap_or_default()
    }

    /// The documentation after the first sentence.
    pub fn details(&self) -> &'static str {
        self.doc.split_once('\n').map_or("", |(_, rest)| rest)
    }
}

/// What the names of Indrik's own environment variables start with.
pub const OWN_VARIABLE_PREFIX: &str = "INDRIK_";
