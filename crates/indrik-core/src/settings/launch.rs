//! What a start is made of: everything the settings are resolved from, gathered by the shell.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::layers::Layer;

/// One start of the server, as asked for. Kept for the supervisor's whole life: a reload resolves
/// it again with freshly read files.
#[derive(Clone, Debug)]
pub struct Launch {
    /// What the command line said.
    pub command_line: Layer,
    /// What follows from the PasteDeploy file it names: weaker than the configuration file.
    pub paste: Layer,
    /// What an operator has changed while the server ran: stronger than all else, and gone with the process.
    pub by_hand: Layer,
    /// Remarks on the command line, for the log.
    pub notices: Vec<String>,
    /// What `GUNICORN_CMD_ARGS` said, parsed like a command line.
    pub cmd_args: Layer,
    /// The environment the process was started with.
    pub env: BTreeMap<String, String>,
    /// The directory the process was started in.
    pub cwd: PathBuf,
    /// The command as it was typed.
    pub typed: Typed,
    /// How many CPUs this process may use (affinity and cgroup quota). At least 1.
    pub cpus: usize,
    /// `indrik.toml`, if the directory has one. A reload reads it again.
    pub indrik_toml: Option<TextFile>,
}

impl Launch {
    /// A start in this directory, on one CPU, of which nothing else is known: no flag, no variable, no file.
    #[must_use]
    pub fn bare(cwd: PathBuf) -> Self {
        Self {
            command_line: Layer::default(),
            by_hand: Layer::default(),
            paste: Layer::default(),
            notices: Vec::new(),
            cmd_args: Layer::default(),
            env: BTreeMap::new(),
            cwd,
            typed: Typed::default(),
            cpus: 1,
            indrik_toml: None,
        }
    }

    /// Whether the package that stands in for `gunicorn` is used: another program has started this one, and may
    /// take every child of it for a worker.
    #[must_use]
    pub fn is_stand_in(&self) -> bool {
        let path = self.env.get("PYTHONPATH").map_or("", String::as_str);
        path.split(':').any(|entry| entry.trim_end_matches('/').ends_with(STAND_IN))
    }
}

/// What ends the directory that `python -m indrik.stand_in` prints.
const STAND_IN: &str = "/indrik/stand_in/first_on_path";

/// The command as it was typed: what a successor repeats, and what zygotes and workers see in `sys`.
#[derive(Clone, Debug, Default)]
pub struct Typed {
    /// The Python that runs the zygote.
    pub python: OsString,
    /// Options of the interpreter itself, `-O` for example.
    pub python_options: Vec<OsString>,
    /// The whole line: the interpreter, its options, the program, its arguments.
    pub line: Vec<OsString>,
    /// The program and its arguments.
    pub arguments: Vec<OsString>,
    /// The file that was the main program; empty if it was none.
    pub file: OsString,
}

/// A text file that has been read.
#[derive(Clone, Debug)]
pub struct TextFile {
    /// Where it was read from: absolute, or relative to [`Launch::cwd`].
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// What the Python side found in `gunicorn.conf.py`: the zygote's `config` event.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ConfigFileValues {
    /// The file's path or `python:module`; `None` when there is no file.
    pub path: Option<String>,
    /// Top-level names and their values. A function is `{"__callable__": "its.name"}`.
    #[serde(default)]
    pub values: BTreeMap<String, Json>,
    /// On which line each name is assigned, where known.
    #[serde(default)]
    pub lines: BTreeMap<String, u32>,
    /// The hooks that are set.
    #[serde(default)]
    pub hooks: Vec<String>,
    /// The `Server` header, if the file changes it in Gunicorn's modules; empty for none at all.
    #[serde(default)]
    pub server_header: Option<String>,
    /// Names that the file itself makes use of: they need not be settings.
    #[serde(default)]
    pub used: BTreeSet<String>,
}
