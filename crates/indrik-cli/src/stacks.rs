//! `indrik stacks`: what every thread, task and greenlet of workers does just now.

use std::fmt::Write as _;

use clap::{Arg, Command};
use serde_json::Value as Json;

use crate::ctl;
use crate::failure::Failure;
use crate::look::{as_json, ask, clean, common, is_help, is_json, name, of, request, workers};

const WHO: &str = "who";
const HELP: &str = "\
Show what the workers of a running server do just now: every thread, and where tasks and greenlets wait.

Usage: indrik stacks [-s SOCKET | -p PID] [-j] [WORKER]

  WORKER               its process number, or its number (AGE in indrik ctl workers); all without it
  -b, --bind ADDRESS   the server that listens there; also --chdir DIR, --app NAME
  -s, --socket SOCKET  the server's control socket: a path, or @NAME for an abstract one
  -p, --pid PID        the number of the server's master process, or its pid file
  -j, --json           print it as JSON

Exit code 1: it could not be done; 2: wrong usage; 3: no server.
";

/// Does what the words after `stacks` say; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let command = Command::new("indrik stacks").args(common()).arg(Arg::new(WHO));
    let matches = ctl::parse(command, args, "indrik stacks --help shows how it is used")?;
    if is_help(&matches) {
        return Ok(HELP.to_owned());
    }
    let who = workers(matches.get_one::<String>(WHO))?;
    let answer = ask(&ctl::target(&matches), &["stacks", who])?;
    Ok(if is_json(&matches) { as_json(&answer) } else { text(&answer) })
}

fn text(answer: &Json) -> String {
    let mut text = String::new();
    for worker in of(answer) {
        let _ = writeln!(text, "{}", name(worker));
        if let Some(why) = worker["why"].as_str() {
            let _ = writeln!(text, "  {}", clean(why));
        }
        native(&mut text, worker);
        for thread in list(&worker["stacks"]["threads"]) {
            let name = clean(thread["name"].as_str().unwrap_or("?"));
            let ident = thread["ident"].as_u64().unwrap_or(0);
            let request = request(&thread["request"]);
            let runs = request.map_or_else(String::new, |request| format!(", runs {request}"));
            let _ = writeln!(text, "  thread {name} ({ident:#x}){runs}");
            frames(&mut text, thread);
        }
        waiting(&mut text, &worker["stacks"]["tasks"], ("task", "tasks"));
        waiting(&mut text, &worker["stacks"]["greenlets"], ("greenlet", "greenlets"));
    }
    text
}

/// What a handler of signals has written, and the requests, where nothing else can be had.
fn native(text: &mut String, worker: &Json) {
    let Some(native) = worker["native"].as_str() else { return };
    for request in list(&worker["requests"]).iter().filter_map(request) {
        let _ = writeln!(text, "  has {request}");
    }
    for line in native.lines() {
        let _ = writeln!(text, "  {}", clean(line));
    }
}

fn waiting(text: &mut String, groups: &Json, (one, many): (&str, &str)) {
    for group in list(groups) {
        let count = group["count"].as_u64().unwrap_or(0);
        let what = if count == 1 { one } else { many };
        let names: Vec<String> =
            list(&group["names"]).iter().filter_map(Json::as_str).map(clean).collect();
        let dots = if count > names.len() as u64 { ", …" } else { "" };
        let _ = writeln!(text, "  {count} {what} ({}{dots})", names.join(", "));
        for request in list(&group["requests"]).iter().filter_map(request) {
            let _ = writeln!(text, "    for {request}");
        }
        frames(text, group);
    }
}

fn frames(text: &mut String, of: &Json) {
    for frame in list(&of["frames"]).iter().filter_map(Json::as_str) {
        let _ = writeln!(text, "      {}", clean(frame));
    }
}

fn list(json: &Json) -> &[Json] {
    json.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn threads_and_what_waits_are_shown_with_their_requests() {
        let request = json!({"method": "GET", "target": "/slow", "route": "/slow", "age_s": 2.5});
        let stacks = json!({
            "threads": [{"name": "MainThread", "ident": 255, "frames": ["a.py:7 work"], "request": request}],
            "tasks": [{"count": 9, "frames": ["b.py:1 wait"], "names": ["request-1"], "requests": [request]}],
            "greenlets": [],
        });
        let worker = json!({"worker": 3, "pid": 7, "generation": 1, "why": null, "stacks": stacks});
        assert_eq!(
            text(&json!({"workers": [worker]})),
            "worker 3 (pid 7, generation 1)\n  \
             thread MainThread (0xff), runs GET /slow (route /slow) for 2.5 s\n      a.py:7 work\n  \
             9 tasks (request-1, …)\n    for GET /slow (route /slow) for 2.5 s\n      b.py:1 wait\n"
        );
    }

    #[test]
    fn a_worker_that_is_stuck_in_c_is_shown_as_its_handler_wrote_it() {
        let worker = json!({"worker": 3, "pid": 7, "generation": 1, "why": "it does not come back",
            "native": "Thread 0x1:\n  File \"a.py\"", "requests": []});
        assert_eq!(
            text(&json!({"workers": [worker]})),
            "worker 3 (pid 7, generation 1)\n  it does not come back\n  Thread 0x1:\n    File \"a.py\"\n"
        );
    }
}
