//! Rules on the text of a file: its length, unfinished work, paths of one machine, sleeping tests.

use super::problem::Problem;
use super::source::Source;

const FILE_LINES_MAX: usize = 700;

/// Words spelled in two parts, so that this file does not break its own rule.
const UNFINISHED: &[&str] = &[
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
];

const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// A file longer than this has more than one subject.
pub(crate) fn file_length(source: &Source) -> Vec<Problem> {
    if !source.is_rust() && !source.is_python() || source.path.ends_with("/generated.rs") {
        return Vec::new();
    }
    let lines = source.tests_start() - 1;
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let message = format!(
        "{lines} lines without the test module, {FILE_LINES_MAX} allowed: split it by subject"
    );
    vec![Problem::new(source, FILE_LINES_MAX + 1, message)]
}

/// What is in the repository is finished; what is not is an issue.
pub(crate) fn unfinished_work(source: &Source) -> Vec<Problem> {
    on_lines(&source.text, |line| {
        let word = UNFINISHED.iter().find(|word| contains_word(line, word))?;
        Some(format!("`{word}`: finish it, or open an issue and describe what is"))
    })
    .map(|(line, message)| Problem::new(source, line, message))
    .collect()
}

/// A path that exists on one machine only.
pub(crate) fn machine_paths(source: &Source) -> Vec<Problem> {
    on_lines(&source.text, |line| {
        let path = MACHINE_PATHS.iter().find(|path| starts_a_path(line, path))?;
        Some(format!("`{path}` is a path of one machine: use one relative to the repository"))
    })
    .map(|(line, message)| Problem::new(source, line, message))
    .collect()
}

/// A test that does not run protects nothing.
pub(crate) fn ignored_tests(source: &Source) -> Vec<Problem> {
    if !source.is_rust() {
        return Vec::new();
    }
    on_lines(&source.code, |line| {
        let ignored = line.trim_start().starts_with("#[ignore");
        ignored.then(|| "an ignored test: make it run, or delete it".to_owned())
    })
    .map(|(line, message)| Problem::new(source, line, message))
    .collect()
}

/// Tests wait for an event (a line of the log, a byte, a pipe), never for a while. Time that tokio
/// fakes is not waited for.
pub(crate) fn sleeping_tests(source: &Source) -> Vec<Problem> {
    if !source.is_rust() && !source.is_python() {
        return Vec::new();
    }
    let first = if source.is_test_file() { 1 } else { source.tests_start() };
    let (call, faked) = (concat!("sle", "ep("), concat!("tokio::time::sle", "ep("));
    let paused = source.text.contains("start_paused = true");
    on_lines(&source.code, |line| {
        // A method of that name, `bell.sle` + `ep(`, waits to be woken.
        let method = source.is_rust() && line.contains(&format!(".{call}"));
        // Of no time at all: it lets the other tasks run once.
        let turn = line.contains(concat!("asyncio.sle", "ep(0)"));
        let unreal = turn || (paused && line.contains(faked));
        (contains_word(line, call) && !method && !unreal)
            .then(|| "a sleeping test: wait for the event it hopes for instead".to_owned())
    })
    .filter(|(line, _)| *line >= first && (source.is_rust() || source.is_test_file()))
    .map(|(line, message)| Problem::new(source, line, message))
    .collect()
}

fn on_lines(
    text: &str,
    check: impl Fn(&str) -> Option<String>,
) -> impl Iterator<Item = (usize, String)> {
    text.lines()
        .enumerate()
        .filter_map(move |(index, line)| check(line).map(|message| (index + 1, message)))
}

/// Whether `word` stands in the line and does not continue a longer word.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().last();
        let after = line[at + word.len()..].chars().next();
        let ends_open = word.ends_with('(');
        !before.is_some_and(is_word) && (ends_open || !after.is_some_and(is_word))
    })
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether an absolute path with this start stands in the line (not the middle of a longer one).
fn starts_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().last();
        !before.is_some_and(|c| is_word(c) || "./}>-".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn a_file_over_the_limit_is_reported_without_its_tests() {
        let long = "//! A.\n".to_owned() + &"fn a() {}\n".repeat(FILE_LINES_MAX);
        assert_eq!(file_length(&source("a.rs", &long)).len(), 1);
        let tested = "//! A.\n#[cfg(test)]\nmod tests {\n".to_owned()
            + &"fn a() {}\n".repeat(FILE_LINES_MAX)
            + "}\n";
        assert!(file_length(&source("a.rs", &tested)).is_empty());
    }

    #[test]
    fn unfinished_work_is_reported_with_its_line() {
        let text = format!("a\n# {}: later\n", UNFINISHED[0]);
        assert_eq!(unfinished_work(&source("a.py", &text))[0].line, 2);
        let longer = format!("{}s\n", UNFINISHED[0]);
        assert!(unfinished_work(&source("a.md", &longer)).is_empty());
    }

    #[test]
    fn machine_paths_are_reported_and_relative_ones_are_not() {
        let text = format!("path = \"{}main\"\n", MACHINE_PATHS[0]);
        assert_eq!(machine_paths(&source("a.toml", &text)).len(), 1);
        assert!(machine_paths(&source("a.md", "see net/work/ and ./root/\n")).is_empty());
    }

    #[test]
    fn ignored_tests_are_reported() {
        assert_eq!(ignored_tests(&source("a.rs", "#[ignore]\nfn a() {}\n")).len(), 1);
    }

    #[test]
    fn sleeping_is_reported_in_tests_only() {
        let call = concat!("thread::sle", "ep(second);\n");
        assert!(sleeping_tests(&source("a.rs", call)).is_empty());
        let tested = format!("//! A.\n#[cfg(test)]\nmod tests {{\n{call}}}\n");
        assert_eq!(sleeping_tests(&source("a.rs", &tested))[0].line, 4);
        assert_eq!(sleeping_tests(&source("tests/a.py", call)).len(), 1);
        assert!(sleeping_tests(&source("examples/a.py", call)).is_empty());
        let turn = concat!("await asyncio.sle", "ep(0)\n");
        assert!(sleeping_tests(&source("tests/a.py", turn)).is_empty());
    }

    #[test]
    fn faked_time_is_not_slept() {
        let call = concat!("tokio::time::sle", "ep(second).await;\n");
        let paused = format!("#[tokio::test(start_paused = true)]\n{call}");
        assert!(sleeping_tests(&source("crates/a/src/tests.rs", &paused)).is_empty());
        assert_eq!(sleeping_tests(&source("crates/a/src/tests.rs", call)).len(), 1);
    }
}
