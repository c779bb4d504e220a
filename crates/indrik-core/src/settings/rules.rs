//! What a value must be beside its type: the `rule` of a row.

use super::quantity::read_time_limit;
use super::suggest;
use super::table::{Rule, Setting};
use super::value::{BadValue, Value};
use super::words;
use crate::alerts;
use crate::dispatch::Affinity;
use crate::http1::is_token;
use crate::trace::endpoint::{self, Endpoint};

/// Headers that mean something to whoever reads a request or an answer.
const TAKEN: [&str; 12] = [
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "host",
    "set-cookie",
    "te",
    "traceparent",
    "tracestate",
    "transfer-encoding",
    "upgrade",
];

/// What is wrong with a value of `setting`; nothing if it keeps the setting's rule.
pub(super) fn broken(setting: &Setting, value: &Value) -> Vec<BadValue> {
    let Some(rule) = setting.rule else { return Vec::new() };
    let one = |text: &String| {
        let (what, hint) = check(rule, text).err()?;
        Some(BadValue { what, hint: Some(hint) })
    };
    match value {
        Value::Text(text) => one(text).into_iter().collect(),
        Value::List(texts) => texts.iter().filter_map(one).collect(),
        _ => Vec::new(),
    }
}

/// What is wrong and what to write instead.
fn check(rule: Rule, text: &str) -> Result<(), (String, String)> {
    let must = |holds: bool, what: &str, hint: &str| {
        if holds { Ok(()) } else { Err((format!("{text:?} is not {what}"), hint.to_owned())) }
    };
    match rule {
        // A path is compared as it stands in a request.
        Rule::Path => must(
            text.starts_with('/') && !text.contains(['?', '#', ' ']),
            "the path of a request",
            "begin it with / and leave out any query, for example /ready",
        ),
        Rule::Target => must(
            text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic()),
            "the path of a request",
            "write the path of a request such as /health, without scheme and host",
        ),
        Rule::TimeLimit => match read_time_limit(text) {
            Some(_) => Ok(()),
            None => Err((
                format!("'{}' is not PREFIX=SECONDS", text.escape_debug()),
                "write it as /reports=120 or /health=500ms; 0 is no limit".to_owned(),
            )),
        },
        Rule::Affinity => match Affinity::parse(text) {
            Ok(_) => Ok(()),
            Err(bad) => Err((bad.to_string(), affinity_hint(text))),
        },
        Rule::Endpoint => match Endpoint::parse(text) {
            Ok(_) => Ok(()),
            Err(bad) => Err((
                format!("{} {bad}", endpoint::shown(text)),
                "write the collector's address for HTTP, for example http://127.0.0.1:4318"
                    .to_owned(),
            )),
        },
        // It may hold a secret, and is not repeated.
        Rule::Webhook => match Endpoint::parse_with_query(text) {
            Ok(_) => Ok(()),
            Err(bad) => Err((
                format!("the address {bad}"),
                "write where messages are taken by POST, as https://hooks.example.com/services/T0/B0"
                    .to_owned(),
            )),
        },
        Rule::Command => match words::split(text) {
            Ok(words) if words.first().is_some_and(|program| !program.is_empty()) => {
                must(!text.contains('\0'), "a command", "leave the NUL character out")
            }
            Ok(_) | Err(words::Unfinished) => Err((
                format!("{text:?} is no program with arguments"),
                "write it as /usr/local/bin/page --team 'night shift', with every quote closed"
                    .to_owned(),
            )),
        },
        Rule::Alert => alerts::check(text),
        // An underscore could pose as a hyphen in an environ.
        Rule::FieldName => must(
            is_token(text.as_bytes())
                && !text.contains('_')
                && !TAKEN.iter().any(|name| text.eq_ignore_ascii_case(name)),
            "the name of a header of its own",
            "write it with letters, digits and hyphens, for example X-Request-ID",
        ),
    }
}

/// What whoever wrote `text` may have meant: the words of other servers, or one of ours misspelt.
fn affinity_hint(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let (word, name) =
        lower.split_once(':').map_or((lower.as_str(), ""), |(word, name)| (word, name));
    let near = match word {
        "sticky" | "session" => Some("cookie"),
        "ip_hash" | "ip-hash" | "source" | "client_ip" | "remote_addr" => Some("ip"),
        "sid" | "url_param" | "arg" => Some("query"),
        "hdr" => Some("header"),
        word => suggest::nearest(word, ["cookie", "ip", "header", "query"].into_iter()),
    };
    let name = if name.is_empty() { "NAME" } else { name };
    match near {
        Some("header") => format!("write header:{}, with the name of one field", header_or(name)),
        Some("query") => {
            format!("write query:{name}, with the name of a parameter; Flask-SocketIO's is sid")
        }
        Some("cookie") if name != "NAME" => {
            "write cookie without a name: it is a cookie of the server's own".to_owned()
        }
        Some(near) => format!("did you mean {near}?"),
        None => {
            "write cookie, ip, header:X-Tenant or query:sid (what Flask-SocketIO needs)".to_owned()
        }
    }
}

/// The name of a field if it is one, otherwise what stands for it.
fn header_or(name: &str) -> &str {
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if is_name { name } else { "NAME" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_command_webhook_or_alert_is_told_without_its_secret() {
        for (rule, wrong, what, hint) in [
            (Rule::Command, "page 'night", "page 'night", "every quote closed"),
            (Rule::Command, "", "no program", "page --team"),
            (Rule::Command, "'' x", "no program", "page --team"),
            (Rule::Webhook, "hooks.example.com/s3cret", "begin with http", "by POST"),
            (Rule::Webhook, "https://h/x?s3cret#y", "fragment", "by POST"),
            (Rule::Alert, "cpus > 1%", "cpus", "did you mean cpu?"),
        ] {
            let (told, found) = check(rule, wrong).unwrap_err();
            assert!(told.contains(what) && found.contains(hint), "{wrong}: {told}: {found}");
            assert!(!told.contains("s3cret"), "{told}");
        }
        assert!(check(Rule::Webhook, "https://h/x?a=b").is_ok());
        assert!(check(Rule::Command, "page --team 'night shift'").is_ok());
    }

    #[test]
    fn a_wrong_affinity_is_answered_with_the_one_that_was_meant() {
        for (wrong, hint) in [
            ("cokie", "did you mean cookie?"),
            ("COOKIE", "did you mean cookie?"),
            ("sticky", "did you mean cookie?"),
            ("ip_hash", "did you mean ip?"),
            ("cookie:sid", "without a name"),
            ("header", "header:NAME"),
            ("header:X Y", "header:NAME"),
            ("hdr:x-tenant", "header:x-tenant"),
            ("query", "query:NAME"),
            ("sid", "query:NAME"),
            ("moon", "query:sid"),
        ] {
            let (_, found) = check(Rule::Affinity, wrong).unwrap_err();
            assert!(found.contains(hint), "{wrong}: {found}");
        }
    }
}
