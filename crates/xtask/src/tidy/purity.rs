//! Rules on the core: it calls no clock, no file, no environment.

use super::problem::Problem;
use super::source::Source;

/// What reaches the world, and what to do instead.
const IMPURE: &[(&str, &str)] = &[
    ("Instant::now", "take the time as a parameter"),
    ("SystemTime::now", "take the time as a parameter"),
    ("thread::", "threads belong to the shell"),
    ("fs::", "take the file's content as a parameter"),
    ("File::open", "take the file's content as a parameter"),
    ("File::create", "take the file's content as a parameter"),
    ("OpenOptions", "take the file's content as a parameter"),
    ("env::var", "take the variable as a parameter"),
    ("env::vars", "take the variables as a parameter"),
    ("env::args", "take the arguments as a parameter"),
    ("env::current_dir", "take the directory as a parameter"),
    ("env::temp_dir", "take the directory as a parameter"),
    ("process::", "processes belong to the shell"),
    ("TcpStream", "sockets belong to the shell"),
    ("TcpListener", "sockets belong to the shell"),
    ("UdpSocket", "sockets belong to the shell"),
    ("UnixStream", "sockets belong to the shell"),
    ("io::stdin", "take the text as a parameter"),
    ("io::stdout", "return the text"),
    ("io::stderr", "return the text"),
    ("println!", "return the text"),
    ("eprintln!", "return the text"),
    (".exists()", "take the answer as a parameter"),
    (".is_file()", "take the answer as a parameter"),
    (".is_dir()", "take the answer as a parameter"),
    (".metadata()", "take the answer as a parameter"),
    (".canonicalize()", "take the path as a parameter"),
    (".read_dir()", "take the names as a parameter"),
];

/// A decision that reads the world cannot be simulated.
pub(crate) fn core_reads_no_world(source: &Source) -> Vec<Problem> {
    if !source.path.starts_with("crates/indrik-core/src/") || !source.is_rust() {
        return Vec::new();
    }
    let end = if source.is_test_file() { 1 } else { source.tests_start() };
    let lines = source.code.lines().enumerate().take(end - 1);
    lines
        .flat_map(|(index, line)| {
            let found = IMPURE.iter().filter(|(call, _)| calls(line, call));
            found.map(move |(call, instead)| (index + 1, call, instead))
        })
        .map(|(line, call, instead)| {
            let message = format!("`{call}` in the core, which is pure: {instead}");
            Problem::new(source, line, message)
        })
        .collect()
}

/// Whether the call stands there and does not continue a longer name (`crate::process::` is ours).
fn calls(line: &str, call: &str) -> bool {
    line.match_indices(call).any(|(at, _)| {
        let before = &line[..at];
        let is_longer =
            before.chars().last().is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':');
        let path = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        let is_of_std = before[path.len()..].starts_with("std::");
        let is_method = call.starts_with('.');
        is_method || !is_longer || is_of_std
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str) -> usize {
        core_reads_no_world(&Source::new("crates/indrik-core/src/a.rs", code)).len()
    }

    #[test]
    fn what_reaches_the_world_is_found_in_the_core() {
        for code in [
            "fn f() { Instant::now(); }",
            "fn f() { std::time::SystemTime::now(); }",
            "use std::fs::read;",
            "fn f() { std::env::var(a); }",
            "fn f(path: &Path) -> bool { path.exists() }",
            "fn f() { println!(); }",
        ] {
            assert_eq!(found(code), 1, "{code}");
        }
        for code in [
            "// Instant::now",
            "use crate::memory::process::Process;",
            "fn f() { tests_fs::a(); }",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n    use std::fs::read;\n}",
        ] {
            assert_eq!(found(code), 0, "{code}");
        }
        let elsewhere = Source::new("crates/indrik-sys/src/a.rs", "use std::fs::read;");
        assert!(core_reads_no_world(&elsewhere).is_empty());
    }
}
