//! `indrik ctl`: talks to a running server.

use std::borrow::Cow;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Command};
use indrik_core::control::HELP;
use indrik_core::settings::Problem;
use indrik_server::control::Marks;
use indrik_server::control::client::{Connection, Target, Trouble};
use serde_json::{Value as Json, json};

use crate::failure::Failure;
use crate::output::pretty;
use crate::reloaded;

const SOCKET: &str = "socket";
const PID: &str = "pid";
const BIND: &str = "bind";
const CHDIR: &str = "chdir";
const APP: &str = "app";
const JSON: &str = "json";
const WAIT: &str = "wait";
const NO_WAIT: &str = "no-wait";
const HELP_FLAG: &str = "help";
const WORDS: &str = "words";

/// What `indrik ctl` was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ctl {
    target: Target,
    json: bool,
    wait: bool,
    no_wait: bool,
    pub(crate) help: bool,
    words: Vec<String>,
}

impl Ctl {
    /// Parses the words after `ctl`.
    pub(crate) fn parse(args: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let matches = parse(command(), args, "indrik ctl --help shows how it is used")?;
        let words = matches.get_many::<String>(WORDS).into_iter().flatten().cloned().collect();
        Ok(Self {
            target: target(&matches),
            json: matches.get_flag(JSON),
            wait: matches.get_flag(WAIT),
            no_wait: matches.get_flag(NO_WAIT),
            help: matches.get_flag(HELP_FLAG),
            words,
        })
    }

    /// Does it; the text to print.
    pub(crate) fn run(&self) -> Result<String, Failure> {
        if self.help {
            return Ok(help());
        }
        let command = self.command();
        let mut connection = Connection::open(&self.target).map_err(failure)?;
        if command == "status" {
            return self.status(&mut connection).map_err(failure);
        }
        let mut before = None;
        if !is_a_look(&command) {
            (connection, before) = connection.that_serves(&self.target).map_err(failure)?;
        }
        if command == "reload" && !self.no_wait {
            let answer = connection.call_patiently("reload wait").map_err(failure)?;
            return reloaded::outcome(&answer, self.json);
        }
        let answer = connection.call(&command).map_err(failure)?;
        // Gunicorn's shape for a command that was understood and could not be done.
        if answer.get("success") == Some(&Json::Bool(false)) {
            let what = answer.get("error").and_then(Json::as_str).unwrap_or("it could not be done");
            return Err(Failure::settings(vec![Problem {
                what: what.to_owned(),
                place: None,
                hint: Some("indrik ctl show workers lists the workers".to_owned()),
            }]));
        }
        if command == "health" && answer.get("ready") != Some(&Json::Bool(true)) {
            return Err(unready(&answer));
        }
        let is_stopping = answer.get("status").and_then(Json::as_str) == Some("shutting_down");
        if self.wait && is_stopping {
            connection.wait_for_end().map_err(failure)?;
            if let Some(before) = &mut before {
                before.wait_for_end().map_err(failure)?;
            }
        }
        Ok(if self.json { pretty(&answer) } else { text(&command, &answer) })
    }

    fn command(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => "status".to_owned(),
            ["workers"] => "show workers".to_owned(),
            ["stop", mode @ ..] => {
                ["shutdown"].iter().chain(mode).copied().collect::<Vec<_>>().join(" ")
            }
            words => words.join(" "),
        }
    }

    fn status(&self, connection: &mut Connection) -> Result<String, Trouble> {
        let stats = connection.call("show stats")?;
        let listeners = connection.call("show listeners")?;
        let workers = connection.call("show workers")?;
        if self.json {
            let all = json!({
                "stats": stats,
                "listeners": listeners["listeners"],
                "workers": workers["workers"],
            });
            return Ok(pretty(&all));
        }
        Ok(format!(
            "{}\n{}\n{}",
            pairs(&stats),
            table(&listeners["listeners"], &LISTENER_COLUMNS),
            workers_table(&workers["workers"])
        ))
    }
}

/// A command that changes nothing: any server may be looked at.
fn is_a_look(command: &str) -> bool {
    let first = command.split_whitespace().next().unwrap_or_default();
    ["show", "health", "help"].contains(&first)
}

