//! `indrik top`: a running server on the whole screen, looked at once a second.

mod paint;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, Read as _};
use std::time::{Duration, Instant};

use indrik_core::diagnose::Sight;
use indrik_server::control::client::Connection;
use indrik_sys::signal::Signal;
use indrik_sys::signals::SignalStream;
use indrik_sys::terminal::{Raw, is_terminal, size};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value as Json, json};

use crate::events::{Of, Reader};
use crate::failure::Failure;
use crate::output::{pretty, print};
use crate::seen::{Told, findings, name, sight};
use crate::server::{Asked, OPTIONS, failed, switch};
use crate::status::{InFlight, Sort, as_text, in_flight, look, request_line, sort};
use crate::{reload, steer};
use paint::{Mode, Style, View, frame};

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Looks that are kept for the diagnosis.
const LOOKS_MAX: usize = 60;
/// Events and routes that are kept.
const EVENTS_MAX: usize = 200;
const ROUTES_MAX: usize = 500;
/// What is left of a route's time after a second.
const ROUTE_FADES: f64 = 0.97;
/// A line of that length has all of a request, to be filtered by.
const FILTER_COLUMNS: usize = 400;
/// Characters of a command or filter.
const INPUT_MAX: usize = 200;
/// The screen where the terminal does not say.
const SIZE_DEFAULT: (usize, usize) = (80, 24);
const ONCE: &str = "once";

const HELP: &str = "\
Show a running server on the whole screen, once a second: what is wrong, its vitals, a glyph for each slot of its
workers, the requests in flight, the routes by time, and what happened. ? shows the keys, : takes the commands.

Usage: indrik top [--once] [OPTIONS]

      --once           print one look as plain text; also if the output is no terminal
";

/// Does what the words after `top` say.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let asked = Asked::parse("top", [switch(ONCE)], args)?;
    if asked.help {
        return Ok(format!("{HELP}\n{OPTIONS}"));
    }
    let mut top = Top::new(asked.connect()?);
    top.take_look()?;
    if asked.json
        || asked.matches.get_flag(ONCE)
        || !is_terminal(io::stdout())
        || !is_terminal(io::stdin())
    {
        std::thread::sleep(PAUSE);
        top.take_look()?;
        return Ok(if asked.json { pretty(&top.json()) } else { top.text() });
    }
    top.show(&asked)
}

/// What is known and what is shown.
struct Top {
    connection: Option<Connection>,
    look: Json,
    sights: Vec<Sight>,
    routes: BTreeMap<String, f64>,
    reader: Reader,
    events: Vec<String>,
    seen: Instant,
    sort: Sort,
    filter: String,
    mode: Mode,
    said: String,
}

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Leave,
    Suspend,
}

impl Top {
    fn new(connection: Connection) -> Self {
        Self {
            connection: Some(connection),
            look: Json::Null,
            sights: Vec::new(),
            routes: BTreeMap::new(),
            reader: Reader::of(Of::Events),
            events: Vec::new(),
            seen: Instant::now(),
            sort: Sort::Age,
            filter: String::new(),
            mode: Mode::Normal,
            said: String::new(),
        }
    }

    /// Asks the server for everything.
    fn take_look(&mut self) -> Result<(), Failure> {
        let Some(mut connection) = self.connection.take() else { return Ok(()) };
        let taken = look(&mut connection)?;
        let events = self.reader.read(&mut connection)?;
        if taken["pid"] != self.look["pid"] {
            self.sights.clear();
        }
        self.connection = Some(connection);
        self.sights.push(sight(&taken));
        if self.sights.len() > LOOKS_MAX {
            self.sights.remove(0);
        }
        self.note_routes(&taken);
        // A worker's requests below its end are for `indrik events`.
        let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
        self.events.extend(events.iter().map(|entry| first(Of::Events.text(entry))));
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
        self.look = taken;
        self.seen = Instant::now();
        Ok(())
    }

    /// The routes by time, as the server has counted it; else requests that run when somebody looks make their route
    /// heavier.
    fn note_routes(&mut self, look: &Json) {
        // What is counted is exact, what is seen now and then is not: an older server says only that.
        if let Some(counted) = look["lately"]["routes"].as_array() {
            let share = |route: &Json| {
                let name = route["route"].as_str()?.to_owned();
                let name = if name.is_empty() { "(none)".to_owned() } else { name };
                Some((name, route["share"].as_f64()?))
            };
            self.routes = counted.iter().filter_map(share).take(ROUTES_MAX).collect();
            return;
        }
        self.routes.values_mut().for_each(|time| *time *= ROUTE_FADES);
        self.routes.retain(|_, time| *time > 0.01);
        for (_, request) in in_flight(look) {
            let name = name(&request);
            if self.routes.len() < ROUTES_MAX || self.routes.contains_key(&name) {
                *self.routes.entry(name).or_default() += PAUSE.as_secs_f64();
            }
        }
    }

