//! What is made of `settings.toml`: the fields of `Config`, and the reference page.
//!
//! The fields come from the table alone, so that they can be written while nothing else compiles; the page
//! is printed by an example of `indrik-core`, which has the words for it.

mod fields;
mod row;

use std::path::Path;
use std::process::Command;

use row::Table;

use crate::generated::{self, Files, text_of};

const TABLE: &str = "settings.toml";
const FIELDS: &str = "crates/indrik-core/src/settings/generated.rs";
const PAGE: &str = "docs/reference/settings.md";

/// In this order: what prints the page is compiled with the fields.
const FILES: &Files = &[(FIELDS, fields), (PAGE, page)];

/// Writes both files.
pub(crate) fn write(root: &Path) -> Result<String, String> {
    generated::write(root, FILES)
}

/// Says which of them is not what the table says.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    generated::check(root, FILES, "cargo xtask settings")
}

fn fields(root: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(root.join(TABLE))
        .map_err(|error| format!("cannot read {TABLE}: {error}"))?;
    let table = Table::read(&text).map_err(|error| format!("{TABLE}: {error}"))?;
    generated::format(root, &fields::code(&table)?)
}

fn page(root: &Path) -> Result<String, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let words =
        "run --quiet --locked --profile fast --package indrik-core --example settings_reference";
    let output = Command::new(cargo).args(words.split(' ')).current_dir(root).output();
    text_of(output.map_err(|error| format!("cannot run cargo: {error}"))?, "the page's example")
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
