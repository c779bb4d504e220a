//! `indrik memory`: what the memory of workers is, what it grows with, and what it is made of.

use std::fmt::Write as _;

use clap::{Arg, Command};
use serde_json::Value as Json;

use crate::ctl;
use crate::failure::Failure;
use crate::look::{
    as_json, ask, clean, common, is_help, is_json, name, none_answered, of, usage, workers,
};

const WHO: &str = "who";
const TRACE: &str = "trace";
const MIB: f64 = 1_048_576.0;
const HELP: &str = "\
Show the memory of a running server's workers, what it grows with (which route), and what it is made of.

Usage: indrik memory [-s SOCKET | -p PID] [-j]
       indrik memory --trace start|top|stop [-s SOCKET | -p PID] [-j] [WORKER]

      --trace start    have Python's tracemalloc note what is allocated from now on; that slows the worker down
      --trace top      what has grown since then, by line and by traceback
      --trace stop     end that
  WORKER               its process number, or its number (AGE in indrik ctl workers); all without it
  -b, --bind ADDRESS   the server that listens there; also --chdir DIR, --app NAME
  -s, --socket SOCKET  the server's control socket: a path, or @NAME for an abstract one
  -p, --pid PID        the number of the server's master process, or its pid file
  -j, --json           print it as JSON

Exit code 1: it could not be done; 2: wrong usage; 3: no server.
";

/// Does what the words after `memory` say; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let trace = Arg::new(TRACE).long(TRACE);
    let command = Command::new("indrik memory").args(common()).arg(trace).arg(Arg::new(WHO));
    let matches = ctl::parse(command, args, "indrik memory --help shows how it is used")?;
    if is_help(&matches) {
        return Ok(HELP.to_owned());
    }
    let (target, who) = (ctl::target(&matches), matches.get_one::<String>(WHO));
    let Some(trace) = matches.get_one::<String>(TRACE) else {
        if who.is_some() {
            return Err(usage("one worker is named with --trace only".to_owned()));
        }
        let answer = ask(&target, &["show", "memory"])?;
        return Ok(if is_json(&matches) { as_json(&answer) } else { grown(&answer) });
    };
    if !["start", "stop", "top"].contains(&trace.as_str()) {
        return Err(usage(format!("--trace is start, top or stop, not {}", clean(trace))));
    }
    let answer = ask(&target, &["trace", trace, workers(who)?])?;
    match none_answered(&answer) {
        Some(failure) => Err(failure),
        None if is_json(&matches) => Ok(as_json(&answer)),
        None => Ok(traced(&answer)),
    }
}

/// What each worker has, and what that grows with.
fn grown(answer: &Json) -> String {
    let mut text = String::new();
    let processes = answer["processes"].as_array().into_iter().flatten();
    for process in processes.filter(|process| process["role"] == "worker") {
        let mib = |field: &str| process[field].as_f64().unwrap_or(0.0) / MIB;
        let number = |field: &str| process[field].as_u64().unwrap_or(0);
        let growth = &process["growth"];
        let _ = writeln!(
            text,
            "worker {} (pid {}, generation {}): {:.1} MiB resident, {:.1} MiB its share; grown by {:.1} MiB",
            number("age"),
            number("pid"),
            number("generation"),
            mib("rss"),
            mib("pss"),
            growth["grown_bytes"].as_f64().unwrap_or(0.0) / MIB,
        );
        for route in growth["routes"].as_array().into_iter().flatten() {
            let kept = route["bytes_per_request"].as_f64().unwrap_or(0.0);
            let requests = route["requests"].as_u64().unwrap_or(0);
            let _ = writeln!(
                text,
                "  grows with route {}: {:.0} KiB a request, {:.1} MiB in {requests} requests",
                clean(route["route"].as_str().unwrap_or("-")),
                kept / 1024.0,
                kept * requests as f64 / MIB,
            );
        }
        let per_second = growth["bytes_per_second"].as_f64().unwrap_or(0.0);
        if per_second > 0.0 {
            let _ = writeln!(
                text,
                "  grows with time, whatever is asked: {:.1} KiB a second",
                per_second / 1024.0
            );
        }
    }
    if text.is_empty() { "There is no worker just now.\n".to_owned() } else { text }
}

fn traced(answer: &Json) -> String {
    let mut text = String::new();
    for worker in of(answer) {
        let memory = &worker["memory"];
        let tells = match (worker["why"].as_str(), memory["tracing"].as_bool()) {
            (Some(why), _) => clean(why),
            (None, Some(true)) => "allocations are traced".to_owned(),
            (None, _) => "allocations are not traced".to_owned(),
        };
        let _ = writeln!(text, "{}: {tells}", name(worker));
        for (key, title) in [("lineno", "by line"), ("traceback", "by traceback")] {
            let places = memory[key].as_array().map_or(&[][..], Vec::as_slice);
            if !places.is_empty() {
                let _ = writeln!(text, "  grown {title}:");
            }
            for place in places {
                let kib = place["bytes"].as_f64().unwrap_or(0.0) / 1024.0;
                let blocks = place["blocks"].as_i64().unwrap_or(0);
                let mut frames =
                    place["frames"].as_array().into_iter().flatten().filter_map(Json::as_str);
                let first = frames.next().map(clean).unwrap_or_default();
                let _ = writeln!(text, "  {kib:10.1} KiB in {blocks} blocks  {first}");
                for frame in frames {
                    let _ = writeln!(text, "{:28}{}", "", clean(frame));
                }
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_leaking_route_is_named_with_what_it_keeps() {
        let route = json!({"route": "/leak", "bytes_per_request": 524_288, "requests": 100});
        let growth = json!({"grown_bytes": 52_428_800, "bytes_per_second": 0, "routes": [route]});
        let worker = json!({"role": "worker", "pid": 7, "age": 2, "generation": 1, "rss": 104_857_600,
            "pss": 94_371_840, "growth": growth});
        let zygote = json!({"role": "zygote", "pid": 6, "growth": null});
        assert_eq!(
            grown(&json!({"processes": [zygote, worker]})),
            "worker 2 (pid 7, generation 1): 100.0 MiB resident, 90.0 MiB its share; grown by 50.0 MiB\n  \
             grows with route /leak: 512 KiB a request, 50.0 MiB in 100 requests\n"
        );
    }

    #[test]
    fn what_has_grown_is_shown_with_its_traceback() {
        let place = json!({"bytes": 2_048, "blocks": 3, "frames": ["a.py:1", "b.py:2"]});
        let memory = json!({"tracing": true, "traceback": [place]});
        let worker = json!({"worker": 2, "pid": 7, "generation": 1, "why": null, "memory": memory});
        let text = traced(&json!({"workers": [worker]}));
        assert!(
            text.contains("generation 1): allocations are traced\n  grown by traceback:\n"),
            "{text}"
        );
        assert!(text.contains("2.0 KiB in 3 blocks  a.py:1\n"), "{text}");
        assert!(text.ends_with("  b.py:2\n"), "{text}");
    }
}
