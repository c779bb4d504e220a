//! `indrik alerts`: what has gone wrong and is not over; and whether messages of it arrive.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use indrik_core::display::safe;
use serde_json::Value as Json;

use crate::failure::Failure;
use crate::output::{pretty, print};
use crate::seen::time;
use crate::server::{Asked, OPTIONS, failed, failure, switch};

const TEST: &str = "test";
const HELP: &str = "\
Show the alerts of a running server that have begun and are not over, the worst first; or send a test through each sink
(alert_log, alert_exec, alert_webhook) and say what came of it.

Usage: indrik alerts [--test] [OPTIONS]

      --test           send a test message through each sink; exit code 1 if one of them did not take it
";

/// Does what the words after `alerts` say.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let asked = Asked::parse("alerts", [switch(TEST)], args)?;
    if asked.help {
        return Ok(format!("{HELP}\n{OPTIONS}"));
    }
    if !asked.matches.get_flag(TEST) {
        let look = asked.connect()?.call("show alerts").map_err(failure)?;
        return Ok(if asked.json { pretty(&look) } else { listed(&look, now_ms()) });
    }
    let tested = asked.connect_to_change()?.call("alerts test").map_err(failure)?;
    let sinks = tested["sinks"].as_array().map_or(&[][..], Vec::as_slice);
    let text = if asked.json { pretty(&tested) } else { tried(sinks) };
    let bad: Vec<&str> = sinks
        .iter()
        .filter(|sink| sink["ok"] != Json::Bool(true))
        .filter_map(|sink| sink["sink"].as_str())
        .collect();
    if bad.is_empty() {
        return Ok(text);
    }
    print(&text);
    Err(failed(1, format!("no message arrives by {}", bad.join(" and ")), ""))
}

/// The alerts that a look has, in words.
pub(crate) fn listed(look: &Json, now_ms: u64) -> String {
    let active = look["active"].as_array().map_or(&[][..], Vec::as_slice);
    if look["watched"] != Json::Bool(true) {
        return "alerts are not watched: set alert_log, alert_exec or alert_webhook\n".to_owned();
    }
    if active.is_empty() {
        return "no alert is active\n".to_owned();
    }
    let mut text = String::new();
    for alert in active {
        let field = |name: &str| safe(alert[name].as_str().unwrap_or("?"));
        let since = alert["since_ms"].as_u64().unwrap_or(now_ms);
        let lasts = time(now_ms.saturating_sub(since) as f64 / 1e3);
        let _ = writeln!(
            text,
            "! {} (alert {}, {}, for {lasts})\n    {}",
            field("summary"),
            field("alert"),
            field("severity"),
            field("action")
        );
    }
    text
}

fn tried(sinks: &[Json]) -> String {
    let line = |sink: &Json| {
        let field = |name: &str| safe(sink[name].as_str().unwrap_or("?"));
        let how = if sink["ok"] == Json::Bool(true) { "works" } else { "fails" };
        format!("{:<8} {how}: {}\n", field("sink"), field("said"))
    };
    sinks.iter().map(line).collect()
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_active_is_told_with_what_to_do_and_nothing_else_is() {
        let none = json!({"watched": true, "active": []});
        assert_eq!(listed(&none, 0), "no alert is active\n");
        assert!(listed(&json!({}), 0).contains("alert_webhook"));
        let one = json!({"watched": true, "active": [{"alert": "cpu", "severity": "warning", "since_ms": 1_000,
            "summary": "web-1 \u{1b}[2J uses 93 %", "action": "See."}]});
        let text = listed(&one, 6_000);
        assert!(
            text.starts_with("! web-1 ") && text.contains("(alert cpu, warning, for 5.0 s)"),
            "{text}"
        );
        assert!(text.ends_with("\n    See.\n") && !text.contains('\u{1b}'), "{text}");
    }

    #[test]
    fn a_test_has_a_line_for_each_sink() {
        let sinks = [
            json!({"sink": "log", "ok": true, "said": "written"}),
            json!({"sink": "webhook", "ok": false, "said": "it answers 500"}),
        ];
        assert_eq!(tried(&sinks), "log      works: written\nwebhook  fails: it answers 500\n");
    }
}
