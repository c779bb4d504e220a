//! `indrik record`: writes what clients ask of a running server into a file.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;

use clap::{Arg, ArgAction, ArgMatches, Command};
use indrik_core::record::{Order, Sample};
use indrik_core::settings::{Problem, read_duration, read_size};
use indrik_server::control::client::Connection;
use serde_json::Value as Json;

use crate::ctl;
use crate::failure::Failure;

const HELP: &str = "\
Record what clients ask of a running server and how it goes: arrivals, phases, routes, status and
bytes, a line of JSON for each request. Planners, simulators and load testers read it.

Usage: indrik record [-s SOCKET | -p PID] [options] -o FILE

  -o, --output FILE     a new file, readable by you only; - is standard output
      --sample PART     which part of all requests: 1%, 0.01 (default 100%)
      --for TIME        how long: 30s, 10m (default 60s, at most 24h)
      --max-bytes SIZE  it ends before the file is larger (default 256MiB)
      --requests        also targets and headers; values of queries, cookies, tokens, keys and
                        addresses of clients are left out
      --bodies          with --requests, and bodies that are forms or JSON, up to 64 KiB each; values whose
                        names say that they are secret are left out (record_redact names more of them)
  -b, --bind ADDRESS    the server that listens there; also --chdir DIR, --app NAME
  -s, --socket SOCKET   the server's control socket: a path, or @NAME for an abstract one
  -p, --pid PID         the number of its master process, or its pid file

Ctrl-C ends it in order. Without these the only server of this user is meant.
Exit code 0: the recording is whole, up to its trailer. 1: it is not, or there is none.
";

/// Does it; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let matches = ctl::parse(command(), args, "indrik record --help shows how it is used")?;
    if matches.get_flag("help") {
        return Ok(HELP.to_owned());
    }
    let order = order(&matches)?;
    let Some(path) = matches.get_one::<String>("output") else {
        return Err(usage("no file is named", "say where it goes: -o FILE"));
    };
    let mut connection = Connection::open(&ctl::target(&matches)).map_err(ctl::failure)?;
    // Only when there is a server does a file make sense.
    let mut output = open(path)?;
    connection.call(&format!("record {}", order.words())).map_err(ctl::failure)?;
    connection.be_patient().map_err(ctl::failure)?;
    let mut last = LastLine::default();
    connection
        .follow(|piece| {
            last.takes(piece);
            output.write_all(piece)
        })
        .map_err(ctl::failure)?;
    output.flush().map_err(|error| failed(&format!("cannot write {path}: {error}"), ""))?;
    let Some(trailer) = last.trailer() else {
        let hint = "what came before is in it; the server's log may say why it ended";
        return Err(failed(
            &format!("the server broke the recording off: {path} has no trailer"),
            hint,
        ));
    };
    Ok(if path == "-" { String::new() } else { summary(path, &trailer) })
}

fn command() -> Command {
    Command::new("indrik record")
        .args(ctl::target_arguments())
        .arg(Arg::new("output").short('o').long("output"))
        .arg(Arg::new("sample").long("sample"))
        .arg(Arg::new("for").long("for"))
        .arg(Arg::new("max-bytes").long("max-bytes"))
        .arg(Arg::new("requests").long("requests").action(ArgAction::SetTrue))
        .arg(Arg::new("bodies").long("bodies").action(ArgAction::SetTrue))
        .arg(Arg::new("help").short('h').long("help").action(ArgAction::SetTrue))
}

fn order(matches: &ArgMatches) -> Result<Order, Failure> {
    let given = |name: &str| matches.get_one::<String>(name).map(String::as_str);
    let bodies = matches.get_flag("bodies");
    let requests = bodies || matches.get_flag("requests");
    let mut order = Order { requests, bodies, ..Order::default() };
    if let Some(text) = given("sample") {
        order.sample = Sample::parse(text).map_err(|_| {
            usage(&format!("--sample {text}: it is no part of a whole"), "say it as 1% or 0.01")
        })?;
    }
    if let Some(text) = given("for") {
        let hint = "say it with a unit: 30s, 10m, 1h";
        order.span = read_duration(text)
            .ok_or_else(|| usage(&format!("--for {text}: it is no time"), hint))?;
    }
    if let Some(text) = given("max-bytes") {
        let hint = "say it with a unit: 100MiB, 1GiB";
        order.bytes_max = read_size(text)
            .ok_or_else(|| usage(&format!("--max-bytes {text}: it is no size"), hint))?;
    }
    // The server's own rules, told before anything is done.
    let words = order.words();
    let words: Vec<&str> = words.split(' ').collect();
    Order::parse(&words).map_err(|why| usage(why.trim_start_matches("Invalid argument: "), ""))
}

