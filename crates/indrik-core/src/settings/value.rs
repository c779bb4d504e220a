//! Values: from text or JSON, checked against their row of the table, and back to text.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value as Json;

use super::address::{AddressError, BindAddress};
use super::hint;
use super::layers::Raw;
use super::network::Network;
use super::quantity::{self, QuantityError};
use super::rlimits::WorkerRlimit;
use super::servers::{StatsdAddress, SyslogAddress};
use super::share::Share;
use super::suggest;
use super::table::{Kind, Setting, Written};
use super::types::{ClassSpec, LogTarget};
use super::worker_class;
use crate::memory::Limit;

/// A checked value of one setting.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Not set, and the table has no default.
    Nothing,
    /// The word `auto`.
    Auto,
    /// A whole number.
    Int(i64),
    /// Permissions.
    Mode(u32),
    /// Yes or no.
    Bool(bool),
    /// Text, a path, or a choice.
    Text(String),
    /// A time span, in whole milliseconds.
    Duration(Duration),
    /// Bytes.
    Size(u64),
    /// Memory of one process.
    Memory(Limit),
    /// A number of workers, or a part of them.
    Share(Share),
    /// A log's target.
    Log(LogTarget),
    /// A Python class.
    Class(ClassSpec),
    /// A StatsD server.
    StatsD(StatsdAddress),
    /// A syslog server.
    Syslog(SyslogAddress),
    /// Several texts.
    List(Vec<String>),
    /// Several networks.
    Networks(Vec<Network>),
    /// Limits of a process.
    Rlimits(Vec<WorkerRlimit>),
    /// Several `NAME=VALUE`.
    Pairs(Vec<(String, String)>),
    /// Addresses to listen on.
    Addresses(Vec<BindAddress>),
    /// A table of texts.
    Texts(BTreeMap<String, String>),
    /// A table of values.
    Dict(BTreeMap<String, Json>),
    /// A Python function, by its name.
    Function(String),
}

/// Why something is not a value of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadValue {
    /// What is wrong, as the end of a sentence that begins with the setting's name.
    pub what: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// How a function looks among the values of a configuration file.
const CALLABLE_KEY: &str = "__callable__";
/// How a Python object that is neither data nor a function looks there: its type's name.
const OBJECT_KEY: &str = "__object__";
/// A value that Python could not make sense of: why.
const WRONG_KEY: &str = "__wrong__";
/// All permissions with set-user-id, set-group-id and sticky.
const MODE_MAX: u32 = 0o7777;
/// More of a value than this is not repeated in a message.
const SHOWN_CHARS_MAX: usize = 60;

/// Reads what was written as a value of `setting`.
pub(super) fn parse(setting: &Setting, raw: &Raw) -> Result<Value, BadValue> {
    match raw {
        Raw::Texts(texts) if setting.kind.is_list() => parse_list(setting, texts),
        Raw::Texts(texts) => match texts.last() {
            Some(text) => parse_text(setting, text),
            None => parse_text(setting, setting.bare.unwrap_or("true")),
        },
        Raw::Json(json) => parse_json(setting, json),
    }
}

/// The table's default.
///
/// # Errors
/// When a row's default is no value of its type: a test keeps that from happening.
pub(super) fn default(setting: &Setting) -> Result<Value, BadValue> {
    match setting.default {
        Written::Nothing => Ok(Value::Nothing),
        Written::Int(number) => parse_json(setting, &Json::from(number)),
        Written::Bool(truth) => parse_json(setting, &Json::from(truth)),
        Written::Text(text) => parse_text(setting, text),
        Written::List(items) => parse_json(setting, &Json::from(items.to_vec())),
        Written::Dict(pairs) => {
            let table = pairs.iter().map(|(key, value)| ((*key).to_owned(), Json::from(*value)));
            parse_json(setting, &Json::Object(table.collect()))
        }
    }
}

