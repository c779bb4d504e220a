//! `indrik explain SETTING`: its value, where it comes from, what it means.

use std::io;
use std::process::{Command, Stdio};

use indrik_core::settings::{ConfigFileValues, Launch, Problem, render, settle};
use serde_json::Value as Json;

use crate::Failure;

/// Settles the settings as a start would and describes one of them.
pub(crate) fn explain(launch: &Launch, name: &str) -> Result<String, Failure> {
    let one = |problem| Failure::settings(vec![problem]);
    let file = read_config_file(launch).map_err(one)?;
    let settlement = settle(launch, Some(&file));
    let text = render::explain(&settlement, name).map_err(one)?;
    // A wrong value somewhere makes the answer doubtful, so it is told instead.
    if settlement.problems.is_empty() {
        Ok(text)
    } else {
        Err(Failure::settings(settlement.problems))
    }
}

/// The configuration file is Python, so Python reads it: in a process of its own, which ends.
fn read_config_file(launch: &Launch) -> Result<ConfigFileValues, Problem> {
    let mut command = Command::new(&launch.python_executable);
    command.args(["-m", "indrik.config_file"]).args(launch.config_request());
    command.current_dir(&launch.cwd).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| no_python(launch, &error))?;
    let answer: Json = serde_json::from_slice(&output.stdout).map_err(|error| {
        no_python(launch, &io::Error::other(format!("its answer makes no sense: {error}")))
    })?;
    if answer.get("message").is_some() {
        return Err(failed(&answer));
    }
    serde_json::from_value(answer).map_err(|error| no_python(launch, &io::Error::other(error)))
}

fn no_python(launch: &Launch, error: &io::Error) -> Problem {
    Problem {
        what: format!("the configuration file cannot be read by Python: {error}"),
        place: Some(launch.python_executable.clone()),
        hint: Some("check that this Python runs and has indrik installed".to_owned()),
    }
}

fn failed(answer: &Json) -> Problem {
    let text = |key: &str| answer.get(key).and_then(Json::as_str).unwrap_or_default();
    let line = answer.get("line").and_then(Json::as_u64);
    Problem {
        what: text("message").to_owned(),
        place: Some(
            line.map_or_else(|| text("file").to_owned(), |line| format!("{}:{line}", text("file"))),
        ),
        hint: None,
    }
}
