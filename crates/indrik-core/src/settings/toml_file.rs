//! `indrik.toml`: settings by name, each with its line.

use serde_json::{Map, Value as Json};
use toml::de::{DeInteger, DeTable, DeValue};

use super::launch::TextFile;
use super::layers::{Entry, Layer, Origin, Raw};
use super::problem::Problem;
use super::suggest;
use super::table::{SETTINGS, Setting};

/// The file's settings, and what is wrong with it.
pub(super) fn read(file: &TextFile) -> (Layer, Vec<Problem>) {
    let path = file.path.display().to_string();
    let place = |offset: usize| Origin::File {
        path: path.clone(),
        line: Some(line_of(&file.text, offset)),
    };
    let table = match DeTable::parse(&file.text) {
        Ok(table) => table,
        Err(error) => {
            let offset = error.span().map_or(0, |span| span.start);
            return (Layer::default(), vec![not_toml(error.message(), &place(offset))]);
        }
    };
    let mut layer = Layer::default();
    let mut problems = Vec::new();
    for (key, value) in table.get_ref() {
        let origin = place(key.span().start);
        match Setting::find(key.get_ref()) {
            Some(setting) => {
                let raw = Raw::Json(to_json(value.get_ref()));
                layer.entries.push(Entry { setting, raw, origin });
            }
            None => problems.push(unknown(key.get_ref(), &origin)),
        }
    }
    (layer, problems)
}

fn not_toml(message: &str, origin: &Origin) -> Problem {
    Problem {
        what: format!("this is not TOML: {message}"),
        place: Some(origin.to_string()),
        hint: Some("write each setting as name = value, texts in quotes".to_owned()),
    }
}

fn unknown(name: &str, origin: &Origin) -> Problem {
    let near = suggest::nearest(name, SETTINGS.iter().map(|setting| setting.name));
    Problem {
        what: format!("{} is not a setting", name.escape_debug()),
        place: Some(origin.to_string()),
        hint: Some(match near {
            Some(near) => format!("did you mean {near}?"),
            None => "indrik --help lists the settings".to_owned(),
        }),
    }
}

/// Lines are counted from 1. A file has fewer than 4 billion.
fn line_of(text: &str, offset: usize) -> u32 {
    let before = text.as_bytes().iter().take(offset);
    u32::try_from(before.filter(|byte| **byte == b'\n').count()).map_or(u32::MAX, |lines| lines + 1)
}

/// A date has no use in any setting; as text it meets the value's parser, which says so.
fn to_json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Integer(number) => integer(number),
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Json::Null, Json::from),
        DeValue::Boolean(truth) => Json::from(*truth),
        DeValue::Datetime(date) => Json::from(date.to_string()),
        DeValue::Array(items) => items.iter().map(|item| to_json(item.get_ref())).collect(),
        DeValue::Table(table) => Json::Object(object(table)),
    }
}

fn object(table: &DeTable<'_>) -> Map<String, Json> {
    table.iter().map(|(key, value)| (key.get_ref().to_string(), to_json(value.get_ref()))).collect()
}

/// TOML's integers are 64 bits wide; a longer one stays text and is refused as a value.
fn integer(number: &DeInteger<'_>) -> Json {
    i64::from_str_radix(number.as_str(), number.radix())
        .map_or_else(|_| Json::from(number.as_str()), Json::from)
}
