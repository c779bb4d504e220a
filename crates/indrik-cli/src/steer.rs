//! `indrik scale`, `recycle`, `restart`, `pause`, `resume` and `maintenance`: what an operator does to a running
//! server.

use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Arg;
use indrik_server::control::client::Connection;
use serde_json::Value as Json;

use crate::ctl::whole;
use crate::failure::Failure;
use crate::output::pretty;
use crate::server::{Asked, NOT_IN_TIME, OPTIONS, failed, failure, switch};

/// How often is looked whether what is waited for has come.
const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// How long a recycling may be waited for where nothing is said.
const WAIT_SECONDS: u64 = 600;

const WORDS: &str = "words";
const WAIT: &str = "wait";
const MAX: &str = "max";
const PAGE: &str = "page";
const ALLOW: &str = "allow";

/// The commands, and what each is for.
const COMMANDS: [(&str, &str); 6] = [
    (
        "scale",
        "Have another number of workers: N, or so many more (+N) or fewer (-N). It holds until the settings name \
         another number, or the server ends.\n\nUsage: indrik scale <N|+N|-N> [OPTIONS]\n",
    ),
    (
        "recycle",
        "Replace workers, one after the other, each when its successor serves: no request notices. A worker is named \
         by its place (1, 2, …) or its process number (place:1 and pid:4711 say which); all, if none is named.\n\n\
         Usage: indrik recycle [WORKER|all] [--wait] [OPTIONS]\n\n      --wait           return when all of them are \
         replaced\n",
    ),
    (
        "restart",
        "End workers that do not answer, at once and by force, and start others. What they run is lost; requests \
         that may be run again are. A worker that answers is better recycled.\n\nUsage: indrik restart \
         <WORKER|all> [OPTIONS]\n",
    ),
    (
        "pause",
        "Hold new requests back: none is refused up to queue_requests_max, what runs is finished, probes are \
         answered. It ends with indrik resume, or by itself.\n\nUsage: indrik pause [--max SECONDS] [--wait] \
         [OPTIONS]\n\n      --max SECONDS    hold them for so long at most: 30, if nothing is said, and never more than 600\n      \
         --wait           return when no request runs any more; exit code 4 if that does not come to pass\n",
    ),
    ("resume", "Serve what a pause holds, and what comes.\n\nUsage: indrik resume [OPTIONS]\n"),
    (
        "maintenance",
        "Have the front answer all requests 503 with Retry-After and a page, but those of some clients. Probes are \
         answered as ever. It holds until it is ended, also beyond a reload.\n\nUsage: indrik maintenance <on|off> \
         [--page FILE] [--allow CIDR]... [OPTIONS]\n\n      --page FILE      the page (HTML, at most 256 KiB), read \
         once, by the server\n      --allow CIDR     serve clients of this network as ever; may be given several times\n",
    ),
];

/// The command of this name, if it is one of these.
pub(crate) fn command(word: &str) -> Option<(&'static str, &'static str)> {
    COMMANDS.into_iter().find(|(name, _)| *name == word)
}

/// Does it; the text to print.
pub(crate) fn run(
    (name, help): (&'static str, &'static str),
    args: impl Iterator<Item = String>,
) -> Result<String, Failure> {
    let own = [
        Arg::new(WORDS).num_args(0..).allow_negative_numbers(true),
        switch(WAIT),
        Arg::new(MAX).long(MAX),
        Arg::new(PAGE).long(PAGE),
        Arg::new(ALLOW).long(ALLOW).action(clap::ArgAction::Append),
    ];
    let own = own.into_iter().filter(|arg| takes(name, arg.get_id().as_str()));
    let asked = Asked::parse(name, own, args)?;
    if asked.help {
        return Ok(format!("{help}\n{OPTIONS}"));
    }
    let arguments = arguments(name, &asked);
    let words: Vec<&str> =
        std::iter::once(name).chain(arguments.iter().map(String::as_str)).collect();
    let mut connection = asked.connect_to_change()?;
    let before =
        if waits(&asked) { Some(connection.call("show look").map_err(failure)?) } else { None };
    let answer = connection.call_with(&words).map_err(|trouble| {
        let failure = failure(trouble);
        if failure.exit_code == 1 { refused(name, failure) } else { failure }
    })?;
    let done = match (name, before) {
        ("pause", Some(_)) => wait_until_nothing_runs(&mut connection)?,
        ("recycle", Some(_)) => wait_until_replaced(&mut connection, &answer)?,
        _ => answer,
    };
    Ok(if asked.json { pretty(&done) } else { text(name, &done) })
}

/// The arguments that a command has.
fn takes(name: &str, argument: &str) -> bool {
    match argument {
        WORDS => !matches!(name, "pause" | "resume"),
        WAIT => matches!(name, "pause" | "recycle"),
        MAX => name == "pause",
        PAGE | ALLOW => name == "maintenance",
        _ => false,
    }
}

fn waits(asked: &Asked) -> bool {
    asked.matches.try_get_one::<bool>(WAIT).ok().flatten().is_some_and(|waits| *waits)
}

