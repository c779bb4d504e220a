//! `indrik profile`: where the time of workers goes.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Command};
use indrik_core::control::inside::{hertz, millis};
use indrik_core::profile::{Collapsed, speedscope};
use indrik_server::flames;
use serde_json::{Value as Json, json};

use crate::ctl;
use crate::failure::Failure;
use crate::look::{
    ask, clean, common, failed, is_help, is_json, name, none_answered, of, usage, workers,
};

/// Functions that are shown in words.
const TOP: usize = 15;
/// The largest profile that is read for a comparison.
const OLD_BYTES_MAX: u64 = 64 * 1024 * 1024;

const HELP: &str = "\
Profile the workers of a running server: where their time goes. No restart, no root, no ptrace.

Usage: indrik profile [-s SOCKET | -p PID] [-j] [OPTIONS] [-o FILE]

      --seconds N      how long, 0.1 to 600 (10)
      --worker W       one worker, by its process number or its number (AGE in indrik ctl workers)
      --all            all workers (the default)
      --route NAME     only while requests of this route run
      --rate HZ        looks a second, 1 to 1000 (100)
      --mode cpu|wall  the processor's time, or time on the wall, also of what waits (cpu)
      --format FORMAT  svg (a flame graph), speedscope (JSON) or collapsed (text); else from FILE's name
  -o, --output FILE    where to; without it and --format, the hottest functions are printed
      --diff OLD       a flame graph of what has changed since OLD, a collapsed profile
  -b, --bind ADDRESS   the server that listens there; also --chdir DIR, --app NAME
  -s, --socket SOCKET  the server's control socket: a path, or @NAME for an abstract one
  -p, --pid PID        the number of the server's master process, or its pid file
  -j, --json           print what the server answers

Exit code 1: it could not be done; 2: wrong usage; 3: no server.
";

/// What was asked for.
struct Asked {
    words: Vec<String>,
    format: Option<Format>,
    output: Option<Output>,
    old: Option<Collapsed>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Svg,
    Speedscope,
    Collapsed,
}

/// A file that can be written.
struct Output {
    path: PathBuf,
    file: File,
}

/// Does what the words after `profile` say; the text to print.
pub(crate) fn run(args: impl Iterator<Item = String>) -> Result<String, Failure> {
    let matches = ctl::parse(command(), args, "indrik profile --help shows how it is used")?;
    if is_help(&matches) {
        return Ok(HELP.to_owned());
    }
    let asked = asked(&matches)?;
    let words: Vec<&str> = asked.words.iter().map(String::as_str).collect();
    let answer = ask(&ctl::target(&matches), &words)?;
    if is_json(&matches) {
        return Ok(crate::look::as_json(&answer));
    }
    if let Some(failure) = none_answered(&answer) {
        return Err(failure);
    }
    let profile = merged(&answer)?;
    if profile.total() == 0 {
        return Err(nothing_seen(&answer));
    }
    let title = title(&answer, &words);
    give(asked, &profile, &title, &answer)
}

fn command() -> Command {
    let value = |name: &'static str| Arg::new(name).long(name);
    Command::new("indrik profile")
        .args(common())
        .arg(value("seconds"))
        .arg(value("worker").conflicts_with("all"))
        .arg(value("all").action(ArgAction::SetTrue))
        .arg(value("route"))
        .arg(value("rate"))
        .arg(value("mode"))
        .arg(value("format"))
        .arg(value("output").short('o'))
        .arg(value("diff"))
}

