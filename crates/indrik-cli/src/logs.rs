//! `indrik logs`: the last lines of a server's error log, wherever that lies, and those that come.

use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Arg;
use indrik_core::display;
use indrik_server::control::client::Connection;
use serde_json::Value as Json;

use crate::failure::Failure;
use crate::output::print;
use crate::server::{Asked, NO_SERVER, OPTIONS, failed, failure, switch};

const FOLLOW: &str = "follow";
const LINES: &str = "lines";
/// How often is asked for what is new.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a server that is followed may be away: it is started anew, or another one takes its place.
const AWAY_MAX: Duration = Duration::from_secs(10);
/// Lines shown where nothing is said.
const LINES_SHOWN: usize = 20;

const HELP: &str = "\
Show the last lines of a running server's error log, wherever that lies, as far as the server remembers them (1,000
entries, 1 MiB). Lines that workers write to a file themselves are not among them.

Usage: indrik logs [-f] [-n LINES] [OPTIONS]

  -f, --follow         go on with what comes, also beyond a restart or an upgrade of the server; exit code 3 when
                       there is none for 10 s
  -n, --lines N        so many of the last lines (default 20)
";

/// Does what the words after `logs` say.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let own = [
        switch(FOLLOW).short('f'),
        Arg::new(LINES).short('n').long(LINES).value_parser(clap::value_parser!(u16)),
    ];
    let asked = Asked::parse("logs", own, args)?;
    if asked.help {
        return Ok(format!("{HELP}\n{OPTIONS}"));
    }
    let lines =
        asked.matches.get_one::<u16>(LINES).map_or(LINES_SHOWN, |lines| usize::from(*lines));
    let mut connection = asked.connect()?;
    let mut reader = Reader::default();
    let first = reader.read(&mut connection)?;
    show(&first[first.len().saturating_sub(lines)..], asked.json);
    if asked.matches.get_flag(FOLLOW) {
        return Err(follow(&asked, connection, reader));
    }
    Ok(String::new())
}

/// What has been read so far.
#[derive(Default)]
struct Reader {
    /// Of this server.
    pid: u64,
    next: u64,
}

impl Reader {
    /// What is new; of another server than before, everything.
    fn read(&mut self, connection: &mut Connection) -> Result<Vec<Json>, Failure> {
        let mut answer = connection.call(&format!("show log {}", self.next)).map_err(failure)?;
        let pid = answer["pid"].as_u64().unwrap_or(0);
        if pid != self.pid && self.next != 0 {
            answer = connection.call("show log").map_err(failure)?;
        }
        self.pid = pid;
        self.next = answer["next"].as_u64().unwrap_or(0);
        Ok(answer["entries"].as_array().cloned().unwrap_or_default())
    }
}

/// Goes on until there is no server; why it ended.
fn follow(asked: &Asked, first: Connection, mut reader: Reader) -> Failure {
    let mut connection = Some(first);
    let mut seen = Instant::now();
    loop {
        sleep(PAUSE);
        let open = match connection.take() {
            Some(open) => Ok(open),
            None => asked.connect(),
        };
        match open.and_then(|mut open| reader.read(&mut open).map(|entries| (open, entries))) {
            Ok((open, entries)) => {
                show(&entries, asked.json);
                connection = Some(open);
                seen = Instant::now();
            }
            Err(why) if seen.elapsed() >= AWAY_MAX => {
                return match why.exit_code {
                    NO_SERVER => {
                        failed(NO_SERVER, "the server has ended", "start it, and follow it again")
                    }
                    _ => why,
                };
            }
            Err(_) => {}
        }
    }
}

fn show(entries: &[Json], as_json: bool) {
    let line = |entry: &Json| if as_json { format!("{entry}\n") } else { text(entry) };
    print(&entries.iter().map(line).collect::<String>());
}

/// As the log has it.
fn text(entry: &Json) -> String {
    let field = |name: &str| match &entry[name] {
        Json::String(text) => display::safe(text),
        Json::Null => String::new(),
        other => other.to_string(),
    };
    let mut lines = format!(
        "[{}] [{}] [{}] {}\n",
        field("time"),
        field("pid"),
        field("level"),
        field("message")
    );
    for line in entry["details"].as_str().unwrap_or_default().lines() {
        lines.push_str(&display::safe(line));
        lines.push('\n');
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_a_line_and_its_details_follow_without_what_moves_the_cursor() {
        let entry = json!({"time": "T", "pid": 7, "level": "ERROR", "message": "it\u{1b}[2J failed",
            "details": "Traceback\n  x"});
        assert_eq!(text(&entry), "[T] [7] [ERROR] it\\u{1b}[2J failed\nTraceback\n  x\n");
    }

    #[test]
    fn wrong_numbers_of_lines_are_wrong_usage() {
        let Err(failure) = run(["-n".to_owned(), "many".to_owned()].into_iter()) else {
            panic!("refused")
        };
        assert_eq!(failure.exit_code, 2);
    }
}
