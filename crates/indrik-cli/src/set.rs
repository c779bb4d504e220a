//! `indrik set`: other values for a running server's settings.

use clap::{Arg, ArgAction, Command};
use indrik_core::settings::Problem;
use indrik_server::control::client::{Connection, Kind, Trouble};
use indrik_server::control::over_http;
use serde_json::{Map, Value as Json, json};

use crate::ctl;
use crate::failure::Failure;

const HELP: &str = "\
Change settings of a running server: they are checked, and a reload takes them into use. If that fails, what held before
holds on. The configuration's files are not touched: what is set by hand is gone with the server.

Usage: indrik set [-s SOCKET | -p PID] [--dry-run] [--reset NAME]... [NAME=VALUE]...

  -b, --bind ADDRESS   the server that listens there; also --chdir DIR, --app NAME
  -s, --socket SOCKET  the server's control socket: a path, or @NAME for an abstract one
  -p, --pid PID        the number of its master process, or its pid file
      --dry-run        only say what would change
      --reset NAME     what the files say holds again
";

/// Does what the words after `set` say; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let command = Command::new("indrik set")
        .args(ctl::target_arguments())
        .arg(Arg::new("dry-run").long("dry-run").action(ArgAction::SetTrue))
        .arg(Arg::new("reset").long("reset").action(ArgAction::Append))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue))
        .arg(Arg::new("pairs").num_args(0..));
    let matches = ctl::parse(command, args, "indrik set --help shows how it is used")?;
    if matches.get_flag("help") {
        return Ok(HELP.to_owned());
    }
    let pairs = matches.get_many::<String>("pairs").into_iter().flatten();
    let reset = matches.get_many::<String>("reset").into_iter().flatten();
    let changes = changes(pairs.map(String::as_str), reset.map(String::as_str))?;
    let names = changes.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    let body = json!({
        "changes": changes,
        "dry_run": matches.get_flag("dry-run"),
        "confirm": names,
    });
    let mut connection = Connection::open(&ctl::target(&matches)).map_err(ctl::failure)?;
    let stats = connection.call("show stats").map_err(ctl::failure)?;
    let pid = stats["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0);
    let answer =
        over_http::ask(pid, "PATCH", "/api/settings", Some(&body)).map_err(ctl::failure)?;
    told(&answer)
}

fn changes<'a>(
    pairs: impl Iterator<Item = &'a str>,
    reset: impl Iterator<Item = &'a str>,
) -> Result<Map<String, Json>, Failure> {
    let mut changes = Map::new();
    for pair in pairs {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(usage(format!("'{}' is not NAME=VALUE", pair.escape_debug())));
        };
        changes.insert(name.trim().replace('-', "_"), value.into());
    }
    changes.extend(reset.map(|name| (name.replace('-', "_"), Json::Null)));
    if changes.is_empty() { Err(usage("nothing to set".to_owned())) } else { Ok(changes) }
}

fn usage(what: String) -> Failure {
    let hint = Some("indrik set --help shows how it is used".to_owned());
    Failure::usage(Problem { what, place: None, hint })
}

fn told((status, answer): &(u16, Json)) -> Result<String, Failure> {
    let text = |value: &Json| value.as_str().unwrap_or_default().to_owned();
    if *status == 200 {
        let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
        let lines = changes.iter().map(|change| {
            let [name, before, after] = ["name", "before", "after"].map(|key| text(&change[key]));
            format!("{name} = {after} ({before} before)\n")
        });
        let lines: String = lines.collect();
        return Ok(if lines.is_empty() { "nothing changes\n".to_owned() } else { lines });
    }
    let problems = answer["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let problems: Vec<Problem> = problems
        .iter()
        .map(|problem| Problem {
            what: text(&problem["problem"]),
            place: None,
            hint: problem["hint"].as_str().map(str::to_owned),
        })
        .collect();
    if problems.is_empty() {
        let trouble = Trouble {
            what: text(&answer["error"]),
            hint: text(&answer["hint"]),
            kind: Kind::Refused,
        };
        return Err(ctl::failure(trouble));
    }
    Err(Failure::settings(problems))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_set_and_names_are_reset() {
        let changes =
            changes(["timeout=45s", "max-requests=7"].into_iter(), ["keepalive"].into_iter());
        let expected = json!({"timeout": "45s", "max_requests": "7", "keepalive": null});
        assert_eq!(Json::Object(changes.ok().unwrap()), expected);
    }

    #[test]
    fn nothing_to_set_and_a_word_without_a_value_are_wrong_usage() {
        for words in [&[][..], &["timeout"]] {
            let failure = run(words.iter().map(|word| (*word).to_owned())).unwrap_err();
            assert_eq!(failure.exit_code, 2);
        }
    }

    #[test]
    fn what_changes_is_told_and_what_cannot_be_is_an_error() {
        let good = json!({"changes": [{"name": "timeout", "before": "30s", "after": "45s"}]});
        assert_eq!(told(&(200, good)).ok().unwrap(), "timeout = 45s (30s before)\n");
        let wrong = json!({"error": "x", "problems": [{"problem": "a"}, {"problem": "b"}]});
        assert_eq!(told(&(422, wrong)).unwrap_err().problems.len(), 2);
        let conflict = json!({"error": "the server is starting or ends"});
        assert_eq!(told(&(409, conflict)).unwrap_err().problems.len(), 1);
    }
}
