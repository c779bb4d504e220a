//! Values as Python writes them: what `--print-config` prints.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::value::Value;

/// The value as Python's `str` shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Nothing => "None".to_owned(),
        Value::Mode(bits) => bits.to_string(),
        Value::Bool(truth) => truth_name(*truth).to_owned(),
        Value::Duration(span) => number(span.as_secs_f64()),
        Value::Size(bytes) => bytes.to_string(),
        Value::Memory(limit) => limit.to_string(),
        Value::Share(share) => share.to_string(),
        Value::Function(name) => format!("<{name}()>"),
        Value::List(items) => list(items),
        Value::Pairs(pairs) => {
            list(&pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>())
        }
        Value::Addresses(addresses) => {
            list(&addresses.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
        Value::Networks(networks) => {
            list(&networks.iter().map(ToString::to_string).collect::<Vec<_>>())
        }
        Value::Rlimits(limits) => list(&limits.iter().map(ToString::to_string).collect::<Vec<_>>()),
        Value::Texts(table) => {
            let table: BTreeMap<String, Json> =
                table.iter().map(|(key, value)| (key.clone(), Json::from(value.clone()))).collect();
            dict(table.iter())
        }
        Value::Dict(table) => dict(table.iter()),
        Value::Auto
        | Value::Int(_)
        | Value::Text(_)
        | Value::Log(_)
        | Value::Class(_)
        | Value::StatsD(_)
        | Value::Syslog(_) => value.to_string(),
    }
}

fn truth_name(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}

/// Whole seconds without a point, as they are written.
fn number(seconds: f64) -> String {
    if seconds.fract() == 0.0 { format!("{seconds:.0}") } else { seconds.to_string() }
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
}

fn dict<'a>(table: impl Iterator<Item = (&'a String, &'a Json)>) -> String {
    let pairs = table.map(|(key, value)| format!("{}: {}", quoted(key), literal(value)));
    format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
}

fn literal(json: &Json) -> String {
    match json {
        Json::Null => "None".to_owned(),
        Json::Bool(truth) => truth_name(*truth).to_owned(),
        Json::Number(number) => number.to_string(),
        Json::String(text) => quoted(text),
        Json::Array(items) => {
            format!("[{}]", items.iter().map(literal).collect::<Vec<_>>().join(", "))
        }
        Json::Object(table) => dict(table.iter()),
    }
}

/// Python prefers single quotes, unless only double ones need no escape.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for char in text.chars() {
        match char {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            char if char == quote => out.extend(['\\', char]),
            char if char.is_control() => out.push_str(&format!("\\x{:02x}", u32::from(char))),
            char => out.push(char),
        }
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_as_python_prints_them() {
        assert_eq!(
            shown(&Value::List(vec!["it's".into(), "a\\b\n".into()])),
            r#"["it's", 'a\\b\n']"#
        );
        assert_eq!(shown(&Value::Duration(std::time::Duration::from_millis(1500))), "1.5");
        assert_eq!(shown(&Value::Duration(std::time::Duration::from_secs(30))), "30");
        assert_eq!(shown(&Value::Mode(0o600)), "384");
        let table = BTreeMap::from([("a".to_owned(), json!([null, true, 1, "x"]))]);
        assert_eq!(shown(&Value::Dict(table)), "{'a': [None, True, 1, 'x']}");
    }
}
