//! How a reload went.

use indrik_core::settings::Problem;
use serde_json::Value as Json;

use crate::failure::Failure;
use crate::output::{pretty, print};

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
        print(&pretty(answer));
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
