//! Tables as JSON or as CSV, as the client wants them.

use indrik_core::admin::csv;
use indrik_core::admin::query::Query;
use serde_json::Value as Json;

use crate::admin::answer::Answer;

/// How a table is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Csv,
}

/// What `format` says.
pub(super) fn format(query: &Query) -> Result<Format, String> {
    match query.get("format") {
        None | Some("json") => Ok(Format::Json),
        Some("csv") => Ok(Format::Csv),
        Some(_) => Err("format is json or csv".to_owned()),
    }
}

/// Rows that are JSON objects, as CSV.
pub(super) fn csv(names: &[&str], rows: &[Json]) -> Answer {
    let cell = |value: &Json| match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    };
    let rows = rows.iter().map(|row| names.iter().map(|name| cell(&row[*name])).collect());
    Answer::of("text/csv; charset=utf-8; header=present", csv::table(names, rows))
}
