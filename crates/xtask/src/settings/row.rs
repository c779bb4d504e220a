//! The rows of `settings.toml`, as far as the fields of `Config` are made of them.

use toml::{Table as Toml, Value};

/// The whole file.
pub(super) struct Table {
    /// Settings that are fields, in order.
    pub(super) settings: Vec<Row>,
    pub(super) derived: Vec<Row>,
}

/// One setting, or one field that follows from several.
#[derive(Default)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) section: String,
    pub(super) kind: String,
    /// The type of the field, where the usual one will not do.
    pub(super) rust: Option<String>,
    /// The name of the field.
    pub(super) field: String,
    /// Its value is made by hand.
    pub(super) derived: bool,
    /// It may have no value.
    pub(super) optional: bool,
    pub(super) at_start_only: bool,
    pub(super) default: Option<Value>,
    pub(super) default_text: Option<String>,
    pub(super) min: Option<i64>,
    pub(super) max: Option<i64>,
    pub(super) choices: Vec<String>,
    pub(super) choice_docs: Vec<String>,
    pub(super) doc: String,
}

impl Table {
    /// Reads the file. The build of `indrik-core` refuses keys that nobody knows.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let table: Toml = text.parse().map_err(|error| format!("{error}"))?;
        let rows = |key: &str| -> Vec<&Toml> {
            let rows = table.get(key).and_then(Value::as_array);
            rows.into_iter().flatten().filter_map(Value::as_table).collect()
        };
        let is_field = |row: &&Toml| {
            // A hook stays with the process that read the file; what has no effect is nobody's to read.
            text_of(row, "type") != Some("hook")
                && matches!(text_of(row, "status"), None | Some("honoured"))
        };
        let settings = rows("setting").into_iter().filter(is_field).map(Row::read);
        let derived = rows("derived").into_iter().map(Row::read);
        let table = Self { settings: settings.collect(), derived: derived.collect() };
        match table.settings.is_empty() {
            true => Err("no [[setting]] in it".to_owned()),
            false => Ok(table),
        }
    }
}

impl Row {
    fn read(row: &Toml) -> Self {
        let text = |key: &str| text_of(row, key).map(str::to_owned);
        let is = |key: &str| row.get(key).and_then(Value::as_bool).unwrap_or(false);
        let number = |key: &str| row.get(key).and_then(Value::as_integer);
        let texts = |key: &str| -> Vec<String> {
            let items = row.get(key).and_then(Value::as_array).into_iter().flatten();
            items.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let name = text("name").unwrap_or_default();
        let default = row.get("default").cloned();
        Self {
            section: text("section").unwrap_or_default(),
            kind: text("type").unwrap_or_default(),
            rust: text("rust"),
            field: text("field").unwrap_or_else(|| name.clone()),
            derived: is("derived"),
            optional: (default.is_none() || is("none_is_value")) && !is("always"),
            at_start_only: is("at_start_only"),
            default,
            default_text: text("default_text"),
            min: number("min"),
            max: number("cap").or_else(|| number("max")),
            choices: texts("choices"),
            choice_docs: texts("choice_docs"),
            doc: text("doc").unwrap_or_default(),
            name,
        }
    }
}

fn text_of<'a>(row: &'a Toml, key: &str) -> Option<&'a str> {
    row.get(key).and_then(Value::as_str)
}
