//! What every source of a launch says, as layers.
//!
//! Weakest first: the table's defaults, environment variables that take a default's place,
//! `indrik.toml`, the Python configuration file, the environment (`GUNICORN_CMD_ARGS`, then
//! `INDRIK_*`), the command line, what an operator has changed by hand.

use std::collections::BTreeMap;

use super::launch::{ConfigFileValues, Launch};
use super::layers::{Entry, Layer, Origin, Raw};
use super::problem::Problem;
use super::suggest;
use super::table::{Kind, OWN_VARIABLE_PREFIX, Rank, SETTINGS, Setting};
use super::toml_file;
use super::value;
use super::words;

/// All layers of one launch.
#[derive(Debug, Default)]
pub(super) struct Layers {
    /// Weakest first.
    pub(super) layers: Vec<Layer>,
    /// Names nobody knows, where names must be known.
    pub(super) problems: Vec<Problem>,
    /// Names that look misspelt, where any name may stand.
    pub(super) notices: Vec<String>,
}

impl Layers {
    /// Gathers what every source says.
    pub(super) fn gather(launch: &Launch, file: Option<&ConfigFileValues>) -> Self {
        let mut all = Self { notices: launch.notices.clone(), ..Self::default() };
        all.layers.push(foreign_variables(&launch.env, Rank::Default));
        all.layers.push(launch.paste.clone());
        if let Some(toml) = &launch.indrik_toml {
            let (layer, problems) = toml_file::read(toml);
            all.layers.push(layer);
            all.problems.extend(problems);
        }
        if let Some(file) = file {
            all.layers.push(config_file(file));
            all.notices.extend(misspelt_names(file));
        }
        all.layers.push(foreign_variables(&launch.env, Rank::Environment));
        all.layers.push(launch.cmd_args.clone());
        all.layers.push(own_variables(&launch.env));
        all.notices.extend(misspelt_variables(&launch.env));
        all.layers.push(launch.command_line.clone());
        all.layers.push(launch.by_hand.clone());
        all
    }
}

/// Variables that other programs use too: `PORT`, `WEB_CONCURRENCY`. An empty one is not set.
fn foreign_variables(env: &BTreeMap<String, String>, rank: Rank) -> Layer {
    let pairs = SETTINGS
        .iter()
        .flat_map(|setting| setting.variables.iter().map(move |variable| (setting, variable)));
    let entries =
        pairs.filter(|(_, variable)| variable.rank == rank).filter_map(|(setting, variable)| {
            let text = env.get(variable.name).filter(|text| !text.is_empty())?;
            Some(Entry {
                setting,
                raw: Raw::Texts(vec![variable.template.replace("{}", text)]),
                origin: Origin::Variable(variable.name.to_owned()),
            })
        });
    Layer { entries: entries.collect() }
}

/// Indrik's own variables, `INDRIK_<NAME>`. An empty one is not set.
fn own_variables(env: &BTreeMap<String, String>) -> Layer {
    let entries = SETTINGS.iter().filter_map(|setting| {
        let variable = setting.own_variable();
        let text = env.get(&variable).filter(|text| !text.is_empty())?;
        Some(Entry {
            setting,
            raw: variable_text(setting, text),
            origin: Origin::Variable(variable),
        })
    });
    Layer { entries: entries.collect() }
}

/// A list in a variable is written as words, quoted as in a shell where they hold spaces. Text
/// with an open quote stays one word: the value's own parser then says what is wrong with it.
fn variable_text(setting: &Setting, text: &str) -> Raw {
    if setting.kind.is_list() && setting.separator.is_none() {
        return Raw::Texts(words::split(text).unwrap_or_else(|_| vec![text.to_owned()]));
    }
    Raw::Texts(vec![text.to_owned()])
}

/// The Python file's names that are settings. Any other name is the file's own business.
fn config_file(file: &ConfigFileValues) -> Layer {
    let path = file.path.as_deref().unwrap_or("gunicorn.conf.py");
    let entries = SETTINGS.iter().filter_map(|setting| {
        let value = file.values.get(setting.name)?;
        let line = file.lines.get(setting.name).copied();
        let origin = Origin::File { path: path.to_owned(), line };
        Some(Entry { setting, raw: Raw::Json(value.clone()), origin })
    });
    Layer { entries: entries.collect() }
}

/// Gunicorn ignores `PRELOAD_APP` and `max_worker_connections` silently; real files have them.
///
/// The file is a program and has names of its own. Only assignments count (an imported name has no
/// line), a name that the file reads is a helper, and a function only resembles hooks.
fn misspelt_names(file: &ConfigFileValues) -> Vec<String> {
    let path = file.path.as_deref().unwrap_or("gunicorn.conf.py");
    let mut lines: Vec<(&String, &u32)> = file.lines.iter().collect();
    lines.sort_by_key(|(_, line)| **line);
    let notices = lines.into_iter().filter_map(|(name, line)| {
        if Setting::find(name).is_some() || file.used.contains(name) {
            return None;
        }
        let is_hook = value::is_callable(file.values.get(name)?);
        let near = misspelt(name, |setting| (setting.kind == Kind::Hook) == is_hook)?;
        Some(format!(
            "{path}:{line}: {name} is not a setting and has no effect; did you mean {near}?"
        ))
    });
    notices.collect()
}

/// Container platforms set variables of their own for a service called indrik, so an unknown
/// name is no mistake, unless it is nearly a setting's.
fn misspelt_variables(env: &BTreeMap<String, String>) -> Vec<String> {
    let notices = env.keys().filter_map(|variable| {
        let name = variable.strip_prefix(OWN_VARIABLE_PREFIX)?.to_ascii_lowercase();
        if Setting::find(&name).is_some() {
            return None;
        }
        let near = Setting::find(misspelt(&name, |_| true)?)?.own_variable();
        Some(format!("{variable} is not a setting and has no effect; did you mean {near}?"))
    });
    notices.collect()
}

/// How alike a free name and a setting must be before it counts as misspelt.
const MISSPELT_LIKENESS_MIN: f64 = 0.75;

fn misspelt(name: &str, may_be: impl Fn(&Setting) -> bool) -> Option<&'static str> {
    let candidates = SETTINGS.iter().filter(|setting| may_be(setting)).map(|setting| setting.name);
    suggest::nearest_above(MISSPELT_LIKENESS_MIN, name, candidates)
}
