//! Turns `settings.toml` into a static table, so that a mistake in a row stops the build and the
//! program starts without parsing anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use serde::Deserialize;
use serde::de::IgnoredAny;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    setting: Vec<Row>,
    #[serde(rename = "derived")]
    _derived: IgnoredAny,
}

/// One setting; the file's head says what each key means. What only the fields of `Config` are made of
/// is read by `cargo xtask settings`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    section: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(rename = "rust")]
    _rust: Option<IgnoredAny>,
    #[serde(rename = "always")]
    _always: Option<IgnoredAny>,
    #[serde(rename = "field")]
    _field: Option<IgnoredAny>,
    #[serde(rename = "derived")]
    _derived: Option<IgnoredAny>,
    #[serde(rename = "choice_docs")]
    _choice_docs: Option<IgnoredAny>,
    rule: Option<String>,
    #[serde(default)]
    at_start_only: bool,
    default: Option<toml::Value>,
    default_text: Option<String>,
    gunicorn_default: Option<String>,
    #[serde(default)]
    auto: bool,
    min: Option<i64>,
    max: Option<i64>,
    cap: Option<i64>,
    #[serde(default)]
    choices: Vec<String>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    separator: Option<char>,
    #[serde(default)]
    none_is_value: bool,
    dash: Option<String>,
    flags: Vec<String>,
    bare: Option<String>,
    placeholder: Option<String>,
    #[serde(default)]
    env: Vec<Variable>,
    gunicorn: bool,
    secret: Option<bool>,
    by_api: Option<bool>,
    #[serde(default = "honoured")]
    status: String,
    reason: Option<String>,
    since: String,
    doc: String,
}

/// A further environment variable.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variable {
    name: String,
    template: Option<String>,
    rank: String,
}

fn honoured() -> String {
    "honoured".to_owned()
}

fn main() {
    let source = Path::new(&env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .join("../../settings.toml");
    println!("cargo::rerun-if-changed={}", source.display());
    let text = fs::read_to_string(&source).expect("settings.toml is at the repository's root");
    let file: File = toml::from_str(&text).unwrap_or_else(|e| panic!("settings.toml: {e}"));
    check_names_are_unique(&file.setting);

    let mut out = String::from("/// Every setting, in the table's order.\n");
    out.push_str("pub static SETTINGS: &[Setting] = &[\n");
    for row in &file.setting {
        out.push_str(&setting(row));
    }
    out.push_str("];\n");
    let target = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("settings_table.rs");
    fs::write(target, out).expect("OUT_DIR is writable");
}

/// Two rows that claim one name, flag or variable would make the later one unreachable.
fn check_names_are_unique(rows: &[Row]) {
    let mut seen = BTreeSet::new();
    let names = rows.iter().flat_map(|row| {
        let variables = row.env.iter().map(|variable| format!("variable {}", variable.name));
        let flags = row.flags.iter().map(|flag| format!("flag {flag}"));
        std::iter::once(format!("name {}", row.name)).chain(flags).chain(variables)
    });
    for name in names {
        assert!(seen.insert(name.clone()), "settings.toml: {name} is claimed twice");
    }
}

/// Whether it may hold a secret has to be decided for every setting that could.
fn is_secret(row: &Row) -> bool {
    const MAY_HOLD_ONE: [&str; 7] =
        ["string", "list", "pairs", "texts", "dict", "statsd", "syslog"];
    match row.secret {
        Some(secret) => secret,
        None if MAY_HOLD_ONE.contains(&row.kind.as_str()) => {
            panic!("settings.toml: {}: say secret = true or false", row.name)
        }
        None => false,
    }
}

/// Whether an operator may change it while the server runs has to be decided for every setting.
fn is_by_api(row: &Row) -> bool {
    row.by_api.unwrap_or_else(|| panic!("settings.toml: {}: say by_api = true or false", row.name))
}

/// One row as a Rust expression.
fn setting(row: &Row) -> String {
    let mut out = String::from("Setting {\n");
    let mut field = |name: &str, value: String| {
        writeln!(out, "    {name}: {value},").expect("writing to a String");
    };
    field("name", quoted(&row.name));
    field("section", quoted(&row.section));
    field("kind", format!("Kind::{}", kind(row)));
    field("default", default(row));
    field("default_text", optional_text(row.default_text.as_deref()));
    field("gunicorn_default", optional_text(row.gunicorn_default.as_deref()));
    field("auto", row.auto.to_string());
    field("min", format!("{:?}", row.min));
    field("max", format!("{:?}", row.max));
    field("cap", format!("{:?}", row.cap));
    field("choices", texts(&row.choices));
    field("aliases", format!("&{:?}", row.aliases.iter().collect::<Vec<_>>()));
    field("rule", rule(row));
    field("at_start_only", row.at_start_only.to_string());
    field("separator", format!("{:?}", row.separator));
    field("none_is_value", row.none_is_value.to_string());
    field("dash_is_stdout", dash_is_stdout(row).to_string());
    field("flags", texts(&row.flags));
    field("bare", optional_text(row.bare.as_deref()));
    field("placeholder", quoted(row.placeholder.as_deref().unwrap_or("VALUE")));
    field("variables", variables(row));
    field("gunicorn", row.gunicorn.to_string());
    field("status", status(row));
    field("secret", is_secret(row).to_string());
    field("by_api", is_by_api(row).to_string());
    field("since", quoted(&row.since));
    field("doc", quoted(row.doc.trim()));
    out.push_str("},\n");
    out
}

fn kind(row: &Row) -> &'static str {
    match row.kind.as_str() {
        "int" => "Int",
        "mode" => "Mode",
        "bool" => "Bool",
        "string" => "Text",
        "name_or_number" => "NameOrNumber",
        "path" => "Path",
        "duration_s" => "Duration",
        "size" => "Size",
        "memory" => "Memory",
        "share" => "Share",
        "percent" => "Percent",
        "choice" => "Choice",
        "class" => "Class",
        "log" => "Log",
        "statsd" => "StatsD",
        "syslog" => "Syslog",
        "list" => "List",
        "networks" => "Networks",
        "rlimits" => "Rlimits",
        "pairs" => "Pairs",
        "addresses" => "Addresses",
        "texts" => "Texts",
        "dict" => "Dict",
        "hook" => "Hook",
        other => panic!("settings.toml: {}: unknown type {other}", row.name),
    }
}

