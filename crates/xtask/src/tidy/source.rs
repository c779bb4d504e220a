//! The files that are checked, and the view of Rust code without its comments and strings.

use std::fs;
use std::path::Path;

/// Directories with what tools and machines leave behind, never part of the repository.
const SKIPPED: &[&str] =
    &["target", "corpus", "artifacts", "results", "data", "node_modules", "__pycache__"];
const EXTENSIONS: &[&str] =
    &["rs", "py", "toml", "md", "sh", "lua", "ini", "txt", "yml", "yaml", "json"];
const NAMES: &[&str] = &["Makefile", "run", "LICENSE"];

/// One text file of the repository.
pub(crate) struct Source {
    /// Relative to the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
    /// Rust: the text with comments, strings and characters blanked out, line for line the same
    /// length in lines. Other files: the text itself.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let code = if path.ends_with(".rs") { code_only(text) } else { text.to_owned() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub(crate) fn is_python(&self) -> bool {
        self.path.ends_with(".py")
    }

    /// The folder under crates/ this file belongs to.
    pub(crate) fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// The line (from 1) at which the inline test module of a Rust file starts; a line after the
    /// end if there is none.
    pub(crate) fn tests_start(&self) -> usize {
        let lines: Vec<&str> = self.code.lines().collect();
        let found = lines.windows(2).position(|pair| {
            pair[0].starts_with("#[cfg(test)]") && pair[1].starts_with("mod tests {")
        });
        found.unwrap_or(lines.len()) + 1
    }

    /// Whether the whole file is test code.
    pub(crate) fn is_test_file(&self) -> bool {
        self.path.starts_with("tests/")
            || self.path.contains("/tests/")
            || self.path.ends_with("/tests.rs")
    }
}

/// Reads every text file under `root`, in a fixed order.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    read_directory(root, "", &mut sources)?;
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(sources)
}

fn read_directory(root: &Path, relative: &str, sources: &mut Vec<Source>) -> Result<(), String> {
    let directory = root.join(relative);
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", directory.display());
    for entry in fs::read_dir(&directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if relative.is_empty() { name.clone() } else { format!("{relative}/{name}") };
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() && wanted_directory(&name) {
            read_directory(root, &path, sources)?;
        } else if kind.is_file() && wanted_file(&name) {
            let text = fs::read_to_string(entry.path())
                .map_err(|error| format!("cannot read {path}: {error}"))?;
            sources.push(Source::new(&path, &text));
        }
    }
    Ok(())
}

fn wanted_directory(name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".ci" && name != ".cargo";
    !hidden && !SKIPPED.contains(&name) && !name.ends_with(".egg-info")
}

fn wanted_file(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    NAMES.contains(&name) || EXTENSIONS.contains(&extension)
}

/// Blanks out comments, strings and character literals, and keeps every line break.
fn code_only(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(next) = rest.chars().next() {
        let skipped = literal_length(rest, code.chars().last());
        let length = if skipped == 0 { next.len_utf8() } else { skipped };
        let (taken, left) = rest.split_at(length);
        if skipped == 0 {
            code.push(next);
        } else {
            code.extend(taken.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        }
        rest = left;
    }
    code
}

/// The length in bytes of the comment or literal that starts here; 0 if none does.
fn literal_length(rest: &str, before: Option<char>) -> usize {
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |end| end + 2);
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    if !in_word && let Some(length) = raw_string_length(rest) {
        return length;
    }
    if rest.starts_with('\'') { character_length(rest) } else { 0 }
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return index + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

fn raw_string_length(rest: &str) -> Option<usize> {
    let after = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = after.chars().take_while(|c| *c == '#').count();
    let inside = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let start = rest.len() - inside.len();
    Some(inside.find(&end).map_or(rest.len(), |found| start + found + end.len()))
}

/// A character literal, as opposed to a lifetime.
fn character_length(rest: &str) -> usize {
    let mut chars = rest.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), _) => quoted_length(rest, '\''),
        (Some(_), Some((end, '\''))) => end + 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_strings_are_blanked_and_lines_stay() {
        let code = code_only("let a = \"x // y\"; // unsafe\nlet b = 'c'; /* d\ne */ f");
        assert!(!code.contains("unsafe"));
        assert!(code.contains("let b =") && code.contains('f'));
        assert_eq!(code.lines().count(), 3);
    }

    #[test]
    fn raw_strings_lifetimes_and_escapes_are_told_apart() {
        assert_eq!(code_only("r#\"a \" b\"# c").trim(), "c");
        assert_eq!(code_only("&'a str"), "&'a str");
        assert_eq!(code_only("'\\'' x").trim(), "x");
        assert_eq!(code_only("\"\\\"\" x").trim(), "x");
    }

    #[test]
    fn the_inline_test_module_is_found() {
        let source = Source::new("a.rs", "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n}\n");
        assert_eq!(source.tests_start(), 3);
        assert_eq!(Source::new("a.rs", "//! A.\n").tests_start(), 2);
    }
}
