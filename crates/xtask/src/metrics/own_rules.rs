//! The code of the server's own alerts: a row for each, as `alerts::rule` in `indrik-core` has them.

use std::fmt::Write as _;

use super::alert::Alert;
use super::table::Table;

const HEAD: &str = "\
//! Every alert as it is without settings.
//!
//! Written by `cargo xtask metrics` from `metrics.toml`: change that file, not this one.

use super::row::{Measure, Row, Severity, Unit};

/// All of them, in the order of the table.
pub static ROWS: &[Row] = &[
";

/// The whole file, not yet formatted.
pub(super) fn code(table: &Table) -> String {
    let mut out = HEAD.to_owned();
    for alert in &table.alerts {
        push(&mut out, alert);
    }
    out.push_str("];\n");
    out
}

fn push(out: &mut String, alert: &Alert) {
    let Alert { name, key, severity, measure, unit, .. } = alert;
    let _ = writeln!(
        out,
        "Row {{ name: {name:?}, key: {key:?}, severity: Severity::{}, measure: Measure::{}, unit: Unit::{}, above: {}, \
         threshold: {:?}, window: {}, hold: {}, recovery: {}, subject: {:?}, summary: {:?}, action: {:?} }},",
        variant(severity),
        variant(measure),
        variant(unit),
        alert.above,
        alert.threshold,
        alert.window.unwrap_or_default(),
        alert.lasts,
        alert.recovery,
        alert.subject,
        alert.summary,
        alert.action,
    );
}

/// `route_errors` is `RouteErrors`.
fn variant(word: &str) -> String {
    let parts = word.split('_').map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    parts.collect()
}
