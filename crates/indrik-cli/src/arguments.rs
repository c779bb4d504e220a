//! The command line, parsed by rules made from the table of settings.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches, Command};
use indrik_core::settings::{Entry, Layer, Origin, Problem, Raw, SETTINGS, Setting, suggest};

use crate::abbreviation;
use crate::failure::Failure;
use crate::foreign;

/// What a command line says.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// What to do.
    pub(crate) action: Action,
    /// The settings it names.
    pub(crate) layer: Layer,
    /// Words it should not have.
    pub(crate) notices: Vec<String>,
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Serve.
    Run,
    /// Say what every setting given is worth, and try to load the application.
    Check,
    /// Say what is set, or what happens to a request.
    Explain(Explained),
    /// Print the help.
    Help,
    /// Print the version.
    Version,
}

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Explained {
    /// One setting's value, origin and meaning.
    Setting(String),
    /// What happens to a request: its method and its URL.
    Route(String, String),
}

impl Explained {
    /// Whatever follows is the name, also `--workers`; `route` is no setting.
    fn parse(args: &mut impl Iterator<Item = String>) -> Result<Self, Failure> {
        let name = args.next().ok_or_else(|| Failure::usage(nothing_to_explain()))?;
        if name != "route" {
            return Ok(Self::Setting(name));
        }
        match (args.next(), args.next()) {
            (Some(method), Some(url)) => Ok(Self::Route(method, url)),
            _ => Err(Failure::usage(no_request_to_explain())),
        }
    }
}

/// The names clap knows our arguments by that are no settings.
const WORDS: &str = "words";
const HELP: &str = "help";
const VERSION: &str = "version";
/// The setting that the word without a flag names.
const APPLICATION: &str = "wsgi_app";

impl Arguments {
    /// Parses the words after the program's name.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut args = args.peekable();
        let explained = match args.next_if(|word| word == "explain") {
            Some(_) => Some(Explained::parse(&mut args)?),
            None => None,
        };
        let check = explained.is_none() && args.next_if(|word| word == "check").is_some();
        let run = explained.is_none() && !check && args.next_if(|word| word == "run").is_some();
        let matches = matches(args).map_err(Failure::usage)?;
        let mut layer = flags(&matches, |flag| Origin::Flag(flag.to_owned()));
        let mut words = matches.get_many::<String>(WORDS).into_iter().flatten().cloned();
        // A module may be called `run`; then no other word names the application.
        let module = run.then(|| "run".to_owned());
        layer.entries.extend(words.next().or(module).map(application));
        let action = match (matches.get_flag(HELP), matches.get_flag(VERSION), explained) {
            (true, _, _) => Action::Help,
            (_, true, _) => Action::Version,
            (_, _, Some(explained)) => Action::Explain(explained),
            (_, _, None) if check => Action::Check,
            (_, _, None) => Action::Run,
        };
        Ok(Self { action, layer, notices: words.map(|word| one_word_too_many(&word)).collect() })
    }
}

/// The settings in the text of an environment variable that holds a command line. As in Gunicorn,
/// words without a flag are passed over.
pub(crate) fn parse_variable(variable: &str, words: Vec<String>) -> Result<Layer, Problem> {
    let matches = matches(words.into_iter())
        .map_err(|problem| Problem { place: Some(variable.to_owned()), ..problem })?;
    let variable = variable.to_owned();
    Ok(flags(&matches, |flag| Origin::FlagInVariable {
        variable: variable.clone(),
        flag: flag.to_owned(),
    }))
}

fn matches(args: impl Iterator<Item = String>) -> Result<ArgMatches, Problem> {
    let args = abbreviation::expand(args)?;
    command().try_get_matches_from(args).map_err(|error| problem(&error))
}

/// A flag that is given again replaces itself, or adds to its list.
fn command() -> Command {
    Command::new("indrik")
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .args(SETTINGS.iter().filter(|setting| !setting.flags.is_empty()).map(argument))
        .arg(Arg::new(HELP).short('h').long(HELP).action(ArgAction::SetTrue))
        .arg(Arg::new(VERSION).short('v').long(VERSION).action(ArgAction::SetTrue))
        .arg(Arg::new(WORDS).action(ArgAction::Append).num_args(0..))
}

