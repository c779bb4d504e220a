//! The rows of `metrics.toml`, checked.

use std::collections::BTreeSet;

use toml::{Table as Toml, Value};

use super::alert::Alert;
use super::field::text;

const KINDS: [&str; 4] = ["counter", "gauge", "histogram", "info"];
const UNITS: [&str; 4] = ["", "seconds", "bytes", "ratio"];

/// The whole file.
pub(super) struct Table {
    pub(super) labels: Vec<Label>,
    /// In the order of the file.
    pub(super) sections: Vec<Section>,
    pub(super) alerts: Vec<Alert>,
    pub(super) panels: Vec<Panel>,
}

pub(super) struct Label {
    pub(super) name: String,
    pub(super) otel: String,
    pub(super) bound: String,
    pub(super) doc: String,
}

/// Metrics that belong together.
pub(super) struct Section {
    pub(super) title: String,
    pub(super) doc: String,
    pub(super) metrics: Vec<Metric>,
}

pub(super) struct Metric {
    /// Without what its kind puts behind it.
    pub(super) name: String,
    pub(super) otel: String,
    pub(super) kind: String,
    pub(super) unit: String,
    pub(super) labels: Vec<String>,
    pub(super) help: String,
    pub(super) since: String,
    pub(super) section: String,
}

/// A panel of the board.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) row: String,
    /// As Grafana calls it.
    pub(super) unit: String,
    pub(super) exprs: Vec<String>,
    pub(super) legend: String,
}

impl Table {
    /// Reads the file.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let table: Toml = text.parse().map_err(|error| format!("{error}"))?;
        let labels = rows(&table, "label", Label::read)?;
        let metrics = rows(&table, "metric", Metric::read)?;
        let mut sections = rows(&table, "section", Section::read)?;
        let alerts = rows(&table, "alert", Alert::read)?;
        let panels = rows(&table, "panel", Panel::read)?;
        check(&labels, &metrics)?;
        let exprs = panels.iter().flat_map(|panel| panel.exprs.iter().cloned());
        for expr in alerts.iter().map(Alert::expression).chain(exprs) {
            check_expr(&expr, &metrics)?;
        }
        check_keys(&alerts)?;
        for metric in metrics {
            let section = sections.iter_mut().find(|section| section.title == metric.section);
            let unknown = || format!("{}: no section {:?}", metric.name, metric.section);
            section.ok_or_else(unknown)?.metrics.push(metric);
        }
        Ok(Self { labels, sections, alerts, panels })
    }

    pub(super) fn metrics(&self) -> impl Iterator<Item = &Metric> {
        self.sections.iter().flat_map(|section| &section.metrics)
    }
}

fn rows<T>(
    table: &Toml,
    key: &str,
    read: fn(&Toml) -> Result<T, String>,
) -> Result<Vec<T>, String> {
    let rows = table.get(key).and_then(Value::as_array).into_iter().flatten();
    rows.filter_map(Value::as_table).map(read).collect()
}

fn check(labels: &[Label], metrics: &[Metric]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for metric in metrics {
        let wrong = |what: &str| Err(format!("{}: {what}", metric.name));
        if !names.insert(&metric.name) || !names.insert(&metric.otel) {
            return wrong("there is another of this name");
        }
        if !KINDS.contains(&&*metric.kind) || !UNITS.contains(&&*metric.unit) {
            return wrong("no such kind or unit");
        }
        if !metric.name.starts_with("indrik_") || metric.name.ends_with("_total") {
            return wrong("a name begins with `indrik_` and has no `_total`");
        }
        if !metric.unit.is_empty() && !metric.name.ends_with(&format!("_{}", metric.unit)) {
            return wrong("a name ends with its unit");
        }
        if let Some(label) =
            metric.labels.iter().find(|name| !labels.iter().any(|label| label.name == **name))
        {
            return wrong(&format!("no label {label}"));
        }
    }
    Ok(())
}

/// Settings name alerts by their keys.
fn check_keys(alerts: &[Alert]) -> Result<(), String> {
    let mut keys = BTreeSet::new();
    match alerts.iter().find(|alert| !keys.insert(&alert.key)) {
        Some(alert) => Err(format!("{}: there is another of the key {}", alert.name, alert.key)),
        None => Ok(()),
    }
}

