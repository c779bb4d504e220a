//! What is made of `settings.toml`: the fields of `Config`, and the reference page.
//!
//! The fields come from the table alone, so that they can be written while nothing else compiles; the page
//! is printed by an example of `indrik-core`, which has the words for it.

mod fields;
mod row;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use row::Table;

const TABLE: &str = "settings.toml";
const FIELDS: &str = "crates/indrik-core/src/settings/generated.rs";
const PAGE: &str = "docs/reference/settings.md";

/// Writes both files.
pub(crate) fn write(root: &Path) -> Result<String, String> {
    for (path, make) in FILES {
        let text = make(root)?;
        std::fs::write(root.join(path), text)
            .map_err(|error| format!("cannot write {path}: {error}"))?;
    }
    Ok(format!("wrote {FIELDS} and {PAGE}"))
}

/// Says which of them is not what the table says.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    for (path, make) in FILES {
        let there = std::fs::read_to_string(root.join(path))
            .map_err(|error| format!("cannot read {path}: {error}"))?;
        if there != make(root)? {
            return Err(format!("{path} is stale: run `cargo xtask settings`"));
        }
    }
    Ok(format!("settings: {FIELDS} and {PAGE} are fresh"))
}

/// Makes the text of a file.
type Make = fn(&Path) -> Result<String, String>;

/// In this order: what prints the page is compiled with the fields.
const FILES: [(&str, Make); 2] = [(FIELDS, fields), (PAGE, page)];

fn fields(root: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(root.join(TABLE))
        .map_err(|error| format!("cannot read {TABLE}: {error}"))?;
    let table = Table::read(&text).map_err(|error| format!("{TABLE}: {error}"))?;
    format(root, &fields::code(&table)?)
}

/// As `cargo fmt` would have it.
fn format(root: &Path, code: &str) -> Result<String, String> {
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024", "--emit", "stdout"]).current_dir(root);
    rustfmt.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let failed = |error: std::io::Error| format!("cannot run rustfmt: {error}");
    let mut child = rustfmt.spawn().map_err(failed)?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(code.as_bytes()).map_err(failed)?;
    }
    text_of(child.wait_with_output().map_err(failed)?, "rustfmt")
}

fn page(root: &Path) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words =
        "run --quiet --locked --profile fast --package indrik-core --example settings_reference";
    let output = Command::new(cargo).args(words.split(' ')).current_dir(root).output();
    text_of(output.map_err(|error| format!("cannot run cargo: {error}"))?, "the page's example")
}

fn text_of(output: Output, what: &str) -> Result<String, String> {
    if !output.status.success() {
        return Err(format!("{what} failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_in_the_repository_are_what_the_table_says() {
        let root = crate::repository();
        let there = std::fs::read_to_string(root.join(FIELDS)).unwrap();
        assert!(there == fields(&root).unwrap(), "stale: run `cargo xtask settings`");
    }
}