fn rule(row: &Row) -> String {
    let rule = match row.rule.as_deref() {
        None => return "None".to_owned(),
        Some("path") => "Path",
        Some("target") => "Target",
        Some("time_limit") => "TimeLimit",
        Some("affinity") => "Affinity",
        Some("field_name") => "FieldName",
        Some("endpoint") => "Endpoint",
        Some("webhook") => "Webhook",
        Some("command") => "Command",
        Some("alert") => "Alert",
        Some(other) => panic!("settings.toml: {}: unknown rule {other}", row.name),
    };
    format!("Some(Rule::{rule})")
}

fn default(row: &Row) -> String {
    match &row.default {
        None => "Written::Nothing".to_owned(),
        Some(toml::Value::Integer(number)) => format!("Written::Int({number})"),
        Some(toml::Value::Boolean(truth)) => format!("Written::Bool({truth})"),
        Some(toml::Value::String(text)) => format!("Written::Text({text:?})"),
        Some(toml::Value::Array(items)) => format!("Written::List({})", array(row, items)),
        Some(toml::Value::Table(table)) => {
            let pairs: Vec<_> = table.iter().map(|(key, value)| (key, text(row, value))).collect();
            format!("Written::Dict(&{pairs:?})")
        }
        Some(other) => panic!("settings.toml: {}: default {other} is of no use", row.name),
    }
}

fn array(row: &Row, items: &[toml::Value]) -> String {
    format!("&{:?}", items.iter().map(|item| text(row, item)).collect::<Vec<_>>())
}

fn text<'a>(row: &Row, value: &'a toml::Value) -> &'a str {
    value.as_str().unwrap_or_else(|| panic!("settings.toml: {}: {value} is not text", row.name))
}

fn dash_is_stdout(row: &Row) -> bool {
    match row.dash.as_deref() {
        Some("stdout") => true,
        Some("stderr") | None => false,
        Some(other) => panic!("settings.toml: {}: dash = {other}", row.name),
    }
}

fn variables(row: &Row) -> String {
    let one = |variable: &Variable| {
        let rank = match variable.rank.as_str() {
            "environment" => "Environment",
            "default" => "Default",
            other => panic!("settings.toml: {}: rank = {other}", row.name),
        };
        let template = variable.template.as_deref().unwrap_or("{}");
        format!(
            "Variable {{ name: {:?}, template: {template:?}, rank: Rank::{rank} }}",
            variable.name
        )
    };
    format!("&[{}]", row.env.iter().map(one).collect::<Vec<_>>().join(", "))
}

fn status(row: &Row) -> String {
    match (row.status.as_str(), &row.reason) {
        ("honoured", None) => "Status::Honoured".to_owned(),
        ("ignored", Some(reason)) => format!("Status::Ignored {{ reason: {reason:?} }}"),
        ("refused", Some(reason)) => format!("Status::Refused {{ reason: {reason:?} }}"),
        (status, _) => {
            panic!("settings.toml: {}: status {status} with or without reason", row.name)
        }
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn optional_text(text: Option<&str>) -> String {
    format!("{text:?}")
}

fn texts(items: &[String]) -> String {
    format!("&{items:?}")
}