    fn show(&mut self, asked: &Asked) -> Result<String, Failure> {
        let trouble = |error: io::Error| {
            failed(1, format!("cannot use the terminal: {error}"), "try indrik top --once")
        };
        let signals = SignalStream::open(&[
            Signal::TERM,
            Signal::HUP,
            Signal::INT,
            Signal::QUIT,
            Signal::TSTP,
        ])
        .map_err(trouble)?;
        let mut screen = Some(Raw::enter().map_err(trouble)?);
        let mut due = Instant::now() + PAUSE;
        loop {
            self.paint();
            let next = match self.wait(&signals, due).map_err(trouble)? {
                Some(next) => next,
                None => {
                    due = Instant::now() + PAUSE;
                    self.look_again(asked);
                    Next::GoOn
                }
            };
            match next {
                Next::GoOn => {}
                Next::Leave => {
                    drop(screen);
                    return Ok(String::new());
                }
                Next::Suspend => {
                    drop(screen.take());
                    let _ = rustix::process::kill_process(
                        rustix::process::getpid(),
                        rustix::process::Signal::STOP,
                    );
                    // Somebody has brought it back.
                    screen = Some(Raw::enter().map_err(trouble)?);
                }
            }
        }
    }

    /// A server that has ended is looked for again: another one may have taken its place.
    fn look_again(&mut self, asked: &Asked) {
        if self.connection.is_none() {
            self.connection = Connection::open(&asked.target).ok();
        }
        if self.take_look().is_err() {
            self.connection = None;
        }
    }

    /// Waits for a key or a signal; `None`: it is time to look.
    fn wait(&mut self, signals: &SignalStream, due: Instant) -> io::Result<Option<Next>> {
        let left = due.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        let stdin = io::stdin();
        let mut fds = [PollFd::new(&stdin, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) => return Ok(None),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(Some(Next::GoOn)),
            Err(error) => return Err(error.into()),
        }
        let [keys, signalled] = fds.map(|fd| !fd.revents().is_empty());
        if signalled {
            let stops = signals.next()? == Some(Signal::TSTP);
            return Ok(Some(if stops { Next::Suspend } else { Next::Leave }));
        }
        if !keys {
            return Ok(Some(Next::GoOn));
        }
        let mut bytes = [0; 64];
        let count = stdin.lock().read(&mut bytes)?;
        // The terminal has gone.
        if count == 0 {
            return Ok(Some(Next::Leave));
        }
        Ok(Some(self.keys(&bytes[..count])))
    }