fn argument(setting: &'static Setting) -> Arg {
    let shorts = setting.flags.iter().filter_map(|flag| {
        flag.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.chars().next()
    });
    let mut longs = setting.flags.iter().filter_map(|flag| flag.strip_prefix("--"));
    let mut arg = Arg::new(setting.name);
    if let Some(long) = longs.next() {
        arg = arg.long(long);
    }
    arg = arg.aliases(longs).short_aliases(shorts.clone().skip(1));
    if let Some(short) = shorts.clone().next() {
        arg = arg.short(short);
    }
    match (setting.is_switch(), setting.bare) {
        (true, _) => arg.action(ArgAction::SetTrue),
        (false, Some(bare)) => {
            arg.action(ArgAction::Append).num_args(0..=1).default_missing_value(bare)
        }
        (false, None) => arg.action(ArgAction::Append).allow_negative_numbers(true),
    }
}

/// What the flags say, in the table's order.
fn flags(matches: &ArgMatches, origin: impl Fn(&str) -> Origin) -> Layer {
    let given = SETTINGS.iter().filter_map(|setting| {
        let flag = setting.flag().or_else(|| setting.flags.first().copied())?;
        let texts = if setting.is_switch() {
            matches.get_flag(setting.name).then(Vec::new)?
        } else {
            matches.get_many::<String>(setting.name)?.cloned().collect()
        };
        Some(Entry { setting, raw: Raw::Texts(texts), origin: origin(flag) })
    });
    Layer { entries: given.collect() }
}

fn application(word: String) -> Entry {
    Entry {
        setting: Setting::find(APPLICATION).expect("settings.toml has it"),
        raw: Raw::Texts(vec![word]),
        origin: Origin::Argument,
    }
}

/// What clap found wrong, in our words.
fn problem(error: &clap::Error) -> Problem {
    let argument = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(argument)) => argument.as_str(),
        Some(ContextValue::Strings(arguments)) => arguments.first().map_or("", String::as_str),
        _ => "",
    };
    // clap writes `--workers <workers>`.
    let flag = argument.split_whitespace().next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => unknown_flag(flag),
        ErrorKind::TooManyValues | ErrorKind::WrongNumberOfValues => Problem {
            what: format!("{flag} takes no value"),
            place: None,
            hint: Some(format!("write {flag} alone")),
        },
        _ => missing_value(flag),
    }
}

fn missing_value(flag: &str) -> Problem {
    let setting = SETTINGS.iter().find(|setting| setting.flags.contains(&flag));
    let placeholder = setting.map_or("VALUE", |setting| setting.placeholder);
    Problem {
        what: format!("{flag} needs a value"),
        place: None,
        hint: Some(format!("write {flag} {placeholder}")),
    }
}

fn unknown_flag(flag: &str) -> Problem {
    let all = || {
        let settings = SETTINGS.iter().flat_map(|setting| setting.flags.iter().copied());
        settings.chain(["--help", "--version"])
    };
    let near = suggest::nearest(flag, all().filter(|candidate| candidate.starts_with("--")));
    Problem {
        what: format!("{} is not a flag", flag.escape_debug()),
        place: None,
        hint: Some(foreign::hint(flag).unwrap_or_else(|| match near {
            Some(near) => format!("did you mean {near}?"),
            None => "indrik --help lists the flags".to_owned(),
        })),
    }
}

fn nothing_to_explain() -> Problem {
    Problem {
        what: "no setting to explain is named".to_owned(),
        place: None,
        hint: Some("name one, for example: indrik explain workers".to_owned()),
    }
}

fn no_request_to_explain() -> Problem {
    Problem {
        what: "no request to explain is named".to_owned(),
        place: None,
        hint: Some("name one, for example: indrik explain route GET /reports/1".to_owned()),
    }
}

