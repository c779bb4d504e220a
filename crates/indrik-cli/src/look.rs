//! What the commands share that look into workers: naming them, asking, and showing what they say.

use clap::{Arg, ArgAction, ArgMatches};
use indrik_core::control::inside::who;
use indrik_core::settings::Problem;
use indrik_server::control::client::{Connection, Target, Trouble};
use serde_json::{Value as Json, json};

use crate::ctl;
use crate::failure::Failure;

const JSON: &str = "json";
const HELP: &str = "help";

/// The options that all of them have.
pub(crate) fn common() -> impl Iterator<Item = Arg> {
    let own = [
        Arg::new(JSON).short('j').long(JSON).action(ArgAction::SetTrue),
        Arg::new(HELP).short('h').long(HELP).action(ArgAction::SetTrue),
    ];
    ctl::target_arguments().into_iter().chain(own)
}

/// Whether `--json` was said.
pub(crate) fn is_json(matches: &ArgMatches) -> bool {
    matches.get_flag(JSON)
}

/// Whether `--help` was said.
pub(crate) fn is_help(matches: &ArgMatches) -> bool {
    matches.get_flag(HELP)
}

/// The workers that are meant; all if none was named.
pub(crate) fn workers(word: Option<&String>) -> Result<&str, Failure> {
    let word = word.map_or("all", String::as_str);
    who(word).map(|_| word).map_err(usage)
}

/// Wrong usage, and what would be right.
pub(crate) fn usage(what: String) -> Failure {
    Failure::usage(Problem { what, place: None, hint: None })
}

/// Cannot be done.
pub(crate) fn failed(what: String, hint: &str) -> Failure {
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    Failure::settings(vec![Problem { what, place: None, hint }])
}

/// Asks the server, and waits as long as it takes.
pub(crate) fn ask(target: &Target, words: &[&str]) -> Result<Json, Failure> {
    let mut connection = Connection::open(target).map_err(no_server)?;
    connection.be_patient().map_err(ctl::failure)?;
    connection.call_with(words).map_err(ctl::failure)
}

fn no_server(trouble: Trouble) -> Failure {
    Failure { exit_code: NO_SERVER, ..ctl::failure(trouble) }
}

/// The exit code where there is no server to be asked.
const NO_SERVER: i32 = 3;

/// The workers of an answer.
pub(crate) fn of(answer: &Json) -> &[Json] {
    answer["workers"].as_array().map_or(&[], Vec::as_slice)
}

/// What a worker is called.
pub(crate) fn name(worker: &Json) -> String {
    let number = |field: &str| worker[field].as_u64().unwrap_or(0);
    format!(
        "worker {} (pid {}, generation {})",
        number("worker"),
        number("pid"),
        number("generation")
    )
}

/// A request in a few words.
pub(crate) fn request(request: &Json) -> Option<String> {
    let text = |field: &str| request[field].as_str().map(clean);
    let route = text("route").map_or_else(String::new, |route| format!(" (route {route})"));
    let age = request["age_s"].as_f64().unwrap_or(0.0);
    Some(format!("{} {}{route} for {age} s", text("method")?, text("target")?))
}

/// Text of a worker with nothing in it that moves a terminal's cursor or turns its writing round.
pub(crate) fn clean(text: &str) -> String {
    let is_harmless = |letter: char| {
        !letter.is_control()
            && !matches!(letter, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|letter| if is_harmless(letter) { letter } else { '?' }).collect()
}

/// What every worker says why it has nothing to show, if all of them do.
pub(crate) fn none_answered(answer: &Json) -> Option<Failure> {
    let workers = of(answer);
    let why = |worker: &Json| Some(format!("{}: {}", name(worker), clean(worker["why"].as_str()?)));
    let whys: Option<Vec<String>> = workers.iter().map(why).collect();
    let whys = whys.filter(|whys| !whys.is_empty())?;
    Some(failed(whys.join("; "), "indrik stacks shows what they do"))
}

/// The answer of a worker that is there to be shown as JSON.
pub(crate) fn as_json(answer: &Json) -> String {
    crate::output::pretty(&json!(answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_worker_says_moves_no_cursor() {
        assert_eq!(clean("a\x1b[2Jb\n\u{202e}c"), "a?[2Jb??c");
        let shown = request(&json!({"method": "GET", "target": "/\x07", "age_s": 1.5}));
        assert_eq!(shown.as_deref(), Some("GET /? for 1.5 s"));
        assert_eq!(request(&Json::Null), None);
    }
}
