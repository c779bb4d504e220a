//! The rules for Prometheus.

use std::fmt::Write as _;

use super::alert::shown;
use super::table::Table;

const HEAD: &str = "\
# Alerts of Indrik for Prometheus, made of metrics.toml by `cargo xtask metrics`: change that file, not this one.
groups:
  - name: indrik
    rules:
";

/// The whole file.
pub(super) fn text(table: &Table) -> String {
    let mut out = HEAD.to_owned();
    for alert in &table.alerts {
        let _ = write!(
            out,
            "      - alert: {}\n        expr: {}\n        for: {}\n        labels:\n          severity: {}\n        \
             annotations:\n          summary: {}\n          action: {}\n",
            alert.name,
            quoted(&alert.expression()),
            shown(alert.lasts),
            alert.severity,
            quoted(&alert.template()),
            quoted(&alert.action),
        );
    }
    out
}

/// A text in quotes that YAML reads as it is.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