/// Gunicorn says nothing; but a forgotten quote or dash is worth a word.
fn one_word_too_many(word: &str) -> String {
    format!(
        "'{}' on the command line has no effect: the application is named by the first word \
         without a flag",
        word.escape_debug()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, Failure> {
        Arguments::parse(line.split_whitespace().map(str::to_owned))
    }

    /// Name, texts and origin of everything a line says.
    fn said(line: &str) -> Vec<(&'static str, Vec<String>, String)> {
        let entries = parse(line).unwrap_or_else(|failure| panic!("{:?}", failure.problems)).layer;
        let said = entries.entries.into_iter().map(|entry| {
            let Raw::Texts(texts) = entry.raw else { panic!("a file's value") };
            (entry.setting.name, texts, entry.origin.to_string())
        });
        said.collect()
    }

    fn refused(line: &str) -> String {
        let failure = parse(line).unwrap_err();
        assert_eq!(failure.exit_code, 2);
        failure.problems.iter().map(ToString::to_string).collect()
    }

    fn texts(items: &[&str]) -> Vec<String> {
        items.iter().map(|item| (*item).to_owned()).collect()
    }

    #[test]
    fn clap_finds_no_contradiction_in_the_table() {
        command().debug_assert();
    }

    #[test]
    fn flags_and_the_application_are_told_apart() {
        let expected = [
            ("preload_app", texts(&[]), "--preload".to_owned()),
            ("bind", texts(&[":1", ":2"]), "--bind".to_owned()),
            ("workers", texts(&["4"]), "--workers".to_owned()),
            ("wsgi_app", texts(&["main:app"]), "the command line".to_owned()),
        ];
        assert_eq!(said("-b :1 --bind=:2 main:app --preload -w4"), expected);
        assert_eq!(said("run -b :1 --bind=:2 --preload --preload -w4 main:app"), expected);
    }

    #[test]
    fn a_long_flag_may_be_shortened_and_spelt_in_every_known_way() {
        assert_eq!(said("--worker-cl sync")[0].0, "worker_class");
        assert_eq!(said("--limit-request-field_size 1"), said("--limit-request-field-size 1"));
        assert_eq!(said("--log-file -"), said("--error-logfile -"));
    }

    #[test]
    fn negative_numbers_reach_the_check_that_refuses_them() {
        assert_eq!(said("--timeout -1")[0].1, texts(&["-1"]));
    }

    #[test]
    fn an_unknown_flag_is_answered_with_the_nearest_one() {
        assert_eq!(
            refused("--wokrers 3"),
            "--wokrers is not a flag\n  hint: did you mean --workers?"
        );
        assert_eq!(refused("-Z"), "-Z is not a flag\n  hint: indrik --help lists the flags");
    }

    #[test]
    fn a_missing_value_and_one_to_a_switch_are_told() {
        assert_eq!(refused("main:app -w"), "--workers needs a value\n  hint: write --workers N");
        assert_eq!(
            refused("--preload=1"),
            "--preload takes no value\n  hint: write --preload alone"
        );
    }

    #[test]
    fn words_after_the_application_are_passed_over_with_a_notice() {
        let notices = parse("main:app 4 -w 2 5").map(|arguments| arguments.notices).ok().unwrap();
        assert!(notices[0].starts_with("'4' on the command line has no effect"), "{notices:?}");
        assert_eq!(notices.len(), 2);
        assert_eq!(said("main:app 4 -w 2")[0].0, "workers");
    }

    #[test]
    fn run_is_a_module_when_no_other_word_is_there() {
        assert_eq!(said("run")[0].1, texts(&["run"]));
        assert_eq!(said("run main:app")[0].1, texts(&["main:app"]));
    }

    #[test]
    fn help_version_and_explain_are_actions() {
        let action = |line: &str| parse(line).map(|arguments| arguments.action).ok();
        assert_eq!(action("main:app -h"), Some(Action::Help));
        assert_eq!(action("--version"), Some(Action::Version));
        let setting = |name: &str| Some(Action::Explain(Explained::Setting(name.to_owned())));
        assert_eq!(action("explain workers -w 3"), setting("workers"));
        assert_eq!(action("explain --bind"), setting("--bind"));
        let route = Explained::Route("GET".to_owned(), "/a".to_owned());
        assert_eq!(action("explain route GET /a -w 3"), Some(Action::Explain(route)));
        assert_eq!(action("explain route GET"), None);
        assert_eq!(action("explain"), None);
        assert_eq!(action("check -w 3"), Some(Action::Check));
        assert_eq!(action("main:app"), Some(Action::Run));
    }

    #[test]
    fn a_variable_with_a_command_line_is_named_as_the_place() {
        let layer =
            parse_variable("GUNICORN_CMD_ARGS", texts(&["-w", "3", "ignored:app"])).unwrap();
        let origins: Vec<_> = layer.entries.iter().map(|entry| entry.origin.to_string()).collect();
        assert_eq!(origins, ["--workers in GUNICORN_CMD_ARGS"]);
        let problem = parse_variable("GUNICORN_CMD_ARGS", texts(&["--nope"])).unwrap_err();
        assert_eq!(problem.place.as_deref(), Some("GUNICORN_CMD_ARGS"));
    }
}
