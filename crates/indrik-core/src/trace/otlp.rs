//! Spans in the words of OpenTelemetry: OTLP in JSON, with the semantic conventions for HTTP servers.

use serde_json::{Value as Json, json};

use super::span::{Answered, Asked, Span};
use crate::redact;
use crate::time::Micros;

/// `SPAN_KIND_SERVER`.
const SERVER: u8 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: u8 = 2;
/// From this status on the server has failed, and not the client.
const SERVER_FAILED: u16 = 500;
/// Methods that the conventions know; others are `_OTHER`.
const METHODS: [&str; 9] =
    ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"];
/// The name under which a method stands that the conventions do not know.
const OTHER: &str = "_OTHER";
/// The scope of all that is told.
const SCOPE: &str = "indrik";

/// One request to the collector: `resource` are the attributes of this server.
#[must_use]
pub fn traces(resource: &[(String, String)], version: &str, spans: &[Span]) -> Vec<u8> {
    let resource: Vec<_> = resource.iter().map(|(key, value)| text(key, value)).collect();
    let spans: Vec<_> = spans.iter().map(span).collect();
    let scope = json!({ "scope": { "name": SCOPE, "version": version }, "spans": spans });
    let all = json!({
        "resourceSpans": [{ "resource": { "attributes": resource }, "scopeSpans": [scope] }]
    });
    all.to_string().into_bytes()
}

/// How many spans of a batch the collector says it has not taken, and why.
#[must_use]
pub fn rejected(answer: &[u8]) -> Option<(u64, String)> {
    let answer: Json = serde_json::from_slice(answer).ok()?;
    let partial = answer.get("partialSuccess")?;
    let count = partial.get("rejectedSpans")?;
    // A number of 64 bits is a text in this form of JSON.
    let count = count.as_u64().or_else(|| count.as_str()?.parse().ok())?;
    let why = partial.get("errorMessage").and_then(Json::as_str).unwrap_or_default();
    (count > 0).then(|| (count, why.to_owned()))
}

fn span(span: &Span) -> Json {
    let Span { own, above, asked, answered, began_ns, phases } = span;
    let at = |after: Micros| nanos(began_ns.saturating_add(after.saturating_mul(1000)));
    let mut events = vec![event("indrik.received", &at(phases.body))];
    let begun = phases.body.saturating_add(phases.queue);
    if let Some(app) = phases.app {
        events.push(event("indrik.application.begin", &at(begun)));
        events.push(event("indrik.application.end", &at(begun.saturating_add(app))));
    }
    let failed = answered.status >= SERVER_FAILED;
    let mut told = json!({
        "traceId": own.trace.hex(),
        "spanId": own.span.hex(),
        "flags": u32::from(own.sampled),
        "name": name(asked, answered),
        "kind": SERVER,
        "startTimeUnixNano": at(0),
        "endTimeUnixNano": at(phases.total),
        "attributes": attributes(asked, answered),
        "events": events,
        "status": if failed { json!({ "code": ERROR }) } else { json!({}) },
    });
    if let Some(above) = above {
        told["parentSpanId"] = above.hex().into();
    }
    told
}

/// Low in number: the method, and the route where it is known.
fn name(asked: &Asked, answered: &Answered) -> String {
    let method = match known(&asked.method) {
        OTHER => "HTTP",
        method => method,
    };
    match &answered.route {
        Some(route) => format!("{method} {route}"),
        None => method.to_owned(),
    }
}

fn attributes(asked: &Asked, answered: &Answered) -> Vec<Json> {
    let (path, query) = match asked.target.split_once('?') {
        Some((path, query)) => (path, Some(redact::query(query))),
        None => (asked.target.as_str(), None),
    };
    let mut all = vec![
        text("http.request.method", known(&asked.method)),
        text("url.path", path),
        text("url.scheme", if asked.secure { "https" } else { "http" }),
        text("network.protocol.version", asked.protocol),
        number("http.response.status_code", answered.status.into()),
        number("http.response.body.size", answered.bytes),
        number("indrik.worker.pid", answered.pid.into()),
    ];
    if known(&asked.method) == OTHER {
        all.push(text("http.request.method_original", &asked.method));
    }
    let (host, port) = asked.host.as_deref().map(split_host).unwrap_or_default();
    let texts = [
        ("url.query", query.as_deref()),
        ("http.route", answered.route.as_deref()),
        ("user_agent.original", asked.user_agent.as_deref()),
        ("client.address", Some(asked.client.0.as_str())),
        ("server.address", Some(host)),
        ("indrik.request_id", asked.request_id.as_deref()),
    ];
    let is_there = |value: &&str| !value.is_empty();
    for (key, value) in texts {
        all.extend(value.filter(is_there).map(|value| text(key, value)));
    }
    if answered.status >= SERVER_FAILED {
        all.push(text("error.type", &answered.status.to_string()));
    }
    let numbers = [
        ("client.port", Some(u64::from(asked.client.1)).filter(|port| *port != 0)),
        ("server.port", port.map(u64::from)),
        ("indrik.websocket.close_code", answered.close_code.map(u64::from)),
    ];
    for (key, value) in numbers {
        all.extend(value.map(|value| number(key, value)));
    }
    all
}

