//! One frame of `indrik top`, line by line: no clock, no terminal, no server.

use indrik_core::diagnose::Sight;
use indrik_core::display::{fitted, padded, safe, width};
use serde_json::Value as Json;

use crate::seen::{Told, time, vitals, whole, workers};
use crate::status::{InFlight, Sort, request_line, title};

/// Slots of a worker that have a glyph of their own; of more the number is shown.
const SLOTS_MAX: u64 = 16;
/// Lines that workers' glyphs take.
const GLYPH_LINES_MAX: usize = 3;
/// Findings shown at once.
const FINDINGS_MAX: usize = 3;

/// How a line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Title,
    Heading,
    Bad,
    Good,
}

/// A line and how it looks.
pub(crate) type Line = (Style, String);

/// What the keys are for at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Normal,
    /// A command is written.
    Command(String),
    /// What requests are filtered by is written.
    Filter(String),
    Help,
}

/// What is to be seen.
pub(crate) struct View<'a> {
    pub(crate) look: &'a Json,
    pub(crate) sights: &'a [Sight],
    pub(crate) found: &'a [Told],
    pub(crate) requests: &'a [InFlight],
    /// Routes and their share of the time that requests were seen to run.
    pub(crate) routes: &'a [(String, f64)],
    pub(crate) events: &'a [String],
    pub(crate) sort: Sort,
    pub(crate) filter: &'a str,
    pub(crate) mode: &'a Mode,
    /// What the last command answered.
    pub(crate) said: &'a str,
    /// The server has not answered for so many seconds.
    pub(crate) gone_s: Option<f64>,
}

const KEYS: [&str; 13] = [
    "q        leave",
    "a r w    sort requests by age, route, worker",
    "/        show only requests whose method, route, target or client has this text; / and Enter: all",
    ":        a command, as in the shell:",
    "           scale N|+N|-N            recycle [WORKER|all]     restart WORKER|all",
    "           pause [--max SECONDS]    resume                   maintenance on|off [--page FILE]",
    "           reload",
    "?        this page",
    "Esc      back",
    "Ctrl-Z   into the background, Ctrl-C leave",
    "",
    "A worker is shown by its place and its slots: ▮ runs a request, ▯ is free. ~ is on its way,",
    "x is ending, a number stands for more slots than fit.",
];

/// So many lines, none wider than the screen.
pub(crate) fn frame(view: &View<'_>, columns: usize, rows: usize) -> Vec<Line> {
    let mut lines = head(view, columns);
    if *view.mode == Mode::Help {
        lines.push((Style::Heading, "KEYS".to_owned()));
        lines.extend(KEYS.iter().map(|line| (Style::Plain, (*line).to_owned())));
    } else {
        let rest = rows.saturating_sub(lines.len() + 1);
        let part = (rest / 4).max(3).min(rest / 3);
        lines.extend(requests(view, columns, rest.saturating_sub(2 * part)));
        lines.extend(routes(view, columns, part));
        lines.extend(events(view, part));
    }
    lines.truncate(rows.saturating_sub(1));
    while lines.len() + 1 < rows {
        lines.push((Style::Plain, String::new()));
    }
    lines.push(prompt(view));
    lines.into_iter().map(|(style, text)| (style, fitted(&text, columns))).collect()
}

fn head(view: &View<'_>, columns: usize) -> Vec<Line> {
    let mut lines =
        vec![(Style::Title, padded(&format!("indrik top  {}", title(view.look)), columns))];
    if let Some(seconds) = view.gone_s {
        lines.push((
            Style::Bad,
            format!("the server has not answered for {}; this was its last state", time(seconds)),
        ));
    }
    if let (Some(before), Some(now)) =
        (view.sights.iter().rev().nth(1).or_else(|| view.sights.first()), view.sights.last())
    {
        lines.push((Style::Plain, vitals(before, now).line()));
    }
    if view.found.is_empty() {
        lines.push((Style::Good, "nothing is wrong".to_owned()));
    }
    for finding in view.found.iter().take(FINDINGS_MAX) {
        let since = finding.for_s.map_or(String::new(), |seconds| format!(" ({})", time(seconds)));
        lines.push((Style::Bad, format!("! {}{since} -> {}", finding.what, finding.advice)));
    }
    lines.extend(glyphs(view.look, columns).into_iter().map(|line| (Style::Plain, line)));
    lines
}

