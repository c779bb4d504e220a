//! The reference page of all metrics.

use std::fmt::Write as _;

use super::table::{Metric, Table};

const HEAD: &str = "\
# Metrics

What `/metrics` of the [admin listener](../manual/metrics.md) tells, made of `metrics.toml` by `cargo xtask metrics`. How to
scrape it and what to make of it stands in [the manual](../manual/metrics.md). Counters begin at 0 when the server starts
and never fall while it runs, whatever workers and reloads come and go.
";

/// The whole page.
pub(super) fn text(table: &Table) -> String {
    let mut out = HEAD.to_owned();
    for section in &table.sections {
        let _ = write!(out, "\n## {}\n\n{}\n\n", section.title, section.doc);
        out.push_str("| metric | kind | labels | what it says |\n|---|---|---|---|\n");
        for metric in &section.metrics {
            push_row(&mut out, metric);
        }
    }
    out.push_str("\n## Labels\n\n| label | for OpenTelemetry | values at most | what it says |\n");
    out.push_str("|---|---|---|---|\n");
    for label in &table.labels {
        let (name, otel) = (&label.name, &label.otel);
        let _ = writeln!(out, "| `{name}` | `{otel}` | {} | {} |", label.bound, label.doc);
    }
    out
}

fn push_row(out: &mut String, metric: &Metric) {
    let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
    let _ = writeln!(
        out,
        "| `{}`<br>`{}` | {} | {} | {} Since {}. |",
        metric.shown(),
        metric.otel,
        metric.kind,
        labels.join(", "),
        metric.help,
        metric.since,
    );
}
