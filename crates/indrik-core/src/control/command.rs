//! The commands: Gunicorn's words for them.

use std::time::Duration;

use serde_json::Value as Json;

use super::inside::{self, Inside};
use super::steer::{Maintenance, Scale, Whom};
use super::words::{MOST, shown};
use crate::record::Order;
use crate::settings::words;
use crate::supervise::limits::{HOLD_DEFAULT, HOLD_MAX, WORKERS_MAX};

/// What `help` lists: each command and what it does.
pub const HELP: [(&str, &str); 34] = [
    ("show all", "The master and its workers"),
    ("show workers", "The workers and how they are"),
    ("show dirty", "Dirty workers and apps (there are none here)"),
    ("show config", "The settings in effect"),
    ("show stats", "Counts since the start"),
    ("show listeners", "The sockets the server listens on"),
    ("show memory", "What zygotes and workers have of memory, and what they share"),
    ("show look", "Everything at one moment: server, workers, requests in flight"),
    ("show events [SINCE]", "What happened to the server, from that number on"),
    ("show alerts", "Alerts that are active, and what became of their messages"),
    ("show log [SINCE]", "The last lines of the error log, from that number on"),
    ("scale <N|+N|-N>", "So many workers, or so many more or fewer"),
    ("recycle [WORKER|all]", "Replace workers, one after the other, successor first"),
    ("restart <WORKER|all>", "End workers that do not answer at once, and start others"),
    ("pause [S]", "Hold new requests back for S seconds at most (default 30, at most 600)"),
    ("resume", "Serve what a pause holds, and what comes"),
    ("maintenance <on|off>", "Answer requests 503 in the front: on [page FILE] [allow CIDR]..."),
    ("alerts test", "Send a test message through each sink of alerts; see indrik alerts"),
    ("worker add [N]", "N workers more (default 1)"),
    ("worker remove [N]", "N workers fewer (default 1)"),
    ("worker kill <PID>", "Replace one worker; it finishes its requests"),
    ("dirty add [N]", "Not available: there are no dirty workers"),
    ("dirty remove [N]", "Not available: there are no dirty workers"),
    ("reload", "Start a new generation of workers (HUP)"),
    ("reload wait", "The same, answered when it serves or has failed"),
    ("health", "How the server is; exit code 1 unless it is ready"),
    ("upgrade", "Start the program anew; it takes this one's place when it serves"),
    ("reopen", "Open the log files again (USR1)"),
    ("record", "Record requests (sample=, for=, bytes=, requests, bodies), as indrik record does"),
    ("shutdown [graceful|quick]", "Stop the server (TERM or INT)"),
    (
        "stacks [WHO]",
        "What threads, tasks and greenlets of workers do; WHO: all, a PID, or a number",
    ),
    (
        "profile <WHO> <SECONDS> <HZ> <cpu|wall> [ROUTE]",
        "Where their time goes; see indrik profile",
    ),
    ("trace <start|stop|top> [WHO]", "What their memory is made of; see indrik memory"),
    ("help", "This list"),
];

/// A message from a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Repeated in the answer; 0 when the client gave none.
    pub id: Json,
    /// The command's words, the arguments at the end.
    pub words: Vec<String>,
}

impl Request {
    /// Reads a message.
    ///
    /// # Errors
    /// When it is no request at all: what is wrong with it, in one line.
    pub fn read(message: &[u8]) -> Result<Self, String> {
        let json: Json = serde_json::from_slice(message)
            .map_err(|error| format!("the message is not JSON: {error}"))?;
        let fields = json.as_object().ok_or("the message is not a JSON object")?;
        let command = fields.get("command").and_then(Json::as_str);
        let command = command.ok_or("the message has no text under \"command\"")?;
        let mut words = words::split(command)
            .map_err(|words::Unfinished| "a quote in the command is not closed".to_owned())?;
        match fields.get("args") {
            None | Some(Json::Null) => {}
            Some(Json::Array(arguments)) => words.extend(arguments.iter().map(word)),
            Some(_) => return Err("\"args\" is not a list".to_owned()),
        }
        Ok(Self { id: fields.get("id").cloned().unwrap_or_else(|| 0.into()), words })
    }
}

fn word(argument: &Json) -> String {
    argument.as_str().map_or_else(|| argument.to_string(), str::to_owned)
}

