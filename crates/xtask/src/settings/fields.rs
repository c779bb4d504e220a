//! The code of `Config`: its fields, how they are read from checked values, and the enums of choices.

use std::fmt::Write as _;

use super::row::{Row, Table};
use crate::generated::doc;

const HEAD: &str = "\
//! Every setting as a field of [`Config`], with its type and its documentation; how the fields are read from
//! checked values; the words of choices as enums.
//!
//! Written by `cargo xtask settings` from `settings.toml`: change that file, not this one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::address::BindAddress;
use super::field::{FromValue, Mistyped, Values};
use super::network::Network;
use super::rlimits::WorkerRlimit;
use super::servers::{StatsdAddress, SyslogAddress};
use super::share::Share;
use super::types::{ClassSpec, ControlSocket, LogTarget, WorkerClass};
use super::value::Value;
use crate::memory::Limit;

";

/// The whole file, not yet formatted.
pub(super) fn code(table: &Table) -> Result<String, String> {
    let mut out = HEAD.to_owned();
    push_config(&mut out, table)?;
    push_derived(&mut out, table)?;
    push_functions(&mut out, table);
    for row in table.settings.iter().filter(|row| is_enum(row)) {
        push_enum(&mut out, row)?;
    }
    Ok(out)
}

fn push_config(out: &mut String, table: &Table) -> Result<(), String> {
    out.push_str(
        "/// Every setting, resolved and valid: one immutable value that the rest of the server reads.\n\
         ///\n\
         /// A duration of zero means \"no limit\" where the documentation says so. The value travels as JSON\n\
         /// to the Python side, so durations are written as seconds (a number) and addresses and log\n\
         /// targets as tagged objects.\n\
         #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]\n\
         pub struct Config {\n",
    );
    let mut section = "";
    for row in table.settings.iter().chain(&table.derived) {
        if row.section != section {
            section = &row.section;
            line(out, &format!("\n// --- {section}\n"));
        }
        push_doc(out, &row.doc);
        if let Some(default) = default_text(row) {
            line(out, "///");
            push_doc(out, &format!("Default: {default}."));
        }
        let kind = field_type(row)?;
        if kind == "Duration" {
            line(out, "#[serde(with = \"super::seconds\")]");
        }
        line(out, &format!("pub {}: {kind},", row.field));
    }
    line(out, "}\n");
    Ok(())
}

fn push_derived(out: &mut String, table: &Table) -> Result<(), String> {
    line(out, "/// The fields that follow from the settings.");
    line(out, "pub(super) struct Derived {");
    for row in derived(table) {
        line(out, &format!("pub(super) {}: {},", row.field, field_type(row)?));
    }
    line(out, "}\n");
    Ok(())
}

fn push_functions(out: &mut String, table: &Table) {
    line(out, "impl Config {");
    line(out, "/// Reads every field from its setting.\n///\n/// # Errors");
    line(
        out,
        "/// [`Mistyped`] when a setting's value is not what its field holds: the first one.",
    );
    line(out, "#[expect(clippy::too_many_lines, reason = \"a line for each setting\")]");
    line(
        out,
        "pub(super) fn from_values(values: &Values<'_>, derived: Derived) -> Result<Self, Mistyped> {",
    );
    line(out, "Ok(Self {");
    for row in table.settings.iter().filter(|row| !row.derived) {
        line(out, &format!("{}: values.field({:?})?,", row.field, row.name));
    }
    for row in derived(table) {
        line(out, &format!("{field}: derived.{field},", field = row.field));
    }
    line(out, "})\n}\n");
    line(out, "/// The settings that differ from `other`'s and that a reload does not change.");
    line(
        out,
        "#[must_use]\npub fn changed_for_next_start(&self, other: &Self) -> Vec<&'static str> {",
    );
    line(out, "let same = [");
    for row in table.settings.iter().filter(|row| row.at_start_only) {
        line(out, &format!("({:?}, self.{field} == other.{field}),", row.name, field = row.field));
    }
    line(out, "];");
    line(out, "same.into_iter().filter(|(_, same)| !same).map(|(name, _)| name).collect()\n}\n}\n");
}

