//! The table as text: `--help`, `indrik explain NAME`, and the reference page.

use std::fmt::Write as _;

use super::generated::Config;
use super::problem::Problem;
use super::python;
use super::resolve::{Merged, Sourced};
use super::suggest;
use super::table::{Kind, SETTINGS, Setting, Status};
use super::value;

/// Help lines are broken before this column.
const HELP_COLUMNS: usize = 90;
/// How far a flag's description is indented in the help.
const HELP_INDENT: usize = 8;

/// What `indrik --help` prints.
pub fn help() -> String {
    let mut out = String::from(HELP_HEAD);
    for section in sections() {
        let flags = in_section(section).filter(|setting| !setting.flags.is_empty());
        push(&mut out, format_args!("\n{section}:\n"));
        for setting in flags {
            push(&mut out, format_args!("  {}\n", usage_of_flag(setting)));
            let summary = format!("{}{}", setting.summary(), shown_default(setting));
            push_wrapped(&mut out, HELP_INDENT, &summary);
        }
    }
    out.push_str(HELP_TAIL);
    out
}

/// One line for each mistake, and a hint below it: what every command prints before it gives up.
pub fn problems(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("indrik: error: {problem}\n")).collect()
}

/// What `indrik explain NAME` prints: value, origin, meaning.
///
/// # Errors
/// When no setting has that name.
pub fn explain(merged: &Merged, name: &str) -> Result<String, Problem> {
    let key = name.trim_start_matches('-').replace('-', "_").to_ascii_lowercase();
    let by_flag = |setting: &&Setting| {
        setting.flags.iter().any(|flag| flag.trim_start_matches('-').replace('-', "_") == key)
    };
    let setting = Setting::find(&key).or_else(|| SETTINGS.iter().find(by_flag));
    let (Some(setting), Some(sourced)) =
        (setting, setting.and_then(|setting| merged.get(setting.name)))
    else {
        return Err(unknown_setting(name, &key));
    };
    Ok(explained(setting, sourced))
}

fn unknown_setting(name: &str, key: &str) -> Problem {
    let near = suggest::nearest(key, SETTINGS.iter().map(|setting| setting.name));
    Problem {
        what: format!("'{}' is not a setting", name.escape_debug()),
        place: None,
        hint: Some(match near {
            Some(near) => format!("did you mean {near}?"),
            None => "indrik --help lists the settings".to_owned(),
        }),
    }
}

fn explained(setting: &Setting, sourced: &Sourced) -> String {
    let value = sourced.value.to_string();
    let value = if value.is_empty() { "(not set)".to_owned() } else { value };
    let mut out = format!("{} = {value}\n  from {}\n\n", setting.name, sourced.origin);
    push_wrapped(&mut out, 2, setting.doc);
    out.push('\n');
    for (label, text) in facts(setting) {
        push(&mut out, format_args!("  {label}: {}\n", text.replace('`', "")));
    }
    out
}

/// What `--print-config` prints: a line for each setting, in Gunicorn's form. What a default depends
/// on is decided: the number of workers, the directory, the name.
pub fn values(merged: &Merged, config: &Config) -> String {
    let mut settings: Vec<&Setting> = SETTINGS.iter().collect();
    settings.sort_by_key(|setting| setting.name);
    let width = settings.iter().map(|setting| setting.name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for setting in settings {
        if let Some(sourced) = merged.get(setting.name) {
            let value = match setting.name {
                "workers" => config.workers.to_string(),
                "chdir" => config.chdir.display().to_string(),
                "default_proc_name" => config.default_proc_name.clone().unwrap_or_default(),
                _ => python::shown(&sourced.value),
            };
            push(&mut out, format_args!("{:width$} = {value}\n", setting.name));
        }
    }
    out
}

/// The page docs/reference/settings.md.
pub fn reference() -> String {
    let mut out = String::from(REFERENCE_HEAD);
    for section in sections() {
        push(&mut out, format_args!("\n## {section}\n"));
        for setting in in_section(section) {
            push(&mut out, format_args!("\n### `{}`\n\n{}\n\n", setting.name, setting.doc));
            for (label, text) in facts(setting) {
                push(&mut out, format_args!("- {label}: {text}\n"));
            }
        }
    }
    out
}

/// Headings, in the table's order.
fn sections() -> Vec<&'static str> {
    let mut sections: Vec<&str> = Vec::new();
    for setting in SETTINGS {
        if !sections.contains(&setting.section) {
            sections.push(setting.section);
        }
    }
    sections
}