/// One text as the whole value.
fn parse_text(setting: &Setting, text: &str) -> Result<Value, BadValue> {
    let text = text.trim();
    if setting.auto && text.eq_ignore_ascii_case("auto") {
        return Ok(Value::Auto);
    }
    match setting.kind {
        Kind::Int => whole_number(setting, quantity::parse_int(text), text),
        Kind::Mode => mode(text),
        Kind::Bool => truth(text),
        Kind::NameOrNumber if text.is_empty() => Ok(Value::Nothing),
        Kind::Share | Kind::Percent if text.is_empty() => Ok(Value::Nothing),
        Kind::Share | Kind::Percent => share(setting, text),
        Kind::Text | Kind::NameOrNumber => Ok(Value::Text(text.to_owned())),
        Kind::Path if text.is_empty() => Ok(Value::Nothing),
        Kind::Path => Ok(Value::Text(text.to_owned())),
        Kind::Duration => duration(setting, quantity::parse_duration(text), text),
        Kind::Size => size(setting, quantity::parse_size(text), text),
        Kind::Memory => memory(text),
        // As an empty variable of the environment leaves it behind.
        Kind::Choice | Kind::Syslog if text.is_empty() => Ok(Value::Nothing),
        Kind::Choice => choice(setting, text),
        Kind::Class => class(setting, text, false),
        Kind::Log => Ok(log(setting, text)),
        Kind::StatsD if text.is_empty() => Ok(Value::Nothing),
        Kind::StatsD => server(text, hint::STATSD).map(Value::StatsD),
        Kind::Syslog => server(text, hint::SYSLOG).map(Value::Syslog),
        Kind::List | Kind::Networks | Kind::Rlimits | Kind::Pairs | Kind::Addresses => {
            parse_list(setting, &[text.to_owned()])
        }
        Kind::Texts | Kind::Dict => {
            Err(wrong(text, "a table", "set it in gunicorn.conf.py or indrik.toml"))
        }
        Kind::Hook => Err(wrong(text, "a function", "define it in gunicorn.conf.py")),
    }
}

/// A value from a file. Python's `True` and `False` count as 1 and 0, as they do in Gunicorn.
fn parse_json(setting: &Setting, json: &Json) -> Result<Value, BadValue> {
    if let Some(reason) = json.get(WRONG_KEY).and_then(Json::as_str) {
        return Err(BadValue { what: reason.to_owned(), hint: None });
    }
    match (setting.kind, json) {
        (Kind::Bool, Json::Bool(truth)) => Ok(Value::Bool(*truth)),
        (kind, Json::Bool(truth)) if is_number(kind) => {
            parse_text(setting, if *truth { "1" } else { "0" })
        }
        (kind, Json::Bool(false)) if kind.is_list() && kind != Kind::Addresses => {
            parse_list(setting, &[])
        }
        (Kind::Choice, Json::Bool(truth)) => choice(setting, &truth.to_string()),
        (Kind::Mode, Json::Number(number)) => mode_number(number.as_i64(), &number.to_string()),
        (Kind::Duration, Json::Number(number)) => parse_text(setting, &number.to_string()),
        (kind, Json::Number(number))
            if !number.is_f64()
                && (is_number(kind) || matches!(kind, Kind::NameOrNumber | Kind::Share)) =>
        {
            parse_text(setting, &number.to_string())
        }
        (Kind::Dict, Json::Object(table)) if python_type(json).is_none() => {
            Ok(Value::Dict(table.clone().into_iter().collect()))
        }
        (Kind::Texts, Json::Object(table)) if python_type(json).is_none() => texts_by_name(table),
        (kind, Json::Array(items)) if kind.is_list() => parse_list(setting, &texts(items)?),
        (Kind::Hook, Json::String(name)) => Ok(Value::Function(name.clone())),
        (_, Json::String(text)) => parse_text(setting, text),
        (Kind::Hook, Json::Object(_)) if callable(json).is_some() => {
            Ok(Value::Function(callable(json).unwrap_or_default().to_owned()))
        }
        (Kind::Class, Json::Object(_)) if callable(json).is_some() => {
            class(setting, callable(json).unwrap_or_default(), true)
        }
        (kind, Json::Null) if may_be_unset(kind) => Ok(Value::Nothing),
        (..) => Err(wrong_type(setting, json)),
    }
}