/// What a client may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A look at the server.
    Show(Show),
    /// So many workers more.
    AddWorkers(u32),
    /// So many workers fewer.
    RemoveWorkers(u32),
    /// Replace the worker with this process number.
    ReplaceWorker(u32),
    /// So many workers.
    Scale(Scale),
    /// Replace workers in their turn.
    Recycle(Whom),
    /// End workers at once, and start others.
    Restart(Whom),
    /// Hold requests back for so long at most.
    Pause(Duration),
    /// Serve them again.
    Resume,
    /// Answer requests in the front, or no longer.
    Maintenance(Maintenance),
    /// Gunicorn's dirty workers, which do not exist here.
    Dirty,
    /// A new generation.
    Reload,
    /// A new generation; the answer comes when the reload is over.
    ReloadAndWait,
    /// A new server takes this one's place.
    Upgrade,
    /// Open the log files again.
    Reopen,
    /// Record requests, and send them on this connection.
    Record(Order),
    /// A message through each sink of alerts; the answer comes when all have been tried.
    TestAlerts,
    /// The end.
    ShutDown(Stop),
    /// A look into workers; it is answered later.
    Inside(Inside),
    /// The list of commands.
    Help,
}

impl Command {
    /// Whether it does something to the server, so that the log says who wanted it.
    #[must_use]
    pub fn changes(&self) -> bool {
        match self {
            Self::Inside(inside) => inside.change().is_some(),
            Self::Show(_) | Self::Dirty | Self::Help => false,
            Self::AddWorkers(_)
            | Self::RemoveWorkers(_)
            | Self::ReplaceWorker(_)
            | Self::Scale(_)
            | Self::Recycle(_)
            | Self::Restart(_)
            | Self::Pause(_)
            | Self::Resume
            | Self::Maintenance(_)
            | Self::Reload
            | Self::ReloadAndWait
            | Self::Upgrade
            | Self::Reopen
            | Self::Record(_)
            | Self::TestAlerts
            | Self::ShutDown(_) => true,
        }
    }
}

/// What to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the words of the commands")]
pub enum Show {
    All,
    Workers,
    Dirty,
    Config,
    Stats,
    Listeners,
    Health,
    Memory,
    Look,
    Log(u64),
    Events(u64),
    Alerts,
}

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Requests are finished first.
    Graceful,
    /// At once.
    Quick,
}

impl Command {
    /// Understands the words of a request.
    ///
    /// # Errors
    /// When they are no command: what is wrong and what would be right.
    pub fn parse(all: &[String]) -> Result<Self, String> {
        if let Some(inside) = inside::parse(all) {
            return inside.map(Self::Inside);
        }
        let lower: Vec<String> = all.iter().map(|word| word.to_lowercase()).collect();
        let words: Vec<&str> = lower.iter().map(String::as_str).collect();
        match words.as_slice() {
            [] => Err("Empty command".to_owned()),
            ["show", rest @ ..] => show(rest).map(Self::Show),
            ["scale", rest @ ..] => Scale::parse(rest).map(Self::Scale),
            ["recycle"] => Ok(Self::Recycle(Whom::All)),
            ["recycle", rest @ ..] => Whom::parse("recycle", rest).map(Self::Recycle),
            ["restart", rest @ ..] => Whom::parse("restart", rest).map(Self::Restart),
            ["pause", rest @ ..] => pause(rest).map(Self::Pause),
            ["resume"] => Ok(Self::Resume),
            // Paths have a case of their own.
            ["maintenance", ..] => Maintenance::parse(&all[1..]).map(Self::Maintenance),
            ["worker", "add", rest @ ..] => count(rest).map(Self::AddWorkers),
            ["worker", "remove", rest @ ..] => count(rest).map(Self::RemoveWorkers),
            ["worker", "kill", rest @ ..] => pid(rest).map(Self::ReplaceWorker),
            ["worker", ..] => Err("Invalid argument: say worker add, remove or kill".to_owned()),
            ["dirty", "add" | "remove", rest @ ..] => count(rest).map(|_| Self::Dirty),
            ["dirty", ..] => Err("Invalid argument: say dirty add or remove".to_owned()),
            ["reload"] => Ok(Self::Reload),
            ["reload", "wait"] => Ok(Self::ReloadAndWait),
            ["health"] => Ok(Self::Show(Show::Health)),
            ["upgrade"] => Ok(Self::Upgrade),
            ["alerts", "test"] => Ok(Self::TestAlerts),
            ["alerts", ..] => Err("Invalid argument: say alerts test, or show alerts".to_owned()),
            ["reopen"] => Ok(Self::Reopen),
            ["record", rest @ ..] => Order::parse(rest).map(Self::Record),
            ["shutdown", rest @ ..] => stop(rest).map(Self::ShutDown),
            ["help"] => Ok(Self::Help),
            ["health" | "upgrade" | "reopen" | "resume" | "help", ..] => {
                Err(format!("Invalid argument: {} takes none", words[0]))
            }
            ["reload", ..] => Err("Invalid argument: reload takes none, or wait".to_owned()),
            [first, ..] => Err(format!(
                "Invalid argument: Unknown command: {}; help lists the commands",
                shown(first)
            )),
        }
    }
}

