//! The commands that look into workers: stacks, profiles, what memory is made of.

use serde_json::{Value as Json, json};

/// The longest profile, seconds.
pub const PROFILE_SECONDS_MAX: f64 = 600.0;
/// Looks a second at most.
pub const PROFILE_RATE_MAX: u32 = 1_000;

/// What is to be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Of whom.
    pub who: Who,
    /// What of them.
    pub what: What,
}

/// Which workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// All of them.
    All,
    /// The one with this process number, or the one with this number of its own.
    One(u32),
}

/// What is to be seen of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Where everything is just now.
    Stacks,
    /// Where time goes.
    Profile(Profile),
    /// What memory is made of.
    Trace(Trace),
}

/// A profile that is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// How long it takes.
    pub millis: u32,
    /// Looks a second.
    pub rate: u32,
    /// What is counted.
    pub mode: Mode,
    /// Of requests of this route only.
    pub route: Option<String>,
}

/// What a profile counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The processor's time.
    Cpu,
    /// Time on the wall, also of what waits.
    Wall,
}

/// What `tracemalloc` is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Begin.
    Start,
    /// End.
    Stop,
    /// Tell what has grown since it began.
    Top,
}

impl Inside {
    /// What it changes in workers, in the command's words; nothing, if it only looks.
    #[must_use]
    pub fn change(&self) -> Option<String> {
        let word = match self.what {
            What::Trace(Trace::Start) => "start",
            What::Trace(Trace::Stop) => "stop",
            What::Trace(Trace::Top) | What::Stacks | What::Profile(_) => return None,
        };
        Some(match self.who {
            Who::All => format!("trace {word} all"),
            Who::One(number) => format!("trace {word} {number}"),
        })
    }
}

impl Mode {
    /// Its name.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Wall => "wall",
        }
    }
}

impl Trace {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Top => "top",
        }
    }
}

impl What {
    /// The order as it is sent to a worker, under this number.
    #[must_use]
    pub fn order(&self, number: u64) -> Json {
        match self {
            Self::Stacks => json!({"inside": "stacks", "number": number}),
            Self::Profile(Profile { millis, rate, mode, .. }) => json!({
                "inside": "profile", "number": number, "seconds": f64::from(*millis) / 1e3,
                "rate": rate, "mode": mode.word(),
            }),
            Self::Trace(trace) => {
                json!({"inside": "trace", "number": number, "word": trace.word()})
            }
        }
    }
}

/// Understands the words of a request, if it is about this.
pub(super) fn parse(words: &[String]) -> Option<Result<Inside, String>> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (first, rest) = words.split_first()?;
    let parsed = match first.to_lowercase().as_str() {
        "stacks" => at_most_one(rest).map(|who| Inside { who, what: What::Stacks }),
        "profile" => profile(rest),
        "trace" => trace(rest),
        _ => return None,
    };
    Some(parsed.map_err(|why| format!("Invalid argument: {why}")))
}

fn at_most_one(rest: &[&str]) -> Result<Who, String> {
    match rest {
        [] => Ok(Who::All),
        [one] => who(one),
        _ => Err("name one worker, or none for all".to_owned()),
    }
}

/// Reads which workers are meant.
///
/// # Errors
/// What would be right.
pub fn who(word: &str) -> Result<Who, String> {
    if word.eq_ignore_ascii_case("all") {
        return Ok(Who::All);
    }
    word.parse().map(Who::One).map_err(|_| {
        "a worker is named by its process number or by its own (AGE in show workers), or say all"
            .to_owned()
    })
}

fn profile(rest: &[&str]) -> Result<Inside, String> {
    let [of, seconds, rate, mode, route @ ..] = rest else {
        return Err("profile takes WHO SECONDS HZ cpu|wall [ROUTE]".to_owned());
    };
    let route = match route {
        [] => None,
        [route] => Some((*route).to_owned()),
        _ => return Err("profile takes one route".to_owned()),
    };
    let mode = match mode.to_lowercase().as_str() {
        "cpu" => Mode::Cpu,
        "wall" => Mode::Wall,
        _ => return Err("a profile is of cpu or of wall".to_owned()),
    };
    let profile = Profile { millis: millis(seconds)?, rate: hertz(rate)?, mode, route };
    Ok(Inside { who: who(of)?, what: What::Profile(profile) })
}

