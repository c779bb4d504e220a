//! What is made of `metrics.toml`: the typed handles, the reference page, alerts for Prometheus and for the server itself,
//! the board for Grafana.

mod alert;
mod board;
mod field;
mod handles;
mod own_rules;
mod page;
mod rules;
mod table;

use std::path::Path;

use table::Table;

use crate::generated::{self, Files};

const TABLE: &str = "metrics.toml";
const HANDLES: &str = "crates/indrik-core/src/metrics/generated.rs";
const OWN_RULES: &str = "crates/indrik-core/src/alerts/generated.rs";
const PAGE: &str = "docs/reference/metrics.md";
const RULES: &str = "deploy/prometheus/indrik.rules.yml";
const BOARD: &str = "deploy/grafana/indrik.json";

const FILES: &Files =
    &[(HANDLES, handles), (OWN_RULES, own_rules), (PAGE, page), (RULES, rules), (BOARD, board)];

/// Writes all files.
pub(crate) fn write(root: &Path) -> Result<String, String> {
    generated::write(root, FILES)
}

/// Says which of them is not what the table says.
pub(crate) fn check(root: &Path) -> Result<String, String> {
    generated::check(root, FILES, "cargo xtask metrics")
}

fn handles(root: &Path) -> Result<String, String> {
    generated::format(root, &handles::code(&read(root)?))
}

fn own_rules(root: &Path) -> Result<String, String> {
    generated::format(root, &own_rules::code(&read(root)?))
}

fn page(root: &Path) -> Result<String, String> {
    Ok(page::text(&read(root)?))
}

fn rules(root: &Path) -> Result<String, String> {
    Ok(rules::text(&read(root)?))
}

fn board(root: &Path) -> Result<String, String> {
    Ok(board::text(&read(root)?))
}

fn read(root: &Path) -> Result<Table, String> {
    let text = std::fs::read_to_string(root.join(TABLE))
        .map_err(|error| format!("cannot read {TABLE}: {error}"))?;
    Table::read(&text).map_err(|error| format!("{TABLE}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_repository_is_what_the_table_says() {
        check(&crate::repository()).unwrap();
    }
}