fn show(rest: &[&str]) -> Result<Show, String> {
    match rest {
        ["all"] => Ok(Show::All),
        ["workers"] => Ok(Show::Workers),
        ["dirty"] => Ok(Show::Dirty),
        ["config"] => Ok(Show::Config),
        ["stats"] => Ok(Show::Stats),
        ["listeners"] => Ok(Show::Listeners),
        ["memory"] => Ok(Show::Memory),
        ["look"] => Ok(Show::Look),
        ["alerts"] => Ok(Show::Alerts),
        ["log", rest @ ..] => since(rest).map(Show::Log),
        ["events", rest @ ..] => since(rest).map(Show::Events),
        _ => Err("Invalid argument: show one of all, workers, dirty, config, stats, listeners, memory, look, alerts, log, events"
            .to_owned()),
    }
}

/// The number of the first entry wanted; without one, all that are kept.
fn since(rest: &[&str]) -> Result<u64, String> {
    match rest {
        [] => Ok(0),
        [number] => number
            .parse()
            .map_err(|_| format!("Invalid argument: '{}' is no number of an entry", shown(number))),
        _ => Err("Invalid argument: say one number of an entry".to_owned()),
    }
}

/// For how long requests are held at most.
fn pause(rest: &[&str]) -> Result<Duration, String> {
    let most = HOLD_MAX.as_secs();
    let seconds = match rest {
        [] => return Ok(HOLD_DEFAULT),
        [seconds] | ["max", seconds] => seconds.strip_suffix('s').unwrap_or(seconds),
        _ => return Err("Invalid argument: pause takes one number of seconds".to_owned()),
    };
    seconds
        .parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0 && *seconds <= HOLD_MAX.as_secs_f64())
        .map(Duration::from_secs_f64)
        .ok_or_else(|| {
            format!(
                "Invalid argument: a pause lasts more than 0 and at most {most} seconds, not '{}'",
                shown(seconds)
            )
        })
}

/// A number of workers that a server may have; whether it may have so many more is told by [`more_workers`].
fn count(rest: &[&str]) -> Result<u32, String> {
    match rest {
        [] => Ok(1),
        [number] => match number.parse::<i64>() {
            Ok(number) if number < 1 => Err(format!(
                "Invalid argument: the number of workers must be at least 1, not {number}"
            )),
            Ok(number) => u32::try_from(number)
                .ok()
                .filter(|number| *number <= WORKERS_MAX)
                .ok_or_else(|| format!("Invalid argument: {number} workers: {MOST}")),
            Err(_) => Err(format!(
                "Invalid argument: the number of workers must be a whole number of at least 1, not '{}'",
                shown(number)
            )),
        },
        _ => Err("Invalid argument: say one number of workers".to_owned()),
    }
}

/// So many workers in all, `more` of them new.
///
/// # Errors
/// When a server may not have so many: what would be allowed.
pub fn more_workers(wanted: u32, more: u32) -> Result<u32, String> {
    let total = wanted.saturating_add(more);
    if total <= WORKERS_MAX {
        return Ok(total);
    }
    let room = WORKERS_MAX.saturating_sub(wanted);
    Err(format!(
        "Invalid argument: {more} more would be {total} workers: {MOST}, so {room} can be added"
    ))
}

fn pid(rest: &[&str]) -> Result<u32, String> {
    match rest {
        [number] => number.parse().ok(),
        _ => None,
    }
    .ok_or_else(|| {
        "Invalid argument: worker kill needs the process number of a worker, from show workers"
            .to_owned()
    })
}