fn in_section(section: &str) -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().filter(move |setting| setting.section == section)
}

/// `-b, --bind ADDRESS`. Only the usual long spelling: aliases are in the reference.
fn usage_of_flag(setting: &Setting) -> String {
    let mut shown: Vec<&str> =
        setting.flags.iter().filter(|flag| !flag.starts_with("--")).copied().collect();
    shown.extend(setting.flag());
    let flags = shown.join(", ");
    match (setting.is_switch(), setting.bare) {
        (true, _) => flags,
        (false, Some(_)) => format!("{flags} [{}]", setting.placeholder),
        (false, None) => format!("{flags} {}", setting.placeholder),
    }
}

/// The default in words. A switch that is off and a value that is not set need none.
fn default_text(setting: &Setting) -> Option<String> {
    if let Some(text) = setting.default_text {
        return Some(text.to_owned());
    }
    let text = value::default(setting).ok()?.to_string();
    (!text.is_empty()).then_some(text)
}

/// The log format is longer than the rest of the help around it.
fn shown_default(setting: &Setting) -> String {
    match default_text(setting) {
        Some(text) if !setting.is_switch() && text.len() <= 60 => format!(" [{text}]"),
        _ => String::new(),
    }
}

/// Everything about a setting but its meaning: label and Markdown text.
fn facts(setting: &Setting) -> Vec<(&'static str, String)> {
    let mut facts = vec![("Type", type_text(setting))];
    facts.push((
        "Default",
        match default_text(setting) {
            Some(text) if setting.default_text.is_some() => text,
            Some(text) => code(&text),
            None => "not set".to_owned(),
        },
    ));
    if let Some(text) = setting.gunicorn_default {
        facts.push(("Gunicorn's default", code(text)));
    }
    if !setting.flags.is_empty() {
        facts.push(("Command line", codes(setting.flags.iter().copied())));
    }
    if !matches!(setting.kind, Kind::Hook | Kind::Texts | Kind::Dict) {
        let own = setting.own_variable();
        let variables = setting.variables.iter().map(|variable| variable.name);
        facts.push(("Environment", codes(std::iter::once(own.as_str()).chain(variables))));
    }
    if !setting.aliases.is_empty() {
        let aliases = setting.aliases.iter().map(|(alias, word)| format!("`{alias}` ({word})"));
        facts.push(("Also understood", aliases.collect::<Vec<_>>().join(", ")));
    }
    match setting.status {
        Status::Honoured => {}
        Status::Ignored { reason } => facts.push(("No effect", reason.to_owned())),
        Status::Refused { reason } => facts.push(("Refused", reason.to_owned())),
    }
    if setting.at_start_only {
        facts.push(("A change", "takes effect at the next start or upgrade (`USR2`)".to_owned()));
    }
    let home = if setting.gunicorn { "Gunicorn's setting" } else { "Indrik's own" };
    facts.push(("Since", format!("{} ({home})", setting.since)));
    facts
}

