//! What is told of an alert, as programs take it: our JSON, the form of Slack and Mattermost, that of Alertmanager, and
//! variables of an environment.

use serde_json::{Value as Json, json};

use super::row::{Severity, Unit};
use super::watch::{Active, What};
use super::words::shown;
use crate::settings::AlertWebhookFormat;

/// The version of the JSON form. It changes when a field goes or gets another meaning, not when one is added.
const VERSION: u32 = 1;
/// An Alertmanager keeps an alert for so long after it was told last, milliseconds. It is told again every minute.
const ALERTMANAGER_KEEPS_MS: u64 = 4 * 60_000;
const TEST: &str = "test";

/// The server that tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Server {
    /// The machine's name.
    pub host: String,
    /// As the title says it.
    pub application: String,
    /// The process.
    pub pid: u32,
    /// The version.
    pub version: &'static str,
    /// Where it listens.
    pub addresses: Vec<String>,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// What happened.
    pub what: What,
    /// To which alert.
    pub alert: Active,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where.
    pub server: Server,
}

/// A message of which nothing has to be thought.
#[must_use]
pub fn test(server: Server, at_ms: u64) -> Message {
    let summary = format!("This is a test of the alerts of {}", server.host);
    let alert = Active {
        alert: TEST,
        name: "IndrikTest",
        severity: Severity::Warning,
        subject: None,
        value: 0.0,
        threshold: 0.0,
        unit: Unit::Number,
        since_ms: at_ms,
        summary,
        action: "Nothing is to be done.",
    };
    Message { what: What::Test, alert, at_ms, server }
}

/// What an Alertmanager is told every minute, so that it does not take what goes on for over.
#[must_use]
pub fn active_for_alertmanager(active: &[Active], server: &Server, at_ms: u64) -> Vec<u8> {
    let all: Vec<Json> =
        active.iter().map(|alert| alertmanager(alert, What::Still, server, at_ms)).collect();
    Json::from(all).to_string().into_bytes()
}

impl Message {
    /// The body for a webhook.
    #[must_use]
    pub fn body(&self, format: AlertWebhookFormat) -> Vec<u8> {
        let body = match format {
            AlertWebhookFormat::Json => self.json(),
            AlertWebhookFormat::Slack => json!({"text": self.slack()}),
            AlertWebhookFormat::Alertmanager => {
                json!([alertmanager(&self.alert, self.what, &self.server, self.at_ms)])
            }
        };
        body.to_string().into_bytes()
    }

    /// Our own form.
    #[must_use]
    pub fn json(&self) -> Json {
        let Self { what, alert, at_ms, server } = self;
        json!({
            "version": VERSION,
            "what": what.word(),
            "alert": alert.alert,
            "name": alert.name,
            "severity": alert.severity.word(),
            "subject": alert.subject.as_ref().map(|(_, subject)| subject),
            "value": alert.value,
            "threshold": alert.threshold,
            "unit": alert.unit,
            "summary": alert.summary,
            "action": alert.action,
            "since": rfc3339(alert.since_ms),
            "at": rfc3339(*at_ms),
            "server": {
                "host": server.host,
                "application": server.application,
                "pid": server.pid,
                "version": server.version,
                "addresses": server.addresses,
            },
        })
    }

    /// The same in one line, for people.
    #[must_use]
    pub fn line(&self) -> String {
        let Self { what, alert, at_ms, .. } = self;
        let limit = shown(alert.unit, alert.threshold);
        let since = rfc3339(alert.since_ms);
        let head = format!("Alert {} ({})", alert.alert, alert.severity.word());
        match what {
            What::Test => format!("{head}: {}", alert.summary),
            What::Fired | What::Still => {
                let still = if *what == What::Still { " still" } else { "" };
                format!(
                    "{head}{still}: {}; threshold {limit}, since {since}\n  hint: {}",
                    alert.summary, alert.action
                )
            }
            What::Recovered => {
                let lasted = at_ms.saturating_sub(alert.since_ms) as f64 / 1e3;
                let (value, lasted) =
                    (shown(alert.unit, alert.value), shown(Unit::Seconds, lasted));
                let of = alert.subject.as_ref().map(|(_, it)| format!(" of {it}"));
                let of = of.unwrap_or_default();
                format!("{head}{of} is over after {lasted}: {value} now, threshold {limit}")
            }
        }
    }

    fn slack(&self) -> String {
        // What would be a link or a call to everybody there is text.
        let escaped = self.line().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let (first, hint) = escaped.split_once("\n  hint: ").unwrap_or((&escaped, ""));
        let hint = if hint.is_empty() { String::new() } else { format!("\n{hint}") };
        let application = &self.server.application;
        format!("[{}, {application}] {first}{hint}", self.server.host)
    }