/// All workers, by place, with a glyph for each slot.
fn glyphs(look: &Json, columns: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let all = workers(look);
    for (at, worker) in all.iter().enumerate() {
        let word = format!("{}:{}  ", whole(&worker["place"]), slots(worker));
        let is_full = lines.last().is_some_and(|line| width(line) + width(&word) > columns);
        if is_full && lines.len() == GLYPH_LINES_MAX {
            let left = format!("+{}", all.len() - at);
            if let Some(last) = lines.last_mut() {
                *last = format!(
                    "{} {left}",
                    fitted(last.trim_end(), columns.saturating_sub(left.len() + 1))
                );
            }
            break;
        }
        if is_full {
            lines.push(String::new());
        }
        if let Some(last) = lines.last_mut() {
            last.push_str(&word);
        }
    }
    lines
}

fn slots(worker: &Json) -> String {
    let busy = whole(&worker["in_flight"]);
    match worker["state"].as_str().unwrap_or_default() {
        "ready" | "retiring" => {}
        "forking" | "booting" | "warming up" | "waiting" | "standing by" => return "~".to_owned(),
        _ => return format!("x{}", if busy > 0 { busy.to_string() } else { String::new() }),
    }
    let has_loop = worker["has_loop"] == Json::Bool(true);
    match worker["capacity"].as_u64().filter(|capacity| !has_loop && *capacity <= SLOTS_MAX) {
        Some(capacity) => {
            (0..capacity.max(1)).map(|slot| if slot < busy { '▮' } else { '▯' }).collect()
        }
        None if busy > 0 => format!("▮{busy}"),
        None => "▯".to_owned(),
    }
}

fn requests(view: &View<'_>, columns: usize, rows: usize) -> Vec<Line> {
    let by = match view.sort {
        Sort::Age => "age",
        Sort::Route => "route",
        Sort::Worker => "worker",
    };
    let filter = match view.filter {
        "" => String::new(),
        text => format!(", with {}", safe(text)),
    };
    let heading = format!("IN FLIGHT by {by}{filter}: age, worker, method, route, target, client");
    let shown = view.requests.iter().take(rows.saturating_sub(1));
    let lines =
        shown.map(|(place, request)| (Style::Plain, request_line(*place, request, columns)));
    filled((Style::Heading, padded(&heading, columns)), lines.collect(), rows)
}

fn routes(view: &View<'_>, columns: usize, rows: usize) -> Vec<Line> {
    let all: f64 = view.routes.iter().map(|(_, seconds)| seconds).sum();
    let bars = columns.saturating_sub(50).clamp(10, 40);
    let shown = view.routes.iter().take(rows.saturating_sub(1)).map(|(name, seconds)| {
        let share = if all > 0.0 { seconds / all } else { 0.0 };
        let filled = (0..bars).filter(|at| {
            f64::from(u32::try_from(*at).unwrap_or(0))
                < share * f64::from(u32::try_from(bars).unwrap_or(1))
        });
        let bar = "▮".repeat(filled.count());
        (Style::Plain, format!("{:>4.0} %  {} {bar}", share * 100.0, padded(name, 38)))
    });
    filled((Style::Heading, padded("ROUTES by share of time", columns)), shown.collect(), rows)
}

fn events(view: &View<'_>, rows: usize) -> Vec<Line> {
    let most = rows.saturating_sub(1);
    let shown = view.events[view.events.len().saturating_sub(most)..].iter();
    let lines = shown.map(|line| (Style::Plain, line.trim_end().to_owned()));
    filled((Style::Heading, "EVENTS".to_owned()), lines.collect(), rows)
}

/// A part of the screen with exactly so many rows.
fn filled(heading: Line, mut lines: Vec<Line>, rows: usize) -> Vec<Line> {
    lines.insert(0, heading);
    lines.resize(rows, (Style::Plain, String::new()));
    lines
}