fn is_number(kind: Kind) -> bool {
    matches!(kind, Kind::Int | Kind::Mode | Kind::Size | Kind::Memory | Kind::Duration)
}

/// Kinds for which Python's `None` means "as if it were not written". Real files set hooks to
/// `None`, which Gunicorn refuses with a traceback.
fn may_be_unset(kind: Kind) -> bool {
    !is_number(kind)
}

fn texts_by_name(table: &serde_json::Map<String, Json>) -> Result<Value, BadValue> {
    let pairs = table.iter().map(|(name, json)| match json.as_str() {
        Some(text) => Ok((name.clone(), text.to_owned())),
        None => Err(BadValue {
            what: format!("has {} for '{name}', which is not text", shown(json)),
            hint: Some("write each value as text in quotes".to_owned()),
        }),
    });
    pairs.collect::<Result<_, _>>().map(Value::Texts)
}

fn texts(items: &[Json]) -> Result<Vec<String>, BadValue> {
    items
        .iter()
        .map(|item| {
            item.as_str().map(str::to_owned).ok_or_else(|| BadValue {
                what: format!("has {} in its list, which is not text", shown(item)),
                hint: Some("write each entry as text in quotes".to_owned()),
            })
        })
        .collect()
}

fn parse_list(setting: &Setting, texts: &[String]) -> Result<Value, BadValue> {
    match setting.kind {
        Kind::Pairs => {
            let texts = texts.iter().filter(|text| !text.trim().is_empty());
            texts.map(|text| pair(text)).collect::<Result<_, _>>().map(Value::Pairs)
        }
        Kind::Addresses => addresses(texts),
        Kind::Networks => networks(&split(texts, setting.separator)),
        Kind::Rlimits => rlimits(&split(texts, setting.separator)),
        _ => chosen(setting, split(texts, setting.separator)),
    }
}

/// A list whose entries are words of a few.
fn chosen(setting: &Setting, items: Vec<String>) -> Result<Value, BadValue> {
    if !setting.choices.is_empty() {
        for item in &items {
            choice(setting, item)?;
        }
    }
    Ok(Value::List(items))
}