/// Everything that can be wrong is, before anything is asked of the server.
fn asked(matches: &ArgMatches) -> Result<Asked, Failure> {
    let text = |name: &str| matches.get_one::<String>(name);
    let word = |name: &str, default: &str| text(name).map_or(default, String::as_str).to_owned();
    let (seconds, rate, mode) = (word("seconds", "10"), word("rate", "100"), word("mode", "cpu"));
    millis(&seconds).map_err(usage)?;
    hertz(&rate).map_err(usage)?;
    if !["cpu", "wall"].contains(&mode.as_str()) {
        return Err(usage(format!("--mode is cpu or wall, not {}", clean(&mode))));
    }
    let who = workers(text("worker"))?.to_owned();
    let mut words = vec!["profile".to_owned(), who, seconds, rate, mode];
    words.extend(text("route").cloned());
    let path = text("output").map(PathBuf::from);
    let format = match (text("format"), &path) {
        (Some(name), _) => Some(Format::named(name)?),
        (None, Some(path)) => Some(Format::of_file(path)?),
        (None, None) => None,
    };
    let old = text("diff").map(|path| read_old(Path::new(path))).transpose()?;
    if old.is_some() && !(path.is_some() && format == Some(Format::Svg)) {
        return Err(usage("--diff makes a flame graph: say where to, with -o FILE.svg".to_owned()));
    }
    Ok(Asked { words, format, output: path.map(Output::open).transpose()?, old })
}

impl Format {
    fn named(name: &str) -> Result<Self, Failure> {
        match name {
            "svg" => Ok(Self::Svg),
            "speedscope" => Ok(Self::Speedscope),
            "collapsed" => Ok(Self::Collapsed),
            _ => {
                let what = format!("--format is svg, speedscope or collapsed, not {}", clean(name));
                Err(usage(what))
            }
        }
    }

    fn of_file(path: &Path) -> Result<Self, Failure> {
        match path.extension().and_then(|ending| ending.to_str()) {
            Some("svg") => Ok(Self::Svg),
            Some("json") => Ok(Self::Speedscope),
            Some("txt" | "collapsed" | "folded") => Ok(Self::Collapsed),
            _ => Err(usage(format!(
                "the name {} says no format (.svg, .json, .collapsed): say --format",
                path.display()
            ))),
        }
    }
}

impl Output {
    fn open(path: PathBuf) -> Result<Self, Failure> {
        // What stands there is replaced when there is something to put in its place.
        let opened = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        match opened {
            Ok(file) => Ok(Self { path, file }),
            Err(error) => {
                let what = format!("cannot write {}: {error}", path.display());
                Err(failed(what, "name another file with -o"))
            }
        }
    }

    fn write(mut self, bytes: &[u8]) -> Result<PathBuf, Failure> {
        let written = self
            .file
            .rewind()
            .and_then(|()| self.file.write_all(bytes))
            // Of a pipe there is no length to be set.
            .and_then(|()| self.file.set_len(bytes.len() as u64).or(Ok(())));
        match written {
            Ok(()) => Ok(self.path),
            Err(error) => Err(failed(format!("cannot write {}: {error}", self.path.display()), "")),
        }
    }
}