/// The server is there, and no requests should be sent to it.
fn unready(health: &Json) -> Failure {
    let text = |name| health.get(name).and_then(Json::as_str).unwrap_or_default();
    let why = match text("why") {
        "" => String::new(),
        why => format!(": {why}"),
    };
    let what = format!("the server is not ready, it is {}{why}", text("state"));
    Failure::settings(vec![Problem { what, place: None, hint: None }])
}

/// The options that name a server.
pub(crate) fn target_arguments() -> [Arg; 5] {
    [
        Arg::new(SOCKET).short('s').long("socket").conflicts_with(PID),
        Arg::new(PID).short('p').long("pid"),
        Arg::new(BIND).short('b').long(BIND),
        Arg::new(CHDIR).long(CHDIR),
        Arg::new(APP).long(APP),
    ]
}

/// The server that those options name.
pub(crate) fn target(matches: &ArgMatches) -> Target {
    let socket = matches.get_one::<String>(SOCKET).map(|path| Target::Socket(path.into()));
    let pid = matches.get_one::<String>(PID).map(|text| match text.parse() {
        Ok(number) => Target::Pid(number),
        Err(_) => Target::PidFile(PathBuf::from(text)),
    });
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let marks = Marks {
        bind: text(BIND),
        directory: text(CHDIR).map(|path| whole(&path)),
        application: text(APP),
    };
    let marked = (!marks.are_none()).then_some(Target::Marked(marks));
    socket.or(pid).or(marked).unwrap_or(Target::Only)
}

/// A path as the server knows it.
pub(crate) fn whole(path: &str) -> PathBuf {
    std::path::absolute(path)
        .map_or_else(|_| PathBuf::from(path), |path| path.canonicalize().unwrap_or(path))
}

/// Parses the words after a command's name.
pub(crate) fn parse(
    command: Command,
    args: impl Iterator<Item = String>,
    hint: &str,
) -> Result<ArgMatches, Failure> {
    let command = command.no_binary_name(true).disable_help_flag(true).args_override_self(true);
    command.try_get_matches_from(args).map_err(|error| {
        let text = error.to_string();
        let line = text.lines().next().unwrap_or_default();
        Failure::usage(Problem {
            what: line.trim_start_matches("error: ").to_owned(),
            place: None,
            hint: Some(hint.to_owned()),
        })
    })
}

fn command() -> Command {
    Command::new("indrik ctl")
        .args(target_arguments())
        .arg(Arg::new(JSON).short('j').long("json").action(ArgAction::SetTrue))
        .arg(Arg::new(WAIT).short('w').long("wait").action(ArgAction::SetTrue))
        .arg(Arg::new(NO_WAIT).long("no-wait").action(ArgAction::SetTrue))
        .arg(Arg::new(HELP_FLAG).short('h').long("help").action(ArgAction::SetTrue))
        .arg(Arg::new(WORDS).action(ArgAction::Append).num_args(0..))
}

pub(crate) fn failure(trouble: Trouble) -> Failure {
    let hint = (!trouble.hint.is_empty()).then_some(trouble.hint);
    Failure::settings(vec![Problem { what: trouble.what, place: None, hint }])
}

/// As many as fit into a terminal of 80 columns.
const WORKER_COLUMNS: [(&str, &str); 9] = [
    ("PID", "pid"),
    ("AGE", "age"),
    ("GEN", "generation"),
    ("STATE", "state"),
    ("UP (s)", "up"),
    ("REQUESTS", "requests"),
    ("BUSY", "in_flight"),
    ("RSS (MiB)", "rss"),
    ("STARTED FOR", "started_for"),
];
const MEMORY_COLUMNS: [(&str, &str); 8] = [
    ("PROCESS", "role"),
    ("PID", "pid"),
    ("AGE", "age"),
    ("GENERATION", "generation"),
    ("RSS (MiB)", "rss"),
    ("PSS (MiB)", "pss"),
    ("SHARED (MiB)", "shared"),
    ("OWN (MiB)", "private"),
];
const LISTENER_COLUMNS: [(&str, &str); 3] =
    [("ADDRESS", "address"), ("TYPE", "type"), ("FD", "fd")];