/// Nobody else is to read it, and nothing that is there is written over.
fn open(path: &str) -> Result<Box<dyn Write>, Failure> {
    if path == "-" {
        return Ok(Box::new(io::stdout().lock()));
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    file.map(|file| Box::new(file) as Box<dyn Write>).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => "name a new file, or remove the old one",
            _ => "name a file in a directory that you may write to",
        };
        failed(&format!("cannot make {path}: {error}"), hint)
    })
}

fn summary(path: &str, trailer: &Json) -> String {
    let number = |name| trailer.get(name).and_then(Json::as_u64).unwrap_or(0);
    let why = match trailer.get("end").and_then(Json::as_str) {
        Some("time") => "its time is over",
        Some("bytes") => "it is as large as it may be",
        Some("server") => "the server ends",
        _ => "you stopped it",
    };
    let lost = match number("lost") {
        0 => String::new(),
        lost => format!(", {lost} lost because they came faster than they could be written"),
    };
    format!(
        "{} of {} requests recorded in {path}{lost}; {why}\n",
        number("recorded"),
        number("seen")
    )
}

/// The last line of what was written.
#[derive(Default)]
struct LastLine(Vec<u8>);

impl LastLine {
    /// Pieces end with a line.
    fn takes(&mut self, piece: &[u8]) {
        let line = piece.strip_suffix(b"\n").unwrap_or(piece);
        let start = line.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        self.0 = line[start..].to_vec();
    }

    fn trailer(&self) -> Option<Json> {
        let json: Json = serde_json::from_slice(&self.0).ok()?;
        json.get("end").is_some().then_some(json)
    }
}

fn usage(what: &str, hint: &str) -> Failure {
    Failure::usage(problem(what, hint))
}

fn failed(what: &str, hint: &str) -> Failure {
    Failure::settings(vec![problem(what, hint)])
}

fn problem(what: &str, hint: &str) -> Problem {
    let hint = (!hint.is_empty()).then(|| hint.to_owned());
    Problem { what: what.to_owned(), place: None, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(args: &[&str]) -> Failure {
        let Err(failure) = run(args.iter().map(|arg| (*arg).to_owned())) else {
            panic!("{args:?} is refused")
        };
        failure
    }

    #[test]
    fn wrong_usage_is_told_before_anything_is_done() {
        for args in [
            &["--nope"][..],
            &["--sample", "0", "-o", "x"],
            &["--for", "2d", "-o", "x"],
            &["--max-bytes", "1", "-o", "x"],
            &["--for", "soon", "-o", "x"],
            &[],
        ] {
            assert_eq!(refused(args).exit_code, 2, "{args:?}");
        }
        assert!(run(["-h".to_owned()].into_iter()).is_ok_and(|text| text.contains("Usage")));
    }

    #[test]
    fn without_a_server_no_file_is_made() {
        let path = std::env::temp_dir().join(format!("recording-{}", std::process::id()));
        let failure = refused(&["-p", "4194305", "-o", path.to_str().unwrap()]);
        assert!(failure.problems[0].what.contains("4194305"));
        assert!(!path.exists());
    }

    #[test]
    fn the_trailer_is_the_last_line_of_the_last_piece() {
        let mut last = LastLine::default();
        last.takes(b"{\"at_us\":1}\n{\"at_us\":2}\n");
        assert!(last.trailer().is_none());
        last.takes(b"{\"at_us\":3}\n{\"end\":\"time\",\"seen\":9,\"recorded\":3,\"lost\":1}\n");
        let text = summary("file", &last.trailer().unwrap());
        assert_eq!(
            text,
            "3 of 9 requests recorded in file, 1 lost because they came faster than they could be written; \
             its time is over\n"
        );
    }
}