fn stop(rest: &[&str]) -> Result<Stop, String> {
    match rest {
        [] | ["graceful"] => Ok(Stop::Graceful),
        ["quick"] => Ok(Stop::Quick),
        _ => Err("Invalid argument: shutdown is graceful or quick".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Command::parse(&words)
    }

    #[test]
    fn every_command_of_the_help_is_understood() {
        for (command, _) in HELP {
            let line = command.replace("[N]", "2").replace("<PID>", "4711");
            let line = line.replace("[WHO]", "").replace("<WHO> <SECONDS> <HZ>", "all 1 100");
            let line = line.replace("<cpu|wall>", "cpu").replace("<start|stop|top>", "top");
            let line = line
                .replace("<N|+N|-N>", "+2")
                .replace("<WORKER|all>", "all")
                .replace("[WORKER|all]", "3");
            let line = line.replace("[SINCE]", "7").replace("[S]", "20").replace("<on|off>", "on");
            for line in
                [line.replace("[graceful|quick]", "quick"), line.replace("[graceful|quick]", "")]
            {
                assert!(parse(&line).is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn arguments_may_stand_in_the_command_or_in_the_list() {
        let in_command = Request::read(br#"{"id": 7, "command": "worker add 2"}"#).unwrap();
        let in_list = Request::read(br#"{"id": 7, "command": "worker add", "args": [2]}"#).unwrap();
        assert_eq!(in_command, in_list);
        assert_eq!(Command::parse(&in_list.words), Ok(Command::AddWorkers(2)));
        let words = Request::read(br#"{"command": "Worker KILL", "args": ["12"]}"#).unwrap();
        assert_eq!(words.id, 0);
        assert_eq!(Command::parse(&words.words), Ok(Command::ReplaceWorker(12)));
    }

    #[test]
    fn what_is_no_request_is_told_why() {
        for (message, why) in [
            (&b"nonsense"[..], "not JSON"),
            (b"[1]", "not a JSON object"),
            (b"{\"id\": 1}", "no text under \"command\""),
            (b"{\"command\": 3}", "no text under \"command\""),
            (b"{\"command\": \"show 'all\"}", "quote"),
            (b"{\"command\": \"help\", \"args\": \"x\"}", "not a list"),
            (b"\xff\xfe", "not JSON"),
        ] {
            let error = Request::read(message).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn a_wrong_command_is_answered_with_what_would_be_right() {
        for (line, why) in [
            ("", "Empty command"),
            ("show", "show one of"),
            ("show nothing", "show one of"),
            ("worker", "add, remove or kill"),
            ("worker add 0", "at least 1"),
            ("worker add -1", "at least 1"),
            ("worker add many", "a whole number of at least 1, not 'many'"),
            ("worker add 5000", "5000 workers: a server has 1024 at most"),
            ("worker remove 99999999999", "a server has 1024 at most"),
            ("worker add 1 2", "one number"),
            ("worker kill", "process number"),
            ("shutdown later", "graceful or quick"),
            ("reload now", "takes none, or wait"),
            ("help me", "takes none"),
            ("resume now", "takes none"),
            ("pause 0", "more than 0 and at most 600"),
            ("pause nan", "more than 0"),
            ("pause 601", "at most 600 seconds, not '601'"),
            ("pause 1 2", "one number"),
            ("show log x", "no number of an entry"),
            ("scale", "scale takes"),
            ("scale 0", "at least 1"),
            ("scale 4000", "1024 at most"),
            ("scale +0", "at least 1"),
            ("restart", "say which worker"),
            ("restart place:0", "'place:0' names no worker"),
            ("recycle me", "'me' names no worker"),
            ("maintenance", "on or off"),
            ("maintenance off page /x", "off takes nothing else"),
            ("maintenance on page", "page needs a path"),
            ("maintenance on page relative", "absolute"),
            ("maintenance on allow 10.0.0.1/8", "10.0.0.1/8"),
            ("maintenance on allow nobody", "nobody"),
            ("maintenance on now", "'now'"),
            ("\x1b[2Jfrobnicate", "\\u{1b}[2jfrobnicate; help lists"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn more_workers_than_a_server_may_have_are_refused_with_how_many_it_may() {
        assert!(MOST.contains(&WORKERS_MAX.to_string()));
        assert_eq!(more_workers(2, 3), Ok(5));
        assert_eq!(more_workers(1, WORKERS_MAX - 1), Ok(WORKERS_MAX));
        let error = more_workers(1000, 70).unwrap_err();
        assert!(error.contains("1070 workers") && error.contains("so 24 can be added"), "{error}");
    }
}