fn split(texts: &[String], separator: Option<char>) -> Vec<String> {
    let parts = texts.iter().flat_map(|text| match separator {
        Some(separator) => text.split(separator).collect::<Vec<_>>(),
        None => vec![text.as_str()],
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// A variable's name is whatever stands before the first `=`; its value is kept to the letter.
fn pair(text: &str) -> Result<(String, String), BadValue> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !text.contains('\0') => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(wrong(text, "NAME=VALUE", "write it as DEBUG=1")),
    }
}

fn networks(texts: &[String]) -> Result<Value, BadValue> {
    let one = |text: &String| {
        text.parse::<Network>().map_err(|reason| BadValue {
            what: format!("{} is not a network: {reason}", shown_text(text)),
            hint: Some(hint::NETWORK.to_owned()),
        })
    };
    texts.iter().map(one).collect::<Result<_, _>>().map(Value::Networks)
}

/// A resource has one limit: with two of them, one would be meant and the other would hold.
fn rlimits(texts: &[String]) -> Result<Value, BadValue> {
    let hint = || Some(hint::RLIMIT.to_owned());
    let mut limits: Vec<WorkerRlimit> = Vec::new();
    for text in texts {
        let limit: WorkerRlimit = text.parse().map_err(|reason| BadValue {
            what: format!("{} is not a limit: {reason}", shown_text(text)),
            hint: hint(),
        })?;
        if limits.iter().any(|other| other.resource == limit.resource) {
            let what = format!("has two limits for {}", limit.resource.name());
            return Err(BadValue { what, hint: hint() });
        }
        limits.push(limit);
    }
    Ok(Value::Rlimits(limits))
}

fn server<A: std::str::FromStr<Err = AddressError>>(text: &str, hint: &str) -> Result<A, BadValue> {
    text.parse().map_err(|reason| BadValue {
        what: format!("{} is not a server's address: {reason}", shown_text(text)),
        hint: Some(hint.to_owned()),
    })
}

/// Names we do not know are the zygote's to import; one without a dot cannot be imported.
fn class(setting: &Setting, name: &str, object: bool) -> Result<Value, BadValue> {
    let spec = ClassSpec { name: name.to_owned(), object };
    let is_worker = setting.name == "worker_class";
    if object || name.contains(['.', ':']) && !is_worker {
        return Ok(Value::Class(spec));
    }
    if is_worker && worker_class::by_name(name).is_some() || !is_worker && name == "simple" {
        return Ok(Value::Class(spec));
    }
    let mut hint = "write a class's import path such as package.module.Class".to_owned();
    if let Some(said) = hint::instead_of_class(name).filter(|_| is_worker) {
        hint = said;
    } else if is_worker {
        let near = suggest::nearest(name, worker_class::aliases());
        let near = near.map_or(String::new(), |near| format!("did you mean {near}? "));
        let all = worker_class::aliases().collect::<Vec<_>>().join(", ");
        hint = format!("{near}The names are {all}; or {hint}");
    }
    Err(BadValue { what: format!("{} is not a class we know", shown_text(name)), hint: Some(hint) })
}

fn addresses(texts: &[String]) -> Result<Value, BadValue> {
    let one = |text: &String| {
        text.parse::<BindAddress>().map_err(|reason| BadValue {
            what: format!("{} is not an address: {reason}", shown_text(text)),
            hint: Some(hint::ADDRESS.to_owned()),
        })
    };
    let addresses = texts.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    if addresses.is_empty() {
        return Err(BadValue {
            what: "is an empty list: there would be nothing to listen on".to_owned(),
            hint: Some(hint::ADDRESS.to_owned()),
        });
    }
    Ok(Value::Addresses(addresses))
}

fn whole_number(
    setting: &Setting,
    number: Result<i64, QuantityError>,
    text: &str,
) -> Result<Value, BadValue> {
    let hint =
        if setting.auto { "write a number such as 4, or auto" } else { "write a number such as 4" };
    let number = number.map_err(|_| wrong(text, "a whole number", hint))?;
    in_range(setting, number, text)?;
    Ok(Value::Int(capped(setting, number)))
}

/// As Gunicorn reads it: a leading zero makes it octal.
fn mode(text: &str) -> Result<Value, BadValue> {
    let is_octal = text.len() > 1 && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = match text.strip_prefix('0') {
        Some(digits) if is_octal => i64::from_str_radix(digits, 8).ok(),
        _ => quantity::parse_int(text).ok(),
    };
    mode_number(number, text)
}

fn mode_number(number: Option<i64>, text: &str) -> Result<Value, BadValue> {
    let bits = number.and_then(|number| u32::try_from(number).ok());
    match bits.filter(|bits| *bits <= MODE_MAX) {
        Some(bits) => Ok(Value::Mode(bits)),
        None => Err(wrong(text, "a set of permissions", "write an octal number such as 0o660")),
    }
}

fn size(
    setting: &Setting,
    bytes: Result<i64, QuantityError>,
    text: &str,
) -> Result<Value, BadValue> {
    let hint = "write bytes, or a number with a unit: 65536, 64KiB, 16MiB, 1GiB";
    let bytes = bytes.map_err(|_| wrong(text, "a size", hint))?;
    in_range(setting, bytes, text)?;
    Ok(Value::Size(capped(setting, bytes).unsigned_abs()))
}

fn memory(text: &str) -> Result<Value, BadValue> {
    let hint = "write bytes, a number with a unit, or a part of what there is: 200MiB, 80%";
    match quantity::parse_memory(text) {
        Ok(limit) => Ok(Value::Memory(limit)),
        Err(QuantityError::TooSmall) => {
            Err(wrong(text, "a usable amount of memory", "the least is 1MiB, or 1%; 0 is no limit"))
        }
        Err(_) => Err(wrong(text, "an amount of memory", hint)),
    }
}

fn share(setting: &Setting, text: &str) -> Result<Value, BadValue> {
    let share = match text.parse() {
        Ok(Share::Count(_)) | Err(_) if setting.kind == Kind::Percent => {
            Err(("is not a percentage from 0% to 100%", "write a percentage such as 10%"))
        }
        Ok(share) => Ok(Value::Share(share)),
        Err(wrong) => Err((wrong, "write a number such as 1, or a percentage such as 25%")),
    };
    share.map_err(|(wrong, hint)| BadValue {
        what: format!("{text:?} {wrong}"),
        hint: Some(hint.to_owned()),
    })
}

fn duration(
    setting: &Setting,
    span: Result<Duration, QuantityError>,
    text: &str,
) -> Result<Value, BadValue> {
    let span = span.map_err(|reason| match reason {
        QuantityError::NotANumber => {
            wrong(text, "a time", "write seconds, or a number with a unit: 30, 1.5, 500ms, 2m, 1h")
        }
        QuantityError::TooSmall => wrong(text, "a usable time", "the shortest is 1ms"),
        QuantityError::TooLarge => wrong(text, "a usable time", "the longest is one year, 8760h"),
    })?;
    in_range(setting, i64::try_from(span.as_secs()).unwrap_or(i64::MAX), text)?;
    Ok(Value::Duration(span))
}

/// `0` and anything above the cap mean the cap: Gunicorn caps silently, and a configuration that
/// works there must work here.
fn capped(setting: &Setting, number: i64) -> i64 {
    match setting.cap {
        Some(cap) if number == 0 || number > cap => cap,
        _ => number,
    }
}

fn in_range(setting: &Setting, number: i64, text: &str) -> Result<(), BadValue> {
    if let Some(min) = setting.min.filter(|&min| number < min) {
        return Err(BadValue {
            what: format!("{} is too small", shown_text(text)),
            hint: Some(format!("the least is {min}")),
        });
    }
    if let Some(max) = setting.max.filter(|&max| number > max) {
        return Err(BadValue {
            what: format!("{} is too large", shown_text(text)),
            hint: Some(format!("the most is {max}")),
        });
    }
    Ok(())
}

fn truth(text: &str) -> Result<Value, BadValue> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(Value::Bool(true)),
        "false" | "no" | "off" | "0" => Ok(Value::Bool(false)),
        _ => Err(wrong(text, "true or false", "write true or false")),
    }
}