/// Reads how long a profile takes.
///
/// # Errors
/// What would be right.
pub fn millis(seconds: &str) -> Result<u32, String> {
    let parsed: Option<f64> = seconds.parse().ok();
    let allowed = parsed.filter(|seconds| (0.1..=PROFILE_SECONDS_MAX).contains(seconds));
    let wrong = || format!("a profile takes from 0.1 to {PROFILE_SECONDS_MAX} seconds");
    allowed.map(|seconds| (seconds * 1e3) as u32).ok_or_else(wrong)
}

/// Reads how often a profile looks.
///
/// # Errors
/// What would be right.
pub fn hertz(rate: &str) -> Result<u32, String> {
    let parsed: Option<u32> = rate.parse().ok();
    let wrong = || format!("a profile looks from 1 to {PROFILE_RATE_MAX} times a second");
    parsed.filter(|rate| (1..=PROFILE_RATE_MAX).contains(rate)).ok_or_else(wrong)
}

fn trace(rest: &[&str]) -> Result<Inside, String> {
    let wrong = "trace takes start, stop or top, and at most one worker";
    let (word, rest) = rest.split_first().ok_or(wrong)?;
    let trace = match word.to_lowercase().as_str() {
        "start" => Trace::Start,
        "stop" => Trace::Stop,
        "top" => Trace::Top,
        _ => return Err(wrong.to_owned()),
    };
    Ok(Inside { who: at_most_one(rest)?, what: What::Trace(trace) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Inside, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words).expect("it is about this")
    }

    #[test]
    fn workers_are_named_by_a_number_or_all_are_meant() {
        assert_eq!(parsed("stacks"), Ok(Inside { who: Who::All, what: What::Stacks }));
        assert_eq!(parsed("STACKS 12").map(|it| it.who), Ok(Who::One(12)));
        assert_eq!(parsed("trace top ALL").map(|it| it.who), Ok(Who::All));
        assert!(parse(&["show".to_owned()]).is_none());
        assert!(parse(&[]).is_none());
    }

    #[test]
    fn a_profile_keeps_its_route_as_it_was_written() {
        let profile = parsed("profile all 2.5 100 Wall /Items/<id>").map(|it| it.what);
        let route = Some("/Items/<id>".to_owned());
        let wanted = Profile { millis: 2_500, rate: 100, mode: Mode::Wall, route };
        assert_eq!(profile, Ok(What::Profile(wanted)));
        let order = profile.expect("it is one").order(7);
        assert_eq!(order["seconds"], 2.5);
        assert_eq!((&order["number"], &order["mode"]), (&json!(7), &json!("wall")));
    }

    #[test]
    fn what_is_wrong_is_said_with_what_would_be_right() {
        for (line, why) in [
            ("stacks me", "process number"),
            ("stacks 1 2", "one worker"),
            ("profile all", "WHO SECONDS HZ"),
            ("profile all 0 100 cpu", "from 0.1 to 600 seconds"),
            ("profile all nan 100 cpu", "from 0.1 to 600 seconds"),
            ("profile all 601 100 cpu", "from 0.1 to 600 seconds"),
            ("profile all 1 0 cpu", "from 1 to 1000 times"),
            ("profile all 1 1001 cpu", "from 1 to 1000 times"),
            ("profile all 1 100 fast", "cpu or of wall"),
            ("profile all 1 100 cpu /a /b", "one route"),
            ("trace", "start, stop or top"),
            ("trace again", "start, stop or top"),
        ] {
            let error = parsed(line).unwrap_err();
            assert!(error.starts_with("Invalid argument") && error.contains(why), "{error}");
        }
    }
}
