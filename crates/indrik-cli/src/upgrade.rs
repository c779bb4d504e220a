//! `indrik upgrade`: has a running server start its program anew and leave when the new one serves.

use clap::{Arg, ArgAction, Command};
use indrik_core::settings::Problem;
use indrik_server::control::client::{Connection, Target};
use serde_json::Value as Json;

use crate::ctl;
use crate::failure::Failure;

const HELP: &str = "\
Start the program of a running server anew, with the same arguments and sockets: a new version of
Indrik, of Python or of the application. When the new server serves, its process number is printed,
and the old one finishes its requests and ends. If the new one fails, the old one serves on, the reason
is printed, and the exit code is 1.

Usage: indrik upgrade [-s SOCKET | -p PID]

  -b, --bind ADDRESS   the server that listens there; also --chdir DIR, --app NAME
  -s, --socket SOCKET  the server's control socket: a path, or @NAME for an abstract one
  -p, --pid PID        the number of its master process, or its pid file

Without these the only server of this user is meant.
";

/// Does it; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let command = Command::new("indrik upgrade")
        .args(ctl::target_arguments())
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue));
    let matches = ctl::parse(command, args, "indrik upgrade --help shows how it is used")?;
    if matches.get_flag("help") {
        return Ok(HELP.to_owned());
    }
    upgrade(&ctl::target(&matches))
}

fn upgrade(target: &Target) -> Result<String, Failure> {
    let mut connection = Connection::open(target).map_err(ctl::failure)?;
    connection.be_patient().map_err(ctl::failure)?;
    let answer = connection.call("upgrade").map_err(ctl::failure)?;
    match answer.get("pid").and_then(Json::as_u64) {
        Some(pid) => Ok(format!("{pid}\n")),
        None => {
            let text = |name| answer.get(name).and_then(Json::as_str).unwrap_or_default();
            let problem = Problem {
                what: text("error").to_owned(),
                place: None,
                hint: Some("the old server serves on".to_owned()),
            };
            Err(Failure { traceback: text("log").to_owned(), ..Failure::settings(vec![problem]) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_needs_no_server_and_a_wrong_flag_is_wrong_usage() {
        let help = run(["--help".to_owned()].into_iter());
        assert!(help.is_ok_and(|text| text.contains("Usage: indrik upgrade")));
        let Err(failure) = run(["--nope".to_owned()].into_iter()) else { panic!("refused") };
        assert_eq!(failure.exit_code, 2);
    }

    #[test]
    fn a_server_that_is_not_there_is_told() {
        let Err(failure) = run(["--pid".to_owned(), "4194305".to_owned()].into_iter()) else {
            panic!("there is none")
        };
        assert_eq!(failure.exit_code, 1);
        assert!(failure.problems[0].what.contains("4194305"), "{:?}", failure.problems);
    }
}