fn choice(setting: &Setting, text: &str) -> Result<Value, BadValue> {
    let alias = setting.aliases.iter().find(|(alias, _)| *alias == text).map(|(_, word)| *word);
    let word = setting.choices.iter().find(|word| word.eq_ignore_ascii_case(text)).copied();
    if let Some(word) = alias.or(word) {
        return Ok(Value::Text(word.to_owned()));
    }
    let all = setting.choices.join(", ");
    let hint = match suggest::nearest(text, setting.choices.iter().copied()) {
        Some(near) => format!("did you mean {near}? The choices are {all}"),
        None => format!("the choices are {all}"),
    };
    Err(BadValue { what: format!("{} is not a choice", shown_text(text)), hint: Some(hint) })
}

fn log(setting: &Setting, text: &str) -> Value {
    match text {
        "" => Value::Nothing,
        "-" if setting.dash_is_stdout => Value::Log(LogTarget::Stdout),
        "-" => Value::Log(LogTarget::Stderr),
        path => Value::Log(LogTarget::File(PathBuf::from(path))),
    }
}

/// Whether a value of a configuration file is a function or class.
pub(super) fn is_callable(json: &Json) -> bool {
    callable(json).is_some()
}

fn callable(json: &Json) -> Option<&str> {
    json.get(CALLABLE_KEY)?.as_str()
}

fn python_type(json: &Json) -> Option<&str> {
    json.get(OBJECT_KEY).or_else(|| json.get(CALLABLE_KEY))?.as_str()
}

fn wrong(text: &str, expected: &str, hint: &str) -> BadValue {
    BadValue {
        what: format!("{} is not {expected}", shown_text(text)),
        hint: Some(hint.to_owned()),
    }
}

