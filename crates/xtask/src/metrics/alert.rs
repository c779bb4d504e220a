//! A row of `metrics.toml` that gives an alert twice: as a rule of Prometheus, and as the server's own.

use toml::{Table as Toml, Value};

use super::field;

/// What the server itself can look at; `alerts::Measure` in `indrik-core` has a variant for each.
const MEASURES: [&str; 14] = [
    "cpu",
    "memory",
    "route_errors",
    "success",
    "p95",
    "mean",
    "queue",
    "refused",
    "worker_ends",
    "breaker",
    "ready",
    "reload_failed",
    "throttled",
    "disk",
];
/// The one that is compared with the clock.
const CERTIFICATE: &str = "certificate";
const UNITS: [&str; 3] = ["ratio", "seconds", "number"];
const PLACES: [&str; 4] = ["instance", "value", "subject", "window"];

/// An alert.
pub(super) struct Alert {
    pub(super) name: String,
    /// What `alert_rules` calls it.
    pub(super) key: String,
    pub(super) severity: String,
    pub(super) measure: String,
    /// It is bad above the threshold, else below.
    pub(super) above: bool,
    pub(super) threshold: f64,
    pub(super) unit: String,
    /// The label that tells its values apart.
    pub(super) subject: Option<String>,
    /// Over how long it is counted, seconds.
    pub(super) window: Option<u64>,
    /// How long it has to be bad, seconds.
    pub(super) lasts: u64,
    /// How long it has to be well again, seconds.
    pub(super) recovery: u64,
    expr: String,
    pub(super) summary: String,
    pub(super) action: String,
}

impl Alert {
    pub(super) fn read(row: &Toml) -> Result<Self, String> {
        let name = field::text(row, "name")?;
        let wrong = |what: &str| format!("{name}: {what}");
        let text = |key: &str| field::text(row, key);
        let seconds = |key: &str| {
            let text = text(key)?;
            read_seconds(&text).ok_or_else(|| wrong(&format!("`{key}` is no time: {text}")))
        };
        let alert = Self {
            key: text("key")?,
            severity: text("severity")?,
            measure: text("measure")?,
            above: match text("when")?.as_str() {
                "above" => true,
                "below" => false,
                _ => return Err(wrong("`when` is above or below")),
            },
            threshold: row
                .get("threshold")
                .and_then(Value::as_float)
                .ok_or_else(|| wrong("no `threshold` with a point in it"))?,
            unit: text("unit")?,
            subject: row.get("subject").and_then(Value::as_str).map(str::to_owned),
            window: row.contains_key("window").then(|| seconds("window")).transpose()?,
            lasts: seconds("for")?,
            recovery: seconds("recovery")?,
            expr: text("expr")?,
            summary: text("summary")?,
            action: text("action")?,
            name: name.clone(),
        };
        alert.check().map_err(|what| wrong(&what))?;
        Ok(alert)
    }

    fn check(&self) -> Result<(), String> {
        if !MEASURES.contains(&&*self.measure) && self.measure != CERTIFICATE {
            return Err(format!("no measure {}", self.measure));
        }
        if !UNITS.contains(&&*self.unit) || !["warning", "critical"].contains(&&*self.severity) {
            return Err("no such unit or severity".to_owned());
        }
        if !self.expr.contains("{threshold}") {
            return Err("its expression has no {threshold}".to_owned());
        }
        if self.window.is_some() != self.expr.contains("[{window}]") {
            return Err("its expression is to have [{window}] if there is a window".to_owned());
        }
        let places = self.summary.split('{').skip(1).filter_map(|rest| rest.split('}').next());
        let unknown = |place: &&str| !PLACES.contains(place);
        match places.clone().find(unknown) {
            Some(place) => Err(format!("nothing is put in for {{{place}}}")),
            None if self.subject.is_some() != self.summary.contains("{subject}") => {
                Err("its summary is to have {subject} if there is one".to_owned())
            }
            None => Ok(()),
        }
    }

    /// The expression for Prometheus.
    pub(super) fn expression(&self) -> String {
        let window = self.window.map(shown).unwrap_or_default();
        self.expr.replace("{threshold}", &self.threshold.to_string()).replace("{window}", &window)
    }

    /// The summary for Prometheus.
    pub(super) fn template(&self) -> String {
        let value = match self.unit.as_str() {
            "ratio" => "{{ $value | humanizePercentage }}",
            "seconds" => "{{ $value | humanizeDuration }}",
            _ => "{{ $value | humanize }}",
        };
        let label = |name: &str| format!("{{{{ $labels.{name} }}}}");
        let mut text = self.summary.replace("{value}", value);
        text = text.replace("{instance}", &label("instance"));
        if let Some(subject) = &self.subject {
            text = text.replace("{subject}", &label(subject));
        }
        text.replace("{window}", &self.window.map(shown).unwrap_or_default())
    }
}

/// As Prometheus writes it.
pub(super) fn shown(seconds: u64) -> String {
    match seconds {
        seconds if seconds > 0 && seconds.is_multiple_of(3_600) => format!("{}h", seconds / 3_600),
        seconds if seconds > 0 && seconds.is_multiple_of(60) => format!("{}m", seconds / 60),
        seconds => format!("{seconds}s"),
    }
}

fn read_seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let number: u64 = number.parse().ok()?;
    match unit {
        "s" => Some(number),
        "m" => Some(number * 60),
        "h" => Some(number * 3_600),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "name = 'A'\nkey = 'a'\nseverity = 'warning'\nmeasure = 'disk'\nwhen = 'below'\n\
        threshold = 0.5\nunit = 'ratio'\nsubject = 'disk'\nwindow = '5m'\nfor = '90s'\nrecovery = '1h'\n\
        expr = 'rate(x[{window}]) < {threshold}'\nsummary = '{value} of {subject} at {instance}'\naction = 'B'";

    #[test]
    fn thresholds_windows_and_labels_are_put_in() {
        let alert = Alert::read(&ROW.parse().unwrap()).unwrap();
        assert_eq!(alert.expression(), "rate(x[5m]) < 0.5");
        assert_eq!(
            alert.template(),
            "{{ $value | humanizePercentage }} of {{ $labels.disk }} at {{ $labels.instance }}"
        );
        assert_eq!((shown(alert.lasts), shown(alert.recovery)), ("90s".into(), "1h".into()));
    }

    #[test]
    fn a_row_that_would_say_two_different_things_is_refused() {
        for (right, wrong) in [
            ("< {threshold}", "< 0.4"),
            ("[{window}]", "[5m]"),
            ("of {subject}", "of it"),
            ("of {subject}", "of {route}"),
            ("measure = 'disk'", "measure = 'moon'"),
            ("for = '90s'", "for = '90'"),
            ("when = 'below'", "when = 'beside'"),
        ] {
            let row: Toml = ROW.replace(right, wrong).parse().unwrap();
            assert!(Alert::read(&row).is_err(), "{wrong}");
        }
    }
}