fn derived(table: &Table) -> impl Iterator<Item = &Row> {
    table.settings.iter().filter(|row| row.derived).chain(&table.derived)
}

fn push_enum(out: &mut String, row: &Row) -> Result<(), String> {
    let name = row.rust.as_deref().unwrap_or_default();
    if row.choice_docs.len() != row.choices.len() {
        return Err(format!("{}: choice_docs has not one entry for each of choices", row.name));
    }
    line(out, &format!("/// The choices of `{}`.", row.name));
    line(
        out,
        "#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]",
    );
    line(out, &format!("pub enum {name} {{"));
    for (word, doc) in row.choices.iter().zip(&row.choice_docs) {
        push_doc(out, doc);
        line(out, &format!("#[serde(rename = {word:?})]\n{},", variant(word)));
    }
    line(out, &format!("}}\n\nimpl FromValue for {name} {{"));
    line(out, "fn from_value(value: &Value) -> Option<Self> {");
    line(out, "let Value::Text(word) = value else { return None };\nmatch word.as_str() {");
    for word in &row.choices {
        line(out, &format!("{word:?} => Some(Self::{}),", variant(word)));
    }
    line(out, "_ => None,\n}\n}\n}\n");
    line(out, &format!("impl fmt::Display for {name} {{"));
    line(
        out,
        "fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {\nf.write_str(match self {",
    );
    for word in &row.choices {
        line(out, &format!("Self::{} => {word:?},", variant(word)));
    }
    line(out, "})\n}\n}\n");
    Ok(())
}

fn is_enum(row: &Row) -> bool {
    row.kind == "choice" && row.rust.is_some()
}

/// `prior-knowledge` is `PriorKnowledge`.
fn variant(word: &str) -> String {
    let parts = word.split(['-', '_']).map(|part| {
        let (first, rest) = part.split_at(part.len().min(1));
        format!("{}{rest}", first.to_ascii_uppercase())
    });
    parts.collect()
}

/// The type of a setting's field.
fn field_type(row: &Row) -> Result<String, String> {
    let usual = match row.kind.as_str() {
        "int" | "size" => "u64",
        "mode" => "u32",
        "bool" => "bool",
        "string" | "name_or_number" | "choice" => "String",
        "path" => "PathBuf",
        "duration_s" => "Duration",
        "memory" => "Limit",
        "share" | "percent" => "Share",
        "class" => "ClassSpec",
        "log" => "LogTarget",
        "statsd" => "StatsdAddress",
        "syslog" => "SyslogAddress",
        "list" => "Vec<String>",
        "networks" => "Vec<Network>",
        "rlimits" => "Vec<WorkerRlimit>",
        "pairs" => "Vec<(String, String)>",
        "addresses" => "Vec<BindAddress>",
        "texts" => "BTreeMap<String, String>",
        "dict" => "BTreeMap<String, Json>",
        // A derived field has no setting's type.
        "" => "",
        other => return Err(format!("{}: unknown type {other}", row.name)),
    };
    let base = row.rust.as_deref().unwrap_or(usual);
    if base.is_empty() {
        return Err(format!("{}: rust says its type", row.name));
    }
    fits(row, base)?;
    // A field that is made by hand always has its value.
    let optional = row.optional && !row.derived && !row.kind.is_empty();
    Ok(if optional { format!("Option<{base}>") } else { base.to_owned() })
}