/// An expression that asks for what is not in the table would never have data.
fn check_expr(expr: &str, metrics: &[Metric]) -> Result<(), String> {
    let is_word = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let words = expr.split(|char| !is_word(char)).filter(|word| word.starts_with("indrik_"));
    for word in words {
        let is_of = |metric: &Metric| match metric.kind.as_str() {
            "histogram" => {
                let suffix = word.strip_prefix(metric.name.as_str());
                suffix.is_some_and(|suffix| ["", "_bucket", "_sum", "_count"].contains(&suffix))
            }
            _ => metric.shown() == word,
        };
        if !metrics.iter().any(is_of) {
            return Err(format!("{word} is no metric: {expr}"));
        }
    }
    Ok(())
}

impl Panel {
    fn read(row: &Toml) -> Result<Self, String> {
        let exprs = row.get("exprs").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            title: text(row, "title")?,
            row: text(row, "row")?,
            unit: text(row, "unit")?,
            exprs: exprs.filter_map(Value::as_str).map(str::to_owned).collect(),
            legend: text(row, "legend")?,
        })
    }
}

impl Label {
    fn read(row: &Toml) -> Result<Self, String> {
        Ok(Self {
            name: text(row, "name")?,
            otel: text(row, "otel")?,
            bound: text(row, "bound")?,
            doc: text(row, "doc")?,
        })
    }
}

impl Section {
    fn read(row: &Toml) -> Result<Self, String> {
        Ok(Self { title: text(row, "title")?, doc: text(row, "doc")?, metrics: Vec::new() })
    }
}

impl Metric {
    fn read(row: &Toml) -> Result<Self, String> {
        let labels = row.get("labels").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            name: text(row, "name")?,
            otel: text(row, "otel")?,
            kind: text(row, "kind")?,
            unit: row.get("unit").and_then(Value::as_str).unwrap_or_default().to_owned(),
            labels: labels.filter_map(Value::as_str).map(str::to_owned).collect(),
            help: text(row, "help")?,
            since: text(row, "since")?,
            section: text(row, "section")?,
        })
    }

    /// Its names as Prometheus shows them: that of its samples, but for what histograms put behind.
    pub(super) fn shown(&self) -> String {
        match self.kind.as_str() {
            "counter" => format!("{}_total", self.name),
            "info" => format!("{}_info", self.name),
            _ => self.name.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metric: &str) -> Result<Table, String> {
        let head = "[[label]]\nname = 'a'\notel = 'a'\nbound = '1'\ndoc = 'A.'\n\
             [[section]]\ntitle = 'S'\ndoc = 'S.'\n";
        Table::read(&format!(
            "{head}[[metric]]\notel = 'o'\nhelp = 'H.'\nsince = '1'\nsection = 'S'\n{metric}"
        ))
    }

    #[test]
    fn an_alert_on_what_is_no_metric_is_refused() {
        let alert = |expr: &str| {
            read(&format!(
                "name = 'indrik_a'\nkind = 'counter'\n[[alert]]\nname = 'A'\nseverity = 'warning'\n\
                 for = '1m'\nrecovery = '1m'\nkey = 'a'\nmeasure = 'cpu'\nwhen = 'above'\n\
                 threshold = 1.0\nunit = 'number'\nexpr = '{expr}'\nsummary = 'S'\naction = 'A'"
            ))
        };
        assert!(alert("rate(indrik_a_total[5m]) > {threshold}").is_ok());
        assert!(alert("rate(indrik_a[5m]) > {threshold}").is_err());
        assert!(alert("indrik_b > {threshold}").is_err());
    }

    #[test]
    fn a_row_that_no_scraper_or_code_could_use_is_refused() {
        assert!(read("name = 'indrik_a'\nkind = 'counter'\nlabels = ['a']").is_ok());
        for wrong in [
            "name = 'a'\nkind = 'counter'",
            "name = 'indrik_a_total'\nkind = 'counter'",
            "name = 'indrik_a'\nkind = 'timer'",
            "name = 'indrik_a'\nkind = 'gauge'\nunit = 'seconds'",
            "name = 'indrik_a'\nkind = 'gauge'\nlabels = ['b']",
            "kind = 'gauge'",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