fn help() -> String {
    let commands = HELP.iter().map(|(command, meaning)| (*command, *meaning));
    let ours = [
        ("status", "Counts, sockets and workers (the default)"),
        ("workers", "show workers"),
        ("stop [quick]", "shutdown"),
    ];
    let mut text = String::from(
        "Talk to a running server.\n\nUsage: indrik ctl [-s SOCKET | -p PID] [-j] [-w] [COMMAND]\n\n  \
         -b, --bind ADDRESS   the server that listens there; also --chdir DIR, --app NAME\n  \
         -s, --socket SOCKET  its control socket: a path, or @NAME for an abstract one\n  \
         -p, --pid PID        the number of its master process, or its pid file\n  \
         -j, --json           print the answer as JSON\n  \
         -w, --wait           stop: wait until the server has ended\n      \
         --no-wait        reload: do not wait for its end, whose failure is exit code 1\n\n\
         Without -s and -p the only server of this user is meant.\n\nCommands:\n",
    );
    for (command, meaning) in ours.into_iter().chain(commands) {
        text.push_str(&format!("  {command:<26}{meaning}\n"));
    }
    text
}

fn text(command: &str, answer: &Json) -> String {
    match command {
        "show workers" => workers_table(&answer["workers"]),
        "show all" => {
            let master = &answer["arbiter"]["pid"];
            let health = plain(&answer["health"]);
            let workers = workers_table(&answer["web_workers"]);
            format!("master {master}\nhealth {health}\n\n{workers}")
        }
        "show listeners" => table(&answer["listeners"], &LISTENER_COLUMNS),
        "show memory" => memory(answer),
        "help" => pairs(&answer["commands"]),
        _ => pairs(answer),
    }
}

/// Uptime in whole seconds, resident memory in mebibytes (`-` where /proc hides it).
fn workers_table(workers: &Json) -> String {
    let mut workers = workers.clone();
    for worker in workers.as_array_mut().into_iter().flatten() {
        worker["up"] = worker["uptime_s"].as_f64().map(|seconds| format!("{seconds:.0}")).into();
        worker["rss"] = match &worker["rss_bytes"] {
            Json::Number(bytes) => mebibytes(&Json::Number(bytes.clone())).into(),
            _ => Json::Null,
        };
    }
    table(&workers, &WORKER_COLUMNS)
}

/// In mebibytes, with the sums.
fn memory(answer: &Json) -> String {
    let mut processes = answer["processes"].clone();
    for process in processes.as_array_mut().into_iter().flatten() {
        for field in ["rss", "pss", "shared", "private"] {
            process[field] = mebibytes(&process[field]).into();
        }
    }
    let (rss, pss) = (mebibytes(&answer["rss_total"]), mebibytes(&answer["pss_total"]));
    let table = table(&processes, &MEMORY_COLUMNS);
    format!("{table}\nPSS of all: {pss} MiB; without sharing it would be the RSS: {rss} MiB\n")
}

fn mebibytes(bytes: &Json) -> String {
    const MIB: f64 = 1_048_576.0;
    format!("{:.1}", bytes.as_f64().unwrap_or(0.0) / MIB)
}

/// One line for each field.
fn pairs(answer: &Json) -> String {
    let Some(fields) = answer.as_object() else { return format!("{}\n", plain(answer)) };
    let width = fields.keys().map(String::len).max().unwrap_or(0);
    let indent = width + 2;
    let lines = fields.iter().map(|(name, value)| {
        format!("{name:<width$}  {}\n", wrapped(&plain(value), indent, LINE_CHARS_MAX))
    });
    lines.collect()
}

/// Columns of a terminal that everybody has.
const LINE_CHARS_MAX: usize = 100;

/// A list that is too long for a line goes on below its own beginning.
fn wrapped(text: &str, indent: usize, line_max: usize) -> String {
    let mut out = String::new();
    let mut column = indent;
    for (index, part) in text.split(", ").enumerate() {
        let len = part.chars().count() + 1;
        if index > 0 && column + 1 + len > line_max {
            out.push_str(",\n");
            out.push_str(&" ".repeat(indent));
            column = indent;
        } else if index > 0 {
            out.push_str(", ");
            column += 2;
        }
        out.push_str(part);
        column += len - 1;
    }
    out
}

