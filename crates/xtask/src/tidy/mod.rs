//! What can be counted is checked here: a small function per rule, each with the remedy in its
//! message. `run` is the ordered list of all of them.

mod circles;
mod crates;
mod docs;
mod methods;
mod problem;
mod purity;
mod source;
mod structs;
mod text;
mod tokens;
mod unsafety;
mod unused;
mod words;

use std::path::Path;

use problem::Problem;
use source::Source;

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
    purity::core_reads_no_world,
    structs::fields,
    words::of_comments,
];

/// Checks every file under `root`; an error says why the files could not be read.
pub(crate) fn run(root: &Path) -> Result<Report, String> {
    let sources = source::read_all(root)?;
    let mut problems: Vec<Problem> =
        sources.iter().flat_map(|source| RULES.iter().flat_map(|rule| rule(source))).collect();
    problems.extend(docs::settings_documented(&sources));
    problems.extend(docs::links(&sources, root));
    problems.extend(unused::dependencies(&sources));
    problems.extend(unused::public_items(&sources));
    problems.extend(circles::check(&sources));
    problems.sort();
    Ok(Report { files: sources.len(), problems })
}

/// The circles of files, as text.
pub(crate) fn circles(root: &Path) -> Result<String, String> {
    Ok(circles::report(&source::read_all(root)?))
}
