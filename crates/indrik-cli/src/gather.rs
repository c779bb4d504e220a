//! What a launch is made of: the environment, the directory, the CPUs, `indrik.toml`.

use std::collections::BTreeMap;
use std::path::Path;
use std::{env, io, thread};

use indrik_core::settings::{
    Entry, Launch, Layer, Origin, Problem, Raw, Setting, TextFile, Typed, words,
};

use indrik_server::paths;

use crate::arguments::{self, Arguments};
use crate::failure::Failure;

/// The file with Indrik's own settings, in the directory of the launch.
const INDRIK_TOML: &str = "indrik.toml";
/// The Python configuration file that is read without being named.
pub(crate) const CONFIG_FILE: &str = "gunicorn.conf.py";
/// What makes a PasteDeploy file also one for Python's logging.
const LOGGERS_SECTION: &str = "[loggers]";
/// The variable that holds a command line.
const CMD_ARGS: &str = "GUNICORN_CMD_ARGS";

/// Gathers everything around a parsed command line.
pub(crate) fn launch(arguments: Arguments, typed: Typed) -> Result<Launch, Failure> {
    let Arguments { layer: command_line, notices, .. } = arguments;
    // A variable that is not UTF-8 is no setting's; the workers inherit it all the same.
    let env: BTreeMap<String, String> = env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let cwd = env::current_dir().map_err(|error| Failure::settings(vec![no_directory(&error)]))?;
    let one = |problem| Failure::settings(vec![problem]);
    Ok(Launch {
        paste: paste_file(&command_line, &cwd).map_err(one)?,
        command_line,
        by_hand: Layer::default(),
        cmd_args: cmd_args(&env)?,
        notices,
        env,
        typed,
        cpus: thread::available_parallelism().map_or(1, usize::from),
        indrik_toml: indrik_toml(&cwd).map_err(one)?,
        cwd,
    })
}

/// A quote left open is a wrong setting and a flag nobody knows wrong usage, as in Gunicorn.
fn cmd_args(env: &BTreeMap<String, String>) -> Result<Layer, Failure> {
    let Some(text) = env.get(CMD_ARGS) else { return Ok(Layer::default()) };
    let words = words::split(text).map_err(|words::Unfinished| {
        Failure::settings(vec![Problem {
            what: "a quote is opened and not closed".to_owned(),
            place: Some(CMD_ARGS.to_owned()),
            hint: Some("close it, or put a backslash before it".to_owned()),
        }])
    })?;
    arguments::parse_variable(CMD_ARGS, words).map_err(Failure::usage)
}

/// A PasteDeploy file with a section of loggers is a `logconfig` as well, as in Gunicorn.
fn paste_file(command_line: &Layer, cwd: &Path) -> Result<Layer, Problem> {
    let paste = command_line.entries.iter().find(|entry| entry.setting.name == "paste");
    let Some(Entry { raw: Raw::Texts(texts), origin, .. }) = paste else {
        return Ok(Layer::default());
    };
    let uri = texts.last().map_or("", String::as_str);
    let name = uri.split_once('#').map_or(uri, |(name, _)| name);
    let text = paths::read_text(&cwd.join(name)).map_err(|error| Problem {
        what: format!("paste: '{}' cannot be read: {error}", name.escape_debug()),
        place: Some(origin.to_string()),
        hint: Some("name a PasteDeploy file, FILE or FILE#NAME".to_owned()),
    })?;
    let mut layer = Layer::default();
    if text.lines().any(|line| line.trim_end() == LOGGERS_SECTION) {
        layer.entries.push(Entry {
            setting: Setting::find("logconfig").expect("settings.toml has it"),
            raw: Raw::Texts(vec![name.to_owned()]),
            origin: Origin::File { path: name.to_owned(), line: None },
        });
    }
    Ok(layer)
}

fn indrik_toml(cwd: &Path) -> Result<Option<TextFile>, Problem> {
    let path = cwd.join(INDRIK_TOML);
    match paths::read_text(&path) {
        // Messages name the file as the user knows it.
        Ok(text) => Ok(Some(TextFile { path: INDRIK_TOML.into(), text })),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem {
            what: format!("{INDRIK_TOML} cannot be read: {error}"),
            place: Some(path.display().to_string()),
            hint: Some("make it a readable UTF-8 text file, or remove it".to_owned()),
        }),
    }
}

fn no_directory(error: &io::Error) -> Problem {
    Problem {
        what: format!("the current directory cannot be found: {error}"),
        place: None,
        hint: Some("change to a directory that exists".to_owned()),
    }
}