/// A host with its port, if it has one; the brackets of an IPv6 address go.
fn split_host(host: &str) -> (&str, Option<u16>) {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, port.parse().ok()),
        _ => (host, None),
    };
    (name.trim_start_matches('[').trim_end_matches(']'), port)
}

fn known(method: &str) -> &'static str {
    METHODS.into_iter().find(|known| *known == method).unwrap_or(OTHER)
}

fn event(name: &str, at: &str) -> Json {
    json!({ "name": name, "timeUnixNano": at })
}

fn text(key: &str, value: &str) -> Json {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Json {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn nanos(value: u64) -> String {
    value.to_string()
}

#[cfg(test)]
mod tests {
    use super::super::parent::Parent;
    use super::super::span::Phases;
    use super::*;

    fn told(asked: Asked, answered: Answered, phases: Phases) -> Json {
        let own =
            Parent::parse(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let span =
            Span { own, above: Some(own.span), asked, answered, began_ns: 1_000_000, phases };
        let bytes = traces(&[("service.name".into(), "shop".into())], "1", &[span]);
        let all: Json = serde_json::from_slice(&bytes).unwrap();
        assert_eq!(
            all["resourceSpans"][0]["resource"]["attributes"][0]["value"]["stringValue"],
            "shop"
        );
        all["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone()
    }

    fn attribute(span: &Json, key: &str) -> Json {
        let all = span["attributes"].as_array().unwrap();
        let found = all.iter().find(|attribute| attribute["key"] == key);
        found.map_or(Json::Null, |found| found["value"].clone())
    }

    #[test]
    fn a_span_has_the_attributes_of_the_conventions() {
        let asked = Asked {
            method: "GET".into(),
            target: "/items/7?a=b".into(),
            secure: true,
            protocol: "1.1",
            host: Some("[::1]:8443".into()),
            client: ("10.0.0.1".into(), 5000),
            ..Asked::default()
        };
        let route = Some("/items/{id}".into());
        let answered = Answered { status: 200, bytes: 5, route, pid: 42, close_code: None };
        let phases = Phases { body: 1, queue: 2, app: Some(3), total: 10 };
        let span = told(asked, answered, phases);
        assert_eq!(span["name"], "GET /items/{id}");
        assert_eq!(span["kind"], 2);
        assert_eq!(span["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            (&span["spanId"], &span["parentSpanId"]),
            (&"00f067aa0ba902b7".into(), &"00f067aa0ba902b7".into())
        );
        assert_eq!(
            (&span["startTimeUnixNano"], &span["endTimeUnixNano"]),
            (&"1000000".into(), &"1010000".into())
        );
        let events: Vec<_> = span["events"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["timeUnixNano"].as_str().unwrap())
            .collect();
        assert_eq!(events, ["1001000", "1003000", "1006000"]);
        for (key, value) in [
            ("http.request.method", "GET"),
            ("url.path", "/items/7"),
            ("url.query", "a=b"),
            ("url.scheme", "https"),
            ("http.route", "/items/{id}"),
            ("server.address", "::1"),
            ("client.address", "10.0.0.1"),
        ] {
            assert_eq!(attribute(&span, key)["stringValue"], value, "{key}");
        }
        assert_eq!(attribute(&span, "server.port")["intValue"], "8443");
        assert_eq!(attribute(&span, "http.response.status_code")["intValue"], "200");
        assert_eq!(attribute(&span, "error.type"), Json::Null);
        assert_eq!(span["status"], json!({}));
    }

    #[test]
    fn what_a_query_keeps_secret_is_not_told() {
        let asked = Asked { target: "/a?b=1&%74oken=geheim".into(), ..Asked::default() };
        let span = told(asked, Answered::default(), Phases::default());
        assert_eq!(attribute(&span, "url.query")["stringValue"], "b=1&%74oken=REDACTED");
    }

    #[test]
    fn a_failure_is_an_error_and_a_strange_method_none_of_the_known() {
        let asked = Asked { method: "BREW\"\n".into(), target: "/pot".into(), ..Asked::default() };
        let answered = Answered { status: 502, ..Answered::default() };
        let span = told(asked, answered, Phases::default());
        assert_eq!(span["name"], "HTTP");
        assert_eq!(attribute(&span, "http.request.method")["stringValue"], "_OTHER");
        assert_eq!(attribute(&span, "http.request.method_original")["stringValue"], "BREW\"\n");
        assert_eq!(attribute(&span, "error.type")["stringValue"], "502");
        assert_eq!(span["status"]["code"], 2);
        assert_eq!(span["events"].as_array().unwrap().len(), 1, "no application had it");
    }

    #[test]
    fn what_the_collector_has_not_taken_is_read_from_its_answer() {
        let text = br#"{"partialSuccess":{"rejectedSpans":"3","errorMessage":"too old"}}"#;
        assert_eq!(rejected(text), Some((3, "too old".to_owned())));
        assert_eq!(
            rejected(br#"{"partialSuccess":{"rejectedSpans":2}}"#),
            Some((2, String::new()))
        );
        for fine in [
            &b"{}"[..],
            b"",
            b"<html>",
            br#"{"partialSuccess":{}}"#,
            br#"{"partialSuccess":{"rejectedSpans":0}}"#,
        ] {
            assert_eq!(rejected(fine), None);
        }
    }
}