    /// Variables for a command.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let Self { what, alert, at_ms, server } = self;
        let subject = alert.subject.as_ref().map(|(_, subject)| subject.clone());
        vec![
            ("INDRIK_ALERT_WHAT", what.word().to_owned()),
            ("INDRIK_ALERT_ALERT", alert.alert.to_owned()),
            ("INDRIK_ALERT_NAME", alert.name.to_owned()),
            ("INDRIK_ALERT_SEVERITY", alert.severity.word().to_owned()),
            ("INDRIK_ALERT_SUBJECT", subject.unwrap_or_default()),
            ("INDRIK_ALERT_VALUE", alert.value.to_string()),
            ("INDRIK_ALERT_THRESHOLD", alert.threshold.to_string()),
            ("INDRIK_ALERT_SUMMARY", alert.summary.clone()),
            ("INDRIK_ALERT_ACTION", alert.action.to_owned()),
            ("INDRIK_ALERT_SINCE", rfc3339(alert.since_ms)),
            ("INDRIK_ALERT_AT", rfc3339(*at_ms)),
            ("INDRIK_ALERT_HOST", server.host.clone()),
            ("INDRIK_ALERT_APPLICATION", server.application.clone()),
            ("INDRIK_ALERT_PID", server.pid.to_string()),
        ]
    }
}

/// An alert as `/api/v2/alerts` takes it.
fn alertmanager(alert: &Active, what: What, server: &Server, at_ms: u64) -> Json {
    let ends = match what {
        What::Recovered => at_ms,
        What::Fired | What::Still | What::Test => at_ms + ALERTMANAGER_KEEPS_MS,
    };
    let mut labels = json!({
        "alertname": alert.name,
        "severity": alert.severity.word(),
        "instance": server.host,
        "application": server.application,
    });
    if let Some((label, subject)) = &alert.subject {
        labels[*label] = subject.as_str().into();
    }
    json!({
        "labels": labels,
        "annotations": {"summary": alert.summary, "action": alert.action},
        "startsAt": rfc3339(alert.since_ms),
        "endsAt": rfc3339(ends),
    })
}

/// A moment as RFC 3339 has it. The calendar is Howard Hinnant's `civil_from_days`.
fn rfc3339(unix_ms: u64) -> String {
    // A year that four digits hold.
    let unix_ms = unix_ms.min(253_402_300_799_999);
    let (seconds, millis) = (unix_ms / 1_000, unix_ms % 1_000);
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let since_march = days + 719_468;
    let (era, of_era) = (since_march / 146_097, since_march % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = year + era * 400 + next;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(what: What) -> Message {
        let alert = Active {
            alert: "route_errors",
            name: "IndrikRouteFails",
            severity: Severity::Warning,
            subject: Some(("route", "/<id>".into())),
            value: 0.5,
            threshold: 0.05,
            unit: Unit::Ratio,
            since_ms: 1_764_590_400_000,
            summary: "50 % of the requests of /<id> on web-1 fail".into(),
            action: "Look.",
        };
        let server = Server {
            host: "web-1".into(),
            application: "main:app".into(),
            pid: 7,
            version: "0.1.0",
            addresses: vec!["http://127.0.0.1:8000".into()],
        };
        Message { what, alert, at_ms: 1_764_590_490_000, server }
    }

    #[test]
    fn a_moment_is_written_as_the_standard_has_it() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_123, "2000-02-29T00:00:00.123Z"),
            (1_764_590_400_000, "2025-12-01T12:00:00.000Z"),
            (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
        assert!(rfc3339(u64::MAX).starts_with("9999-12-31T"));
    }

    #[test]
    fn slack_gets_text_in_which_nothing_is_a_link() {
        let body = message(What::Fired).body(AlertWebhookFormat::Slack);
        let json: Json = serde_json::from_slice(&body).unwrap();
        let text = json["text"].as_str().unwrap();
        assert!(text.starts_with("[web-1, main:app] Alert route_errors (warning): 50 %"), "{text}");
        assert!(text.contains("/&lt;id&gt;") && text.ends_with("\nLook."), "{text}");
    }

    #[test]
    fn alertmanager_gets_an_alert_that_ends_by_itself_or_has_ended() {
        let read = |what| -> Json {
            serde_json::from_slice(&message(what).body(AlertWebhookFormat::Alertmanager)).unwrap()
        };
        let fired = &read(What::Fired)[0];
        assert_eq!(fired["labels"]["alertname"], "IndrikRouteFails");
        assert_eq!(fired["labels"]["route"], "/<id>");
        assert_eq!(fired["startsAt"], "2025-12-01T12:00:00.000Z");
        assert_eq!(fired["endsAt"], "2025-12-01T12:05:30.000Z");
        assert_eq!(read(What::Recovered)[0]["endsAt"], "2025-12-01T12:01:30.000Z");
        let alert = message(What::Fired).alert;
        let again = active_for_alertmanager(&[alert], &Server::default(), 0);
        let again: Json = serde_json::from_slice(&again).unwrap();
        assert_eq!(again.as_array().unwrap().len(), 1);
    }

    #[test]
    fn a_line_says_what_since_when_and_what_to_do() {
        let line = message(What::Fired).line();
        assert!(line.contains("threshold 5 %, since 2025-12-01T12:00:00.000Z"), "{line}");
        assert!(line.ends_with("\n  hint: Look."), "{line}");
        let line = message(What::Recovered).line();
        assert_eq!(
            line,
            "Alert route_errors (warning) of /<id> is over after 1.5 min: 50 % now, threshold 5 %"
        );
        let message = test(Server::default(), 0);
        assert_eq!(message.json()["what"], "test");
        assert!(message.variables().iter().all(|(_, value)| !value.contains('\0')));
    }
}
