//! `indrik reload`: new code and settings in a running server, and how that went.

use indrik_core::settings::Problem;
use serde_json::Value as Json;

use crate::Failure;
use crate::ctl::{Ctl, pretty};

const HELP: &str = "\
Load code and settings anew in a running server, and wait until they serve.

Usage: indrik reload [-s SOCKET | -p PID] [-j] [--no-wait]

  -s, --socket SOCKET  its control socket: a path, or @NAME for an abstract one
  -p, --pid PID        the number of its master process, or its pid file
  -j, --json           print the answer as JSON
      --no-wait        ask for it only

Without -s and -p the only server of this user is meant.
Exit code 0: the new generation serves. 1: it does not, and the old one does; the reason and the
traceback are printed.
";

/// Does what the words after `reload` say; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let ctl = Ctl::parse(std::iter::once("reload".to_owned()).chain(args))?;
    if ctl.help { Ok(HELP.to_owned()) } else { ctl.run() }
}

/// What the server says at the end of a reload, as text or as a failure.
pub(crate) fn outcome(answer: &Json, as_json: bool) -> Result<String, Failure> {
    let text = |name: &str| answer.get(name).and_then(Json::as_str).unwrap_or_default();
    if answer.get("success") != Some(&Json::Bool(false)) {
        let generation = answer.get("generation").and_then(Json::as_u64).unwrap_or(0);
        return Ok(if as_json {
            pretty(answer)
        } else {
            format!("generation {generation} serves\n")
        });
    }
    if as_json {
        crate::print(&pretty(answer));
    }
    let details = text("details");
    let end = if details.is_empty() || details.ends_with('\n') { "" } else { "\n" };
    let problem = Problem {
        what: text("error").to_owned(),
        place: None,
        hint: Some("the server's error log says more; mend it and reload again".to_owned()),
    };
    Err(Failure { traceback: format!("{details}{end}"), ..Failure::settings(vec![problem]) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_reload_that_serves_is_told_by_its_generation() {
        let answer = json!({"status": "reloaded", "generation": 7});
        assert_eq!(outcome(&answer, false).ok().as_deref(), Some("generation 7 serves\n"));
    }

    #[test]
    fn a_reload_that_failed_is_exit_code_1_with_its_traceback() {
        let answer = json!({"success": false, "error": "it was given up", "details": "Traceback"});
        let Err(failure) = outcome(&answer, false) else { panic!("it failed") };
        assert_eq!((failure.exit_code, failure.traceback.as_str()), (1, "Traceback\n"));
        assert_eq!(failure.problems[0].what, "it was given up");
    }
}