/// One line for each item.
fn table(items: &Json, columns: &[(&str, &str)]) -> String {
    let items = items.as_array().map_or(&[][..], Vec::as_slice);
    let header = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let rows = items
        .iter()
        .map(|item| columns.iter().map(|(_, field)| plain(&item[*field])).collect::<Vec<_>>());
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        Json::Null => "-".to_owned(),
        Json::Object(fields) => {
            let said = fields.iter().filter(|(_, value)| !value.is_null() && *value != "");
            let shown = said.map(|(name, value)| format!("{name} {}", first_line(&plain(value))));
            shown.collect::<Vec<_>>().join(", ")
        }
        Json::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// What fits into a line; `--json` shows all.
fn first_line(text: &str) -> Cow<'_, str> {
    match text.split_once('\n') {
        Some((first, _)) => Cow::Owned(format!("{first} …")),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Ctl {
        Ctl::parse(line.split_whitespace().map(str::to_owned))
            .unwrap_or_else(|failure| panic!("{:?}", failure.problems))
    }

    #[test]
    fn a_server_is_named_by_socket_number_or_pid_file() {
        assert_eq!(parse("-s /run/x.ctl reload").target, Target::Socket("/run/x.ctl".into()));
        assert_eq!(parse("--pid 4711").target, Target::Pid(4711));
        assert_eq!(parse("-p /run/x.pid").target, Target::PidFile("/run/x.pid".into()));
        assert_eq!(parse("reload").target, Target::Only);
    }

    #[test]
    fn short_words_stand_for_commands_and_others_are_sent_as_they_are() {
        assert_eq!(parse("").command(), "status");
        assert_eq!(parse("workers -j").command(), "show workers");
        assert_eq!(parse("stop quick").command(), "shutdown quick");
        assert_eq!(parse("worker add 2").command(), "worker add 2");
    }

    #[test]
    fn a_wrong_flag_is_wrong_usage() {
        let Err(failure) = Ctl::parse(["--nope".to_owned()].into_iter()) else { panic!("refused") };
        assert_eq!(failure.exit_code, 2);
        assert!(failure.problems[0].what.contains("--nope"), "{:?}", failure.problems);
    }

    #[test]
    fn workers_are_shown_with_their_memory_in_eighty_columns() {
        let worker = |rss: Json| {
            json!({"pid": 4_194_303, "age": 1234, "generation": 12, "state": "standing by",
                "uptime_s": 864_000.41, "requests": 12_345_678, "in_flight": 1000, "rss_bytes": rss,
                "started_for": "max_requests", "last_heartbeat": 0.02})
        };
        let text = workers_table(&json!([worker(json!(300 << 20)), worker(Json::Null)]));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.len() <= 80), "{text}");
        assert!(lines[0].contains("RSS (MiB)") && lines[1].contains(" 300.0 "), "{text}");
        assert!(lines[1].contains(" 864000 ") && lines[2].contains(" -  "), "{text}");
    }

    #[test]
    fn memory_is_shown_in_mebibytes() {
        let zygote = json!({"role": "zygote", "pid": 7, "generation": 1, "rss": 3 << 20,
            "pss": 3 << 19, "shared": 3 << 20, "private": 0});
        let text =
            memory(&json!({"processes": [zygote], "rss_total": 3 << 20, "pss_total": 3 << 19}));
        assert!(
            text.contains("zygote   7    -    1           3.0        1.5        3.0           0.0"),
            "{text}"
        );
        assert!(
            text.ends_with("PSS of all: 1.5 MiB; without sharing it would be the RSS: 3.0 MiB\n")
        );
    }

    #[test]
    fn a_group_of_values_is_one_line_of_those_that_say_something() {
        let health = json!({"ready": true, "why": ""});
        assert_eq!(pairs(&json!({ "health": health })), "health  ready true\n");
        let reload = json!({"details": "it failed\nTraceback", "success": false});
        assert_eq!(plain(&reload), "details it failed …, success false");
    }

    #[test]
    fn a_long_group_goes_on_below_its_beginning() {
        assert_eq!(wrapped("a 1, bb 2, c 3", 4, 12), "a 1,\n    bb 2,\n    c 3");
        assert_eq!(wrapped("a 1, bb 2, c 3", 4, 80), "a 1, bb 2, c 3");
    }

    #[test]
    fn tables_line_up() {
        let workers = json!([{"pid": 7, "state": "ready"}, {"pid": 4711, "state": "booting"}]);
        let text = table(&workers, &[("PID", "pid"), ("STATE", "state"), ("X", "x")]);
        assert_eq!(text, "PID   STATE    X\n7     ready    -\n4711  booting  -\n");
    }
}