    fn keys(&mut self, bytes: &[u8]) -> Next {
        // A key that sends more than itself (an arrow) begins with Esc.
        if bytes.len() > 1 && bytes[0] == 0x1b {
            return Next::GoOn;
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        for key in text.chars() {
            match self.key(key) {
                Next::GoOn => {}
                other => return other,
            }
        }
        Next::GoOn
    }

    fn key(&mut self, key: char) -> Next {
        match key {
            '\u{3}' => return Next::Leave,
            '\u{1a}' => return Next::Suspend,
            '\u{1b}' => self.mode = Mode::Normal,
            _ => match std::mem::replace(&mut self.mode, Mode::Normal) {
                Mode::Normal => return self.plain_key(key),
                Mode::Help if key == 'q' => return Next::Leave,
                Mode::Help => {}
                Mode::Command(text) => match typed(text, key) {
                    Typed::More(text) => self.mode = Mode::Command(text),
                    Typed::Done(text) => self.command(&text),
                },
                Mode::Filter(text) => match typed(text, key) {
                    Typed::More(text) => self.mode = Mode::Filter(text),
                    Typed::Done(text) => self.filter = text,
                },
            },
        }
        Next::GoOn
    }

    fn plain_key(&mut self, key: char) -> Next {
        self.said.clear();
        match key {
            'q' => return Next::Leave,
            '?' | 'h' => self.mode = Mode::Help,
            ':' => self.mode = Mode::Command(String::new()),
            '/' => self.mode = Mode::Filter(String::new()),
            'a' => self.sort = Sort::Age,
            'r' => self.sort = Sort::Route,
            'w' => self.sort = Sort::Worker,
            _ => {}
        }
        Next::GoOn
    }

    /// Does what the shell's command of these words does, to the server that is shown.
    fn command(&mut self, line: &str) {
        let mut words = line.split_whitespace().map(str::to_owned);
        let Some(word) = words.next() else { return };
        let pid = self.look["pid"].to_string();
        // Nobody waits here: the screen shows what becomes of it.
        let words = words.filter(|word| word != "--wait").chain(["--pid".to_owned(), pid]);
        let done = match (word.as_str(), steer::command(&word)) {
            (_, Some(command)) => steer::run(command, words),
            ("reload", None) => reload::run(words.chain(["--no-wait".to_owned()])),
            ("q" | "quit", None) => return,
            (other, None) => {
                Err(failed(2, format!("there is no command {other}; ? lists them"), ""))
            }
        };
        self.said = match done {
            Ok(text) => text.lines().next().unwrap_or("done").to_owned(),
            Err(failure) => {
                failure.problems.first().map_or_else(String::new, |problem| problem.what.clone())
            }
        };
    }

    /// The requests that are shown, in their order.
    fn requests(&self) -> Vec<InFlight> {
        let mut all = in_flight(&self.look);
        let has = |(place, request): &InFlight| {
            request_line(*place, request, FILTER_COLUMNS).contains(&self.filter)
        };
        all.retain(|request| self.filter.is_empty() || has(request));
        sort(&mut all, self.sort);
        all
    }

    fn paint(&self) {
        let (columns, rows) = size(io::stdout()).unwrap_or(SIZE_DEFAULT);
        let mut routes: Vec<(String, f64)> = self.routes.clone().into_iter().collect();
        routes.sort_by(|one, other| other.1.total_cmp(&one.1));
        let gone = self.connection.is_none().then(|| self.seen.elapsed().as_secs_f64());
        let view = View {
            look: &self.look,
            sights: &self.sights,
            found: &findings(&self.look, &self.sights),
            requests: &self.requests(),
            routes: &routes,
            events: &self.events,
            sort: self.sort,
            filter: &self.filter,
            mode: &self.mode,
            said: &self.said,
            gone_s: gone,
        };
        print(&drawn(&frame(&view, columns, rows), std::env::var_os("NO_COLOR").is_none()));
    }

    fn text(&self) -> String {
        as_text(&self.look, &self.sights, &findings(&self.look, &self.sights))
    }

    fn json(&self) -> Json {
        let found = findings(&self.look, &self.sights);
        json!({"findings": found.iter().map(Told::json).collect::<Vec<_>>(), "look": self.look})
    }
}

/// What is being written, after one more key.
enum Typed {
    More(String),
    Done(String),
}

fn typed(mut text: String, key: char) -> Typed {
    match key {
        '\r' | '\n' => return Typed::Done(text),
        '\u{7f}' | '\u{8}' => drop(text.pop()),
        '\u{15}' => text.clear(),
        _ if key.is_control() => {}
        _ if text.chars().count() < INPUT_MAX => text.push(key),
        _ => {}
    }
    Typed::More(text)
}

/// The lines as the terminal takes them: each from its beginning, what was behind it wiped out.
fn drawn(lines: &[(Style, String)], has_colour: bool) -> String {
    let mut out = String::new();
    for (row, (style, text)) in lines.iter().enumerate() {
        let _ = write!(out, "\x1b[{};1H", row + 1);
        out.push_str(match (style, has_colour) {
            (Style::Title, _) => "\x1b[7m",
            (Style::Heading, _) => "\x1b[1m",
            (Style::Bad, true) => "\x1b[1;31m",
            (Style::Bad, false) => "\x1b[1m",
            (Style::Good, true) => "\x1b[32m",
            (Style::Plain, _) | (Style::Good, false) => "",
        });
        out.push_str(text);
        out.push_str("\x1b[0m\x1b[K");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_can_be_mended_and_ends_with_enter() {
        let mut text = String::new();
        for key in "scalx\u{7f}e +1\u{1}".chars() {
            match typed(text, key) {
                Typed::More(more) => text = more,
                Typed::Done(_) => panic!("too soon"),
            }
        }
        assert!(matches!(typed(text, '\r'), Typed::Done(text) if text == "scale +1"));
    }

    #[test]
    fn without_colour_only_brightness_tells_what_is_wrong() {
        let lines = [(Style::Bad, "! it".to_owned()), (Style::Good, "well".to_owned())];
        assert!(drawn(&lines, true).contains("\x1b[1;31m! it"));
        let plain = drawn(&lines, false);
        assert!(
            plain.contains("\x1b[1m! it") && !plain.contains("31m") && !plain.contains("32m"),
            "{plain}"
        );
    }
}