fn type_text(setting: &Setting) -> String {
    let base = match setting.kind {
        Kind::Int => "whole number".to_owned(),
        Kind::Mode => "permissions, an octal number".to_owned(),
        Kind::Bool => "true or false".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::NameOrNumber => "name or number".to_owned(),
        Kind::Share => "number, or a percentage (`25%`)".to_owned(),
        Kind::Percent => "percentage (`10%`)".to_owned(),
        Kind::Class => "class or import path".to_owned(),
        Kind::StatsD => "`HOST:PORT` or `unix://PATH`".to_owned(),
        Kind::Syslog => "`udp://HOST:PORT`, `tcp://HOST:PORT` or `unix://PATH`".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Duration => {
            "seconds, or a number with a unit (`500ms`, `30s`, `2m`, `1h`)".to_owned()
        }
        Kind::Size => "bytes, or a number with a unit (`64KiB`, `16MiB`, `1GiB`)".to_owned(),
        Kind::Memory => {
            "bytes, a number with a unit (`200MiB`), or a part of what there is (`80%`)".to_owned()
        }
        Kind::Choice => codes(setting.choices.iter().copied()),
        Kind::Log => "file, or `-`".to_owned(),
        Kind::List if !setting.choices.is_empty() => {
            format!("list of {}", codes(setting.choices.iter().copied()))
        }
        Kind::List => "list of texts".to_owned(),
        Kind::Networks => "list of addresses and networks".to_owned(),
        Kind::Rlimits => "list of `NAME=SOFT[:HARD]`".to_owned(),
        Kind::Pairs => "list of `NAME=VALUE`".to_owned(),
        Kind::Addresses => "list of addresses".to_owned(),
        Kind::Texts => "table of texts (files only)".to_owned(),
        Kind::Dict => "table (files only)".to_owned(),
        Kind::Hook => "Python function (gunicorn.conf.py only)".to_owned(),
    };
    let auto = if setting.auto { ", or `auto`" } else { "" };
    let range = match (setting.min, setting.max.or(setting.cap)) {
        (Some(min), Some(max)) => format!("; {min} to {max}"),
        (Some(min), None) => format!("; at least {min}"),
        (None, Some(max)) => format!("; at most {max}"),
        (None, None) => String::new(),
    };
    format!("{base}{auto}{range}")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn codes<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(code).collect::<Vec<_>>().join(", ")
}

fn push(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a String");
}

/// Breaks a paragraph into indented lines; words are never broken.
fn push_wrapped(out: &mut String, indent: usize, text: &str) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let width = word.chars().count();
        if column == 0 || column + 1 + width > HELP_COLUMNS {
            out.push_str(if column == 0 { "" } else { "\n" });
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push('\n');
}

const HELP_HEAD: &str = "\
Usage: indrik [run] [OPTIONS] MODULE[:CALLABLE | :factory()]
       indrik check [OPTIONS] [MODULE:CALLABLE]
       indrik explain SETTING [OPTIONS]
       indrik explain route METHOD URL [OPTIONS]
       indrik reload [-s SOCKET | -p PID]
       indrik ctl [-s SOCKET | -p PID] [COMMAND]
       indrik upgrade [-s SOCKET | -p PID]

Serves a Python web application, WSGI or ASGI.

  indrik main:app                       the object app of main.py
  indrik 'main:create_app()'            what the function returns
  indrik -c gunicorn.conf.py main:app   with Gunicorn's configuration file
  indrik check -c gunicorn.conf.py      what becomes of every setting; imports the application
  indrik explain workers                a setting's value, where it comes from, what it means
  indrik explain route GET /reports     what happens to such a request, and which setting says so
  indrik reload                         new code in the running server; waits until it serves
  indrik ctl status                     talks to the running server; see indrik ctl --help
  indrik upgrade                        a new process takes the running server's place
";

const HELP_TAIL: &str = "
Other:
  -h, --help
        Print this.
  -v, --version
        Print the version.

Each setting is also the environment variable INDRIK_<NAME>, a key of indrik.toml and a name
in gunicorn.conf.py. The command line beats the environment, and that beats the files.
";

const REFERENCE_HEAD: &str = "\
# Settings

<!-- Written by `cargo xtask settings` from settings.toml. Edit that file, not this one. -->

Every setting can be given in several places. Later ones in this list win:

1. the default, in whose place `PORT`, `WEB_CONCURRENCY`, `FORWARDED_ALLOW_IPS` and `SENDFILE` stand
   when they are set;
2. `indrik.toml` in the directory Indrik is started in: `name = value`;
3. the Python configuration file, `gunicorn.conf.py` or the one named by `--config`: `name = value`.
   The first lines of the log warn of names that look misspelt;
4. the environment: `GUNICORN_CMD_ARGS` (read like a command line), then `INDRIK_<NAME>`. The entries
   of a list in a variable are separated by spaces, with quotes as in a shell, unless the setting says
   commas. An empty variable counts as not set;
5. the command line. A long flag may be shortened as long as only one setting fits.

A list replaces the list of a weaker source. Every wrong value is reported, all at once, with its
place. `indrik explain NAME` prints a setting's value and where it comes from; `indrik check` tells what
has no effect and what may be unintended.

Numbers may be written `0x1000` as in Python. Units of sizes are powers of 1024.
";