fn read_old(path: &Path) -> Result<Collapsed, Failure> {
    let wrong = |why: String| {
        let hint = "make one with indrik profile -o FILE.collapsed";
        failed(format!("cannot compare with {}: {why}", path.display()), hint)
    };
    let size = std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len();
    if size > OLD_BYTES_MAX {
        return Err(wrong(format!("it has more than {OLD_BYTES_MAX} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    Collapsed::parse(&text).map_err(wrong)
}

fn merged(answer: &Json) -> Result<Collapsed, Failure> {
    let mut all = Collapsed::default();
    for worker in of(answer) {
        let text = worker["collapsed"].as_str().unwrap_or_default();
        let profile = Collapsed::parse(text);
        all.merge(&profile.map_err(|why| failed(format!("{}: {why}", name(worker)), ""))?);
    }
    Ok(all)
}

/// Why there is nothing to show.
fn nothing_seen(answer: &Json) -> Failure {
    let routes = routes(answer);
    if routes.stacks().next().is_none() {
        let hint = "send requests meanwhile, or see what waits with --mode wall";
        return failed("the workers did nothing in this time".to_owned(), hint);
    }
    let seen: Vec<String> = routes.top(TOP).iter().map(|(route, _)| clean(route)).collect();
    let hint = format!("seen were (- is no route): {}", seen.join(", "));
    failed("nothing ran for this route".to_owned(), &hint)
}

/// Time by route, of all workers.
fn routes(answer: &Json) -> Collapsed {
    let mut routes = Collapsed::default();
    for (route, weight) in of(answer).iter().filter_map(|it| it["routes"].as_object()).flatten() {
        routes.add(&route.replace(';', "_"), weight.as_u64().unwrap_or(0));
    }
    routes
}

fn title(answer: &Json, words: &[&str]) -> String {
    let workers = of(answer).len();
    let what = if words.get(4) == Some(&"wall") { "time" } else { "CPU time" };
    let route =
        words.get(5).map_or_else(String::new, |route| format!(" of route {}", clean(route)));
    let many = if workers == 1 { "worker" } else { "workers" };
    format!("{what} of {workers} {many}{route}")
}

/// Writes or prints the profile as it was asked for.
fn give(asked: Asked, profile: &Collapsed, title: &str, answer: &Json) -> Result<String, Failure> {
    let Some(format) = asked.format else { return Ok(summary(profile, title, answer)) };
    let bytes = match (format, &asked.old) {
        (Format::Collapsed, _) => profile.text().into_bytes(),
        (Format::Speedscope, _) => json!(speedscope(profile, title)).to_string().into_bytes(),
        (Format::Svg, None) => flames::graph(profile, title).map_err(not_drawn)?,
        (Format::Svg, Some(old)) => flames::difference(old, profile, title).map_err(not_drawn)?,
    };
    match asked.output {
        None => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Some(output) => {
            let path = output.write(&bytes)?;
            Ok(format!("{}\nWritten to {}\n", summary(profile, title, answer), path.display()))
        }
    }
}

fn not_drawn(why: String) -> Failure {
    failed(why, "say --format collapsed")
}

/// The hottest functions, in words, and which workers have not answered.
fn summary(profile: &Collapsed, title: &str, answer: &Json) -> String {
    let total = profile.total().max(1) as f64;
    let mut text = format!("{title}: {:.2} s\n\n   OWN  FUNCTION\n", total / 1e6);
    for (function, weight) in profile.top(TOP) {
        let share = weight as f64 * 100.0 / total;
        let _ = writeln!(text, "{share:5.1}%  {}", clean(function));
    }
    let routes = routes(answer);
    if routes.stacks().count() > 1 {
        text.push_str("\n SHARE  ROUTE\n");
        let all = routes.total().max(1) as f64;
        for (route, weight) in routes.top(TOP) {
            let _ = writeln!(text, "{:5.1}%  {}", weight as f64 * 100.0 / all, clean(route));
        }
    }
    for worker in of(answer) {
        if let Some(why) = worker["why"].as_str() {
            let _ = writeln!(text, "\n{}: {}", name(worker), clean(why));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(line: &str) -> Failure {
        let words = line.split_whitespace().map(str::to_owned);
        let matches = ctl::parse(command(), words, "").unwrap_or_else(|_| panic!("{line}"));
        asked(&matches).err().unwrap_or_else(|| panic!("{line} is right"))
    }

    #[test]
    fn what_is_wrong_is_told_before_anything_is_asked() {
        for (line, code) in [
            ("--seconds 0", 2),
            ("--seconds x", 2),
            ("--rate 0", 2),
            ("--mode fast", 2),
            ("--worker me", 2),
            ("--format png", 2),
            ("-o profile.png", 2),
            ("-o /proc/none/here.svg", 1),
            ("--diff /none -o x.svg", 1),
        ] {
            assert_eq!(refused(line).exit_code, code, "{line}");
        }
    }

    #[test]
    fn the_hottest_functions_are_told_in_words() {
        let profile = Collapsed::parse("a;b 750000\na 250000\n").unwrap_or_default();
        let worker = json!({"worker": 2, "pid": 5, "generation": 1, "why": "it ended"});
        let text = summary(&profile, "CPU time of 1 worker", &json!({"workers": [worker]}));
        assert_eq!(
            text,
            "CPU time of 1 worker: 1.00 s\n\n   OWN  FUNCTION\n 75.0%  b\n 25.0%  a\n\n\
             worker 2 (pid 5, generation 1): it ended\n"
        );
    }
}
