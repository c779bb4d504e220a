//! What can be counted is checked here: a small function per rule, each with the remedy in its
//! message. `run` is the ordered list of all of them.

mod crates;
mod docs;
mod source;
mod text;
mod unsafety;

use std::fmt;
use std::path::Path;

use source::Source;

/// One place that breaks a rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Problem {
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

impl Problem {
    fn new(source: &Source, line: usize, message: impl Into<String>) -> Self {
        Self { path: source.path.clone(), line, message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// What one run over the repository found.
pub(crate) struct Report {
    pub(crate) files: usize,
    pub(crate) problems: Vec<Problem>,
}

/// A rule that looks at one file at a time.
type Rule = fn(&Source) -> Vec<Problem>;

const RULES: &[Rule] = &[
    docs::module_docs,
    unsafety::only_in_named_crates,
    unsafety::safety_notes,
    text::file_length,
    text::unfinished_work,
    text::machine_paths,
    text::ignored_tests,
    text::sleeping_tests,
    crates::arrows,
    crates::forbidden_in_core,
];

/// Checks every file under `root`; an error says why the files could not be read.
pub(crate) fn run(root: &Path) -> Result<Report, String> {
    let sources = source::read_all(root)?;
    let mut problems: Vec<Problem> =
        sources.iter().flat_map(|source| RULES.iter().flat_map(|rule| rule(source))).collect();
    problems.extend(docs::settings_documented(&sources));
    problems.extend(docs::links(&sources, root));
    problems.sort();
    Ok(Report { files: sources.len(), problems })
}
