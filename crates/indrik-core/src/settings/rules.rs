//! What a value must be beside its type: the `rule` of a row.

use super::quantity::read_time_limit;
use super::table::{Rule, Setting};
use super::value::{BadValue, Value};
use crate::dispatch::Affinity;

/// What is wrong with a value of `setting`; nothing if it keeps the setting's rule.
pub(super) fn broken(setting: &Setting, value: &Value) -> Vec<BadValue> {
    let Some(rule) = setting.rule else { return Vec::new() };
    let one = |text: &String| {
        let (what, hint) = check(rule, text).err()?;
        Some(BadValue { what, hint: Some(hint.to_owned()) })
    };
    match value {
        Value::Text(text) => one(text).into_iter().collect(),
        Value::List(texts) => texts.iter().filter_map(one).collect(),
        _ => Vec::new(),
    }
}

/// What is wrong and what to write instead.
fn check(rule: Rule, text: &str) -> Result<(), (String, &'static str)> {
    let must = |holds: bool, what: &str, hint| {
        if holds { Ok(()) } else { Err((format!("{text:?} is not {what}"), hint)) }
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
                "write it as /reports=120 or /health=500ms; 0 is no limit",
            )),
        },
        Rule::Affinity => match Affinity::parse(text) {
            Ok(_) => Ok(()),
            Err(bad) => Err((bad.to_string(), "for Flask-SocketIO write query:sid")),
        },
    }
}
