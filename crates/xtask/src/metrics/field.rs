//! A field of a row.

use toml::{Table as Toml, Value};

/// The text under a key, which has to be there.
pub(super) fn text(row: &Toml, key: &str) -> Result<String, String> {
    let text = row.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
    let name = row.get("name").or_else(|| row.get("title")).and_then(Value::as_str);
    text.map(str::to_owned).ok_or_else(|| format!("{}: no `{key}`", name.unwrap_or("a row")))
}