fn wrong_type(setting: &Setting, json: &Json) -> BadValue {
    let found = match (callable(json), python_type(json)) {
        (Some(name), _) => format!("the function or class {name}"),
        (None, Some(name)) => format!("an object of type {name}"),
        (None, None) => shown(json),
    };
    let (expected, hint) = match setting.kind {
        Kind::Int => ("a whole number", "write a number without quotes or fraction"),
        Kind::Mode => ("a set of permissions", "write an octal number such as 0o660"),
        Kind::NameOrNumber => ("a name or number", "write 'www-data' or 33"),
        Kind::Share => ("a number or a percentage", "write 1, or text such as '25%'"),
        Kind::Percent => ("a percentage", "write text such as '10%'"),
        Kind::Class => ("a class", "write a class or its import path in quotes"),
        Kind::Bool => ("true or false", "write True or False"),
        Kind::Text | Kind::Path | Kind::Log | Kind::StatsD | Kind::Syslog | Kind::Choice => {
            ("text", "write it in quotes")
        }
        Kind::Duration => ("a time", "write seconds as a number, or text such as '500ms'"),
        Kind::Size => ("a size", "write bytes as a whole number, or text such as '16MiB'"),
        Kind::Memory => ("an amount of memory", "write bytes, or text such as '200MiB' or '80%'"),
        Kind::List | Kind::Networks | Kind::Rlimits | Kind::Pairs | Kind::Addresses => {
            ("a list of texts", "write ['…', '…']")
        }
        Kind::Texts | Kind::Dict => ("a table", "write {'name': value}"),
        Kind::Hook => ("a function", "define a function of that name, or leave it out"),
    };
    let hint = hint::of_its_own(setting, json).unwrap_or_else(|| hint.to_owned());
    BadValue { what: format!("{found} is not {expected}"), hint: Some(hint) }
}

fn shown(json: &Json) -> String {
    match json {
        Json::Null => "None".to_owned(),
        Json::Bool(true) => "True".to_owned(),
        Json::Bool(false) => "False".to_owned(),
        Json::String(text) => shown_text(text),
        other => shorten(&other.to_string()),
    }
}

/// Quoted and escaped, so that a stray space, newline or terminal escape is seen and does no harm.
fn shown_text(text: &str) -> String {
    format!("'{}'", shorten(text).escape_debug())
}

fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

fn serializable(value: &impl serde::Serialize) -> Json {
    serde_json::to_value(value).expect("paths here come from text, and map keys are text")
}

/// As a user would write it; reading it gives the same value again.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => Ok(()),
            Self::Auto => f.write_str("auto"),
            Self::Int(number) => number.fmt(f),
            Self::Mode(bits) => write!(f, "{bits:#o}"),
            Self::Bool(truth) => truth.fmt(f),
            Self::Text(text) | Self::Function(text) => f.write_str(text),
            Self::Duration(span) => f.write_str(&quantity::write_duration(*span)),
            Self::Size(bytes) => f.write_str(&quantity::write_size(*bytes)),
            Self::Memory(limit) => f.write_str(&quantity::write_memory(*limit)),
            Self::Share(share) => share.fmt(f),
            Self::Log(LogTarget::Stdout | LogTarget::Stderr) => f.write_str("-"),
            Self::Log(LogTarget::File(path)) => path.display().fmt(f),
            Self::Class(spec) => f.write_str(&spec.name),
            Self::StatsD(address) => address.fmt(f),
            Self::Syslog(address) => address.fmt(f),
            Self::List(items) => f.write_str(&items.join(", ")),
            Self::Networks(networks) => {
                let texts = networks.iter().map(ToString::to_string);
                f.write_str(&texts.collect::<Vec<_>>().join(", "))
            }
            Self::Rlimits(limits) => {
                let texts = limits.iter().map(ToString::to_string);
                f.write_str(&texts.collect::<Vec<_>>().join(", "))
            }
            Self::Pairs(pairs) => {
                let texts = pairs.iter().map(|(name, value)| format!("{name}={value}"));
                f.write_str(&texts.collect::<Vec<_>>().join(", "))
            }
            Self::Addresses(addresses) => {
                let texts = addresses.iter().map(ToString::to_string);
                f.write_str(&texts.collect::<Vec<_>>().join(", "))
            }
            Self::Texts(table) => f.write_str(&serializable(table).to_string()),
            Self::Dict(table) if table.is_empty() => Ok(()),
            Self::Dict(table) => f.write_str(&serializable(table).to_string()),
        }
    }
}
