//! `indrik events`: what has happened to a server, and what happens: deploys, scalings, recyclings, crashes, orders.

use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::Arg;
use indrik_core::display;
use indrik_server::control::client::Connection;
use serde_json::Value as Json;

use crate::failure::Failure;
use crate::output::print;
use crate::seen::whole;
use crate::server::{Asked, NO_SERVER, OPTIONS, failed, failure, switch};

const FOLLOW: &str = "follow";
const LINES: &str = "lines";
/// How often is asked for what is new.
const PAUSE: Duration = Duration::from_millis(250);
/// How long a server that is followed may be away: it is started anew, or another one takes its place.
const AWAY_MAX: Duration = Duration::from_secs(10);
/// Entries shown where nothing is said.
const LINES_SHOWN: usize = 20;

const LOGS_HELP: &str = "\
Show the last lines of a running server's error log, wherever that lies, as far as the server remembers them (1,000
entries, 1 MiB). Lines that workers write to a file themselves are not among them.

Usage: indrik logs [-f] [-n LINES] [OPTIONS]
";

const EVENTS_HELP: &str = "\
Show what has happened to a running server: deploys, scalings, recyclings, crashes, and what operators have done.

Usage: indrik events [-f] [-n LINES] [OPTIONS]
";

const FOLLOW_HELP: &str = "
  -f, --follow         go on with what comes, also beyond a restart or an upgrade of the server; exit code 3 when
                       there is none for 10 s
  -n, --lines N        so many of the last ones (default 20)
";

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Logs,
    Events,
}

impl Of {
    const fn command(self) -> &'static str {
        match self {
            Self::Logs => "logs",
            Self::Events => "events",
        }
    }

    /// What the control socket calls it.
    const fn show(self) -> &'static str {
        match self {
            Self::Logs => "show log",
            Self::Events => "show events",
        }
    }

    const fn help(self) -> &'static str {
        match self {
            Self::Logs => LOGS_HELP,
            Self::Events => EVENTS_HELP,
        }
    }

    /// An entry for people.
    pub(crate) fn text(self, entry: &Json) -> String {
        match self {
            Self::Logs => log_text(entry),
            Self::Events => event_text(entry),
        }
    }
}

/// Does what the words after `logs` or `events` say.
pub(crate) fn run(of: Of, args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let own = [
        switch(FOLLOW).short('f'),
        Arg::new(LINES).short('n').long(LINES).value_parser(clap::value_parser!(u16)),
    ];
    let asked = Asked::parse(of.command(), own, args)?;
    if asked.help {
        return Ok(format!("{}{FOLLOW_HELP}\n{OPTIONS}", of.help()));
    }
    let lines =
        asked.matches.get_one::<u16>(LINES).map_or(LINES_SHOWN, |lines| usize::from(*lines));
    let mut connection = asked.connect()?;
    let mut reader = Reader::of(of);
    let first = reader.read(&mut connection)?;
    show(of, &first[first.len().saturating_sub(lines)..], asked.json);
    if asked.matches.get_flag(FOLLOW) {
        return Err(follow(&asked, connection, reader));
    }
    Ok(String::new())
}

/// What has been read so far, and of which server.
pub(crate) struct Reader {
    of: Of,
    pid: u64,
    next: u64,
}

impl Reader {
    pub(crate) const fn of(of: Of) -> Self {
        Self { of, pid: 0, next: 0 }
    }

    /// What is new; of another server than before, everything.
    pub(crate) fn read(&mut self, connection: &mut Connection) -> Result<Vec<Json>, Failure> {
        let show = self.of.show();
        let mut answer = connection.call(&format!("{show} {}", self.next)).map_err(failure)?;
        let pid = whole(&answer["pid"]);
        if pid != self.pid && self.next != 0 {
            answer = connection.call(show).map_err(failure)?;
        }
        self.pid = pid;
        self.next = whole(&answer["next"]);
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
                show(reader.of, &entries, asked.json);
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

fn show(of: Of, entries: &[Json], as_json: bool) {
    let line = |entry: &Json| if as_json { format!("{entry}\n") } else { of.text(entry) };
    print(&entries.iter().map(line).collect::<String>());
}

/// As the log has it.
fn log_text(entry: &Json) -> String {
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

/// The time of day (UTC), what kind of thing, and what happened.
fn event_text(entry: &Json) -> String {
    const DAY_S: u64 = 86_400;
    let text = |name: &str| display::safe(entry[name].as_str().unwrap_or_default());
    let second = whole(&entry["at_ms"]) / 1000 % DAY_S;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let mut lines =
        format!("{hour:02}:{minute:02}:{second:02} UTC  {:<13}  {}\n", text("kind"), text("text"));
    for request in entry["requests"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        lines.push_str(&format!("{:29}{}\n", "", display::safe(request)));
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
        assert_eq!(log_text(&entry), "[T] [7] [ERROR] it\\u{1b}[2J failed\nTraceback\n  x\n");
        let event = json!({"at_ms": 3_723_000, "kind": "scale", "text": "3 workers\u{202e}"});
        assert_eq!(event_text(&event), "01:02:03 UTC  scale          3 workers\\u{202e}\n");
        let crash =
            json!({"at_ms": 0, "kind": "crash", "text": "x", "requests": ["GET /a", "GET /b"]});
        let indent = " ".repeat(29);
        let wanted = format!("00:00:00 UTC  crash          x\n{indent}GET /a\n{indent}GET /b\n");
        assert_eq!(event_text(&crash), wanted);
    }

    #[test]
    fn wrong_numbers_of_lines_are_wrong_usage() {
        for of in [Of::Logs, Of::Events] {
            let args = ["-n".to_owned(), "many".to_owned()].into_iter();
            let Err(failure) = run(of, args) else { panic!("refused") };
            assert_eq!(failure.exit_code, 2);
        }
    }
}