/// Every number that the row permits is one of the field's type, or reading the field could fail.
fn fits(row: &Row, base: &str) -> Result<(), String> {
    let (least, most) = match base {
        "u8" => (0, i64::from(u8::MAX)),
        "u32" if row.kind != "mode" => (0, i64::from(u32::MAX)),
        "i32" => (i64::from(i32::MIN), i64::from(i32::MAX)),
        "u64" | "usize" => (0, i64::MAX),
        _ => return Ok(()),
    };
    let is_within = row.min.is_some_and(|min| min >= least)
        && (most == i64::MAX || row.max.is_some_and(|max| max <= most));
    if is_within {
        return Ok(());
    }
    Err(format!("{}: min and max do not keep it within {base}", row.name))
}

/// The default as a user would write it; what is unset or empty needs no words.
fn default_text(row: &Row) -> Option<String> {
    if let Some(text) = &row.default_text {
        return Some(text.clone());
    }
    let text = match row.default.as_ref()? {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(items) => {
            items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(", ")
        }
        toml::Value::Table(_) => return None,
        other => other.to_string(),
    };
    (!text.is_empty()).then(|| format!("`{text}`"))
}

/// A paragraph as doc comments. The first sentence stands alone, as it does in the table.
fn push_doc(out: &mut String, text: &str) {
    let (summary, details) = text.split_once('\n').unwrap_or((text, ""));
    line(out, &format!("/// {}", doc(summary)));
    if !details.is_empty() {
        line(out, "///");
    }
    for text in details.lines() {
        line(out, &format!("/// {}", doc(text)));
    }
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing to a String");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(text: &str) -> Result<String, String> {
        code(&Table::read(text)?)
    }

    #[test]
    fn a_row_gives_a_field_its_documentation_and_its_reading() {
        let code = generated(
            "[[setting]]\nname = 'later_s'\nsection = 'S'\ntype = 'duration_s'\ndefault = 3\ndoc = '''\nFirst.\nMore [x].'''",
        )
        .unwrap();
        let field = "/// First.\n///\n/// More \\[x\\].\n///\n/// Default: `3`.\n\
             #[serde(with = \"super::seconds\")]\npub later_s: Duration,\n";
        assert!(code.contains(field), "{code}");
        assert!(code.contains("later_s: values.field(\"later_s\")?,"), "{code}");
    }

    #[test]
    fn what_has_no_default_may_be_missing_and_hooks_are_no_fields() {
        let code = generated(
            "[[setting]]\nname = 'a'\ntype = 'path'\ndoc = 'A.'\n\
             [[setting]]\nname = 'b'\ntype = 'hook'\ndoc = 'B.'\n\
             [[setting]]\nname = 'c'\ntype = 'bool'\nstatus = 'ignored'\ndoc = 'C.'",
        )
        .unwrap();
        assert!(code.contains("pub a: Option<PathBuf>,"), "{code}");
        assert!(!code.contains("pub b:") && !code.contains("pub c:"), "{code}");
    }

    #[test]
    fn choices_with_a_name_become_an_enum() {
        let row = "[[setting]]\nname = 'mode'\ntype = 'choice'\nrust = 'Mode'\ndefault = 'off'\n\
             choices = ['off', 'prior-knowledge']\ndoc = 'A.'\n";
        let code = generated(&format!("{row}choice_docs = ['No.', 'Yes.']")).unwrap();
        assert!(code.contains("pub mode: Mode,"), "{code}");
        let variant = "/// Yes.\n#[serde(rename = \"prior-knowledge\")]\nPriorKnowledge,";
        assert!(code.contains(variant), "{code}");
        assert!(generated(row).is_err(), "every choice is documented");
    }

    #[test]
    fn a_type_that_cannot_hold_what_is_permitted_is_refused() {
        let row = |bounds: &str| {
            generated(&format!(
                "[[setting]]\nname = 'a'\ntype = 'int'\ndefault = 1\nrust = 'u8'\n{bounds}\ndoc = 'A.'"
            ))
        };
        assert!(row("min = 0\nmax = 255").is_ok());
        assert!(row("min = 0\nmax = 256").is_err());
        assert!(row("min = -1\nmax = 2").is_err());
        assert!(row("min = 0").is_err());
    }
}
