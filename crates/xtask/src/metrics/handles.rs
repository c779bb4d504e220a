//! The code of the typed handles: one constant for each row, which knows its kind and how many labels it has.

use std::fmt::Write as _;

use super::table::{Label, Metric, Table};
use crate::generated::doc;

const HEAD: &str = "\
//! A typed handle for every metric.
//!
//! Written by `cargo xtask metrics` from `metrics.toml`: change that file, not this one.

use super::family::Kind;
use super::table::{Counter, Gauge, Histogram, Info, LabelRow, Row};

";

/// The whole file, not yet formatted.
pub(super) fn code(table: &Table) -> String {
    let mut out = HEAD.to_owned();
    for label in &table.labels {
        push_label(&mut out, label);
    }
    for metric in table.metrics() {
        push_metric(&mut out, metric);
    }
    line(&mut out, "/// All rows, in the order of the table.");
    line(&mut out, "pub static ROWS: &[&Row] = &[");
    for metric in table.metrics() {
        line(&mut out, &format!("{}.0,", constant(&metric.name)));
    }
    line(&mut out, "];");
    out
}

fn push_label(out: &mut String, label: &Label) {
    let Label { name, otel, .. } = label;
    line(out, &format!("static {}: LabelRow = LabelRow {{", label_constant(name)));
    line(out, &format!("name: {name:?},\notel: {otel:?},\n}};\n"));
}

fn push_metric(out: &mut String, metric: &Metric) {
    let handle = match metric.kind.as_str() {
        "counter" => "Counter",
        "histogram" => "Histogram",
        "info" => "Info",
        _ => "Gauge",
    };
    let name = constant(&metric.name);
    let labels: Vec<_> =
        metric.labels.iter().map(|label| format!("&{}", label_constant(label))).collect();
    line(out, &format!("/// {}", doc(&metric.help)));
    line(out, &format!("pub const {name}: {handle}<{}> = {handle}(&Row {{", labels.len()));
    line(out, &format!("name: {:?},\notel: {:?},", metric.name, metric.otel));
    line(out, &format!("kind: Kind::{handle},\nunit: {:?},", metric.unit));
    line(out, &format!("labels: &[{}],\nhelp: {:?},\n}});\n", labels.join(", "), metric.help));
}

/// `indrik_http_requests` is `HTTP_REQUESTS`.
fn constant(name: &str) -> String {
    name.strip_prefix("indrik_").unwrap_or(name).to_ascii_uppercase()
}

fn label_constant(name: &str) -> String {
    format!("LABEL_{}", name.to_ascii_uppercase())
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a String");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_gives_a_constant_that_knows_its_labels() {
        let table = Table::read(
            "[[label]]\nname = 'a'\notel = 'x.a'\nbound = '1'\ndoc = 'A.'\n\
             [[section]]\ntitle = 'S'\ndoc = 'S.'\n\
             [[metric]]\nname = 'indrik_b'\notel = 'o'\nkind = 'counter'\nlabels = ['a']\n\
             help = 'H [x].'\nsince = '1'\nsection = 'S'",
        );
        let code = code(&table.unwrap());
        assert!(
            code.contains("/// H \\[x\\].\npub const B: Counter<1> = Counter(&Row {"),
            "{code}"
        );
        assert!(code.contains("labels: &[&LABEL_A],"), "{code}");
    }
}