fn prompt(view: &View<'_>) -> Line {
    match view.mode {
        Mode::Command(text) => (Style::Plain, format!(":{text}_")),
        Mode::Filter(text) => (Style::Plain, format!("/{text}_")),
        Mode::Help => (Style::Heading, "Esc or ? goes back".to_owned()),
        Mode::Normal if !view.said.is_empty() => (Style::Heading, view.said.to_owned()),
        Mode::Normal => {
            (Style::Heading, "q quit  ? help  : command  / filter  a r w sort".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::seen::sight;
    use crate::status::in_flight;

    fn look(count: u64) -> Json {
        let worker = |place: u64| {
            json!({"place": place, "pid": 100 + place, "state": "ready", "capacity": 4, "in_flight": 2, "requests": 9,
                "running": [{"method": "GET", "target": "/x\u{1b}[31m\u{202e}\u{65e5}".repeat(9), "age_s": 1.5,
                    "route": "/r/<id>", "client": "::1"}]})
        };
        json!({"uptime": 9.0, "generation": 3, "workers_ready": count, "workers_target": count, "cpus": 2,
            "server": {"application": "main:app", "addresses": ["127.0.0.1:1"], "pid": 9},
            "workers": (1..=count).map(worker).collect::<Vec<_>>()})
    }

    fn painted(count: u64, columns: usize, rows: usize, mode: &Mode) -> Vec<Line> {
        let look = look(count);
        let finding = Told {
            cause: "leak".to_owned(),
            what: "it grows".repeat(40),
            whose: "the machine".to_owned(),
            for_s: Some(3.0),
            since_ms: None,
            advice: "recycle".to_owned(),
        };
        let view = View {
            look: &look,
            sights: &[sight(&look), sight(&look)],
            found: &[finding.clone(), finding.clone(), finding.clone(), finding],
            requests: &in_flight(&look),
            routes: &[("GET /r/<id>".to_owned(), 3.0), ("GET /s".to_owned(), 1.0)],
            events: &["12:00:00 UTC  scale  4 workers\n".to_owned()],
            sort: Sort::Age,
            filter: "x",
            mode,
            said: "",
            gone_s: Some(2.0),
        };
        frame(&view, columns, rows)
    }

    #[test]
    fn a_frame_fills_the_screen_exactly_and_no_text_leaves_its_line() {
        for (columns, rows) in [(80, 24), (200, 50), (40, 10), (20, 4), (1, 1)] {
            for mode in [Mode::Normal, Mode::Help, Mode::Command("scale".to_owned())] {
                for count in [0, 1, 8, 300] {
                    let lines = painted(count, columns, rows, &mode);
                    assert_eq!(lines.len(), rows, "{columns}x{rows}");
                    for (_, line) in lines {
                        assert!(width(&line) <= columns, "{columns}x{rows}: {line}");
                        assert!(
                            line.chars().all(|it| !it.is_control() && it != '\u{202e}'),
                            "{line}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn eighty_columns_show_everything() {
        let text: String =
            painted(8, 80, 24, &Mode::Normal).into_iter().map(|(_, line)| line + "\n").collect();
        for part in [
            "indrik top  main:app",
            "requests/s",
            "! it grows",
            "1:▮▮▯▯  2:▮▮▯▯",
            "IN FLIGHT by age, with x",
            "/r/<id>",
            "ROUTES",
            "75 %",
            "EVENTS",
            "4 workers",
            "? help",
            "has not answered for 2.0 s",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
    }

    #[test]
    fn what_a_worker_does_is_one_glyph_for_each_slot() {
        let worker = |state: &str, capacity: u64, busy: u64| {
            slots(
                &json!({"state": state, "capacity": capacity, "in_flight": busy, "has_loop": capacity == 1000}),
            )
        };
        assert_eq!(worker("ready", 1, 0), "▯");
        assert_eq!(worker("retiring", 3, 5), "▮▮▮");
        assert_eq!(worker("ready", 64, 7), "▮7");
        assert_eq!(worker("ready", 1000, 0), "▯");
        assert_eq!(worker("booting", 1, 0), "~");
        assert_eq!(worker("stuck", 1, 1), "x1");
    }
}