/// The arguments of the control socket's command.
fn arguments(name: &str, asked: &Asked) -> Vec<String> {
    let texts = |argument: &str| {
        let given = asked.matches.try_get_many::<String>(argument).ok().flatten();
        given.into_iter().flatten().cloned().collect::<Vec<String>>()
    };
    let mut words = texts(WORDS);
    words.extend(texts(MAX));
    if name == "maintenance" {
        let named = |word: &'static str, values: Vec<String>| {
            values.into_iter().flat_map(move |value| [word.to_owned(), value])
        };
        let pages = texts(PAGE).iter().map(|page| whole(page).display().to_string()).collect();
        words.extend(named("page", pages));
        words.extend(named("allow", texts(ALLOW)));
    }
    words
}

fn refused(name: &str, failure: Failure) -> Failure {
    let mut failure = failure;
    for problem in &mut failure.problems {
        // What is wrong with the words is wrong usage; everything else the server has refused.
        if let Some(what) = problem.what.strip_prefix("Invalid argument: ") {
            problem.what = what.to_owned();
            failure.exit_code = 2;
        }
        problem.hint = Some(format!("indrik {name} --help shows how it is used"));
    }
    failure
}

/// The server tells at each look what runs at that moment, so nothing old is believed.
fn wait_until_nothing_runs(connection: &mut Connection) -> Result<Json, Failure> {
    loop {
        let look = connection.call("show look").map_err(failure)?;
        let steering = &look["steering"];
        if steering["paused"] != Json::Bool(true) {
            let why = steering["last_pause"]["why"].as_str().unwrap_or("it was ended");
            let runs = &steering["running"];
            let what = format!(
                "the pause is over ({why}), and requests still ran until then ({runs} run now)"
            );
            return Err(failed(
                NOT_IN_TIME,
                what,
                "indrik requests shows what runs; --max gives it more time",
            ));
        }
        if steering["running"] == 0 {
            return Ok(steering.clone());
        }
        sleep(LOOK_PAUSE);
    }
}

fn wait_until_replaced(connection: &mut Connection, answer: &Json) -> Result<Json, Failure> {
    let pids =
        answer["workers"].as_array().into_iter().flatten().map(|worker| worker["pid"].clone());
    let pids: Vec<Json> = pids.collect();
    let end = Instant::now() + Duration::from_secs(WAIT_SECONDS);
    loop {
        let look = connection.call("show look").map_err(failure)?;
        let workers = look["workers"].as_array().cloned().unwrap_or_default();
        let left = workers.iter().filter(|worker| pids.contains(&worker["pid"])).count();
        if left == 0 {
            return Ok(answer.clone());
        }
        if Instant::now() >= end {
            let what =
                format!("{left} of {} workers are not replaced after {WAIT_SECONDS} s", pids.len());
            return Err(failed(NOT_IN_TIME, what, "indrik status shows why; it goes on"));
        }
        sleep(LOOK_PAUSE);
    }
}

fn text(name: &str, answer: &Json) -> String {
    let number = |field: &str| answer[field].as_u64().unwrap_or(0);
    match name {
        "scale" => {
            format!("{} workers are wanted, {} were before\n", number("total"), number("previous"))
        }
        "recycle" | "restart" => {
            let workers = answer["workers"].as_array().map_or(&[][..], Vec::as_slice);
            let names =
                workers.iter().map(|worker| format!("{} (pid {})", worker["place"], worker["pid"]));
            let names = names.collect::<Vec<_>>().join(", ");
            let how =
                if name == "recycle" { "is replaced in its turn" } else { "is ended and replaced" };
            format!("worker {names} {how}\n")
        }
        "pause" => format!(
            "paused for {:.0} s more at most: {} requests run, {} wait\n",
            answer["pause_left_s"].as_f64().unwrap_or(0.0),
            number("running"),
            number("waiting")
        ),
        "resume" if answer["was_paused"] == Json::Bool(true) => {
            "requests are served again\n".to_owned()
        }
        "resume" => "nothing was paused\n".to_owned(),
        _ if answer["maintenance"].is_null() => "maintenance is off\n".to_owned(),
        _ => "maintenance is on: requests are answered 503\n".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed_with(line: &str) -> (i32, String) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let name = words.next().unwrap();
        match run(command(&name).unwrap(), words) {
            Ok(text) => panic!("{text}"),
            Err(failure) => (failure.exit_code, failure.problems[0].what.clone()),
        }
    }

    #[test]
    fn every_command_has_its_help_and_takes_only_its_own_arguments() {
        for (name, _) in COMMANDS {
            let help = run(command(name).unwrap(), ["--help".to_owned()].into_iter());
            let help = help.unwrap_or_else(|failure| panic!("{:?}", failure.problems));
            assert!(
                help.contains(&format!("Usage: indrik {name}")) && help.contains("Exit codes"),
                "{help}"
            );
            assert!(help.lines().all(|line| !line.contains('\t')), "{help}");
        }
        for line in
            ["scale --max 3 2", "resume 1", "pause 1", "restart --wait 1", "recycle --page x"]
        {
            assert_eq!(failed_with(line).0, 2, "{line}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_exit_code_3() {
        assert_eq!(failed_with("scale -2 --pid 4194305").0, 3);
        assert_eq!(failed_with("pause --wait --pid 4194305").0, 3);
    }
}
