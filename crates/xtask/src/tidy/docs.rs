//! Rules on documentation: each file says what it is for, each setting is described, links lead
//! somewhere.

use std::path::Path;

use super::problem::Problem;
use super::source::Source;

const SETTINGS_TABLE: &str = "settings.toml";
const SETTINGS_PAGE: &str = "docs/reference/settings.md";

/// A reader opens a file and learns in its first line what it is for.
pub(crate) fn module_docs(source: &Source) -> Vec<Problem> {
    let first = source.text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("#!"));
    let Some(first) = first else { return Vec::new() };
    let (documented, remedy) = if source.is_rust() {
        (first.starts_with("//!"), "start the file with `//! What it is for.`")
    } else if source.is_python() {
        (first.starts_with("\"\"\""), "start the file with a docstring that says what it is for")
    } else {
        return Vec::new();
    };
    if documented { Vec::new() } else { vec![Problem::new(source, 1, remedy)] }
}

/// Every row of the settings table has a text, and stands in the reference.
pub(crate) fn settings_documented(sources: &[Source]) -> Vec<Problem> {
    let Some(table) = sources.iter().find(|source| source.path == SETTINGS_TABLE) else {
        return Vec::new();
    };
    let page = sources.iter().find(|source| source.path == SETTINGS_PAGE);
    let page = page.map_or("", |source| source.text.as_str());
    let rows = match table.text.parse::<toml::Table>() {
        Ok(parsed) => parsed.get("setting").and_then(toml::Value::as_array).cloned(),
        Err(error) => return vec![Problem::new(table, 1, format!("not TOML: {error}"))],
    };
    rows.unwrap_or_default().iter().filter_map(|row| setting_problem(table, row, page)).collect()
}

fn setting_problem(table: &Source, row: &toml::Value, page: &str) -> Option<Problem> {
    let text = |key: &str| row.get(key).and_then(toml::Value::as_str).unwrap_or("").trim();
    let name = text("name");
    let quoted = format!("name = \"{name}\"");
    let line = table.text.lines().position(|line| line == quoted).map_or(1, |index| index + 1);
    if text("doc").is_empty() {
        return Some(Problem::new(
            table,
            line,
            format!("setting {name} has no `doc`: describe it"),
        ));
    }
    let listed = page.lines().any(|line| line.starts_with('#') && line.contains(name));
    let message = format!("setting {name} is not in {SETTINGS_PAGE}: run `cargo xtask settings`");
    (!listed).then(|| Problem::new(table, line, message))
}

/// A relative link in a Markdown file must lead to a file that exists.
pub(crate) fn links(sources: &[Source], root: &Path) -> Vec<Problem> {
    let pages = sources.iter().filter(|source| source.path.ends_with(".md"));
    pages.flat_map(|page| page_links(page, root)).collect()
}

fn page_links(page: &Source, root: &Path) -> Vec<Problem> {
    let folder =
        root.join(&page.path).parent().map_or_else(|| root.to_path_buf(), Path::to_path_buf);
    let mut problems = Vec::new();
    for (index, line) in page.text.lines().enumerate() {
        for target in link_targets(line) {
            let file = target.split('#').next().unwrap_or("");
            let external = target.contains("://") || target.starts_with("mailto:");
            if !external && !file.is_empty() && !folder.join(file).exists() {
                let message = format!("the link leads to {file}, which does not exist: mend it");
                problems.push(Problem::new(page, index + 1, message));
            }
        }
    }
    problems
}

fn link_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_first_line_is_reported() {
        assert_eq!(module_docs(&Source::new("a.rs", "fn a() {}\n")).len(), 1);
        assert!(module_docs(&Source::new("a.rs", "//! A.\n")).is_empty());
        assert_eq!(module_docs(&Source::new("a.py", "import os\n")).len(), 1);
        assert!(
            module_docs(&Source::new("a.py", "#!/usr/bin/env python3\n\"\"\"A.\"\"\"\n"))
                .is_empty()
        );
        assert!(module_docs(&Source::new("a.md", "anything\n")).is_empty());
    }

    #[test]
    fn an_undocumented_setting_is_reported() {
        let table =
            "[[setting]]\nname = \"bind\"\ndoc = \"Where.\"\n\n[[setting]]\nname = \"dark\"\n";
        let sources =
            [Source::new(SETTINGS_TABLE, table), Source::new(SETTINGS_PAGE, "### bind\n")];
        let problems = settings_documented(&sources);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].line, 6);
    }

    #[test]
    fn a_setting_missing_in_the_reference_is_reported() {
        let table = "[[setting]]\nname = \"bind\"\ndoc = \"Where.\"\n";
        let sources = [Source::new(SETTINGS_TABLE, table), Source::new(SETTINGS_PAGE, "bind\n")];
        assert_eq!(settings_documented(&sources).len(), 1);
    }

    #[test]
    fn links_are_found_in_a_line() {
        let found: Vec<&str> = link_targets("[a](b.md) and [c](https://d#e)").collect();
        assert_eq!(found, ["b.md", "https://d#e"]);
    }
}
