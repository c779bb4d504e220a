//! `/api/stacks`, `/api/profile`, `/api/memory`: what goes on in workers. It takes its time, and ends when its client
//! leaves.

use std::time::Duration;

use http::header::CONTENT_DISPOSITION;
use http::{HeaderValue, StatusCode};
use indrik_core::admin::query::Query;
use indrik_core::control::inside::{Inside, Mode, Profile, Trace, What, Who, hertz, millis, who};
use indrik_core::control::{Command, Show};
use indrik_core::profile::{Collapsed, speedscope};
use serde_json::{Value as Json, json};

use super::undone::Undone;
use crate::admin::answer::{Answer, bad};
use crate::admin::context::{Asked, Context};
use crate::admin::orders::Wish;
use crate::flames;

/// How long workers may take beside what was asked for; the loop gives them up before.
const MORE_MAX: Duration = Duration::from_secs(30);
/// What can be said of a profile.
pub(crate) const PROFILE: &[&str] = &["worker", "seconds", "rate", "of", "route", "format"];

/// Where everything is just now.
pub(crate) async fn stacks(context: &Context, asked: &Asked) -> Answer {
    let who = match of_whom(&asked.query) {
        Ok(who) => who,
        Err(why) => return bad(why),
    };
    answered(look(context, asked, Inside { who, what: What::Stacks }).await)
}

/// What workers have of memory, or what `tracemalloc` has noted of it.
pub(crate) async fn memory(context: &Context, asked: &Asked) -> Answer {
    let who = match of_whom(&asked.query) {
        Ok(who) => who,
        Err(why) => return bad(why),
    };
    match asked.query.get("trace") {
        Some("top") => {
            answered(look(context, asked, Inside { who, what: What::Trace(Trace::Top) }).await)
        }
        Some(_) => bad("trace is top; POST /api/trace begins and ends one"),
        None if who != Who::All => bad("one worker is named with trace=top only"),
        None => {
            let wish = Wish::Command(Command::Show(Show::Memory), "show memory".to_owned());
            let given = context.orders.give(asked.asker.clone(), wish).await;
            answered(given.map_err(Undone::Unanswered).and_then(|it| it.map_err(Undone::Refused)))
        }
    }
}

/// How a profile is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Svg,
    Speedscope,
    Collapsed,
}

/// Where time goes.
pub(crate) async fn profile(context: &Context, asked: &Asked) -> Answer {
    let (inside, format) = match wanted(&asked.query) {
        Ok(wanted) => wanted,
        Err(why) => return bad(why),
    };
    let title = title(&inside);
    let seen = match look(context, asked, inside).await {
        Ok(seen) if format != Format::Json => seen,
        other => return answered(other),
    };
    // A large one takes a while to be drawn: others are answered meanwhile.
    let made = tokio::task::spawn_blocking(move || drawn(&seen, format, &title)).await;
    match made {
        Ok(Ok((content_type, name, bytes))) => {
            let name = HeaderValue::from_static(name);
            Answer::of(content_type, bytes).with(CONTENT_DISPOSITION, name)
        }
        Ok(Err(why)) => Answer::error(StatusCode::CONFLICT, &why, "format=json shows each worker"),
        Err(_) => {
            let what = "the profile cannot be drawn";
            Answer::error(StatusCode::INTERNAL_SERVER_ERROR, what, "the error log says why")
        }
    }
}

/// Has workers looked into, as long as the client is there.
pub(super) async fn look(context: &Context, asked: &Asked, inside: Inside) -> Result<Json, Undone> {
    let Ok(_place) = context.looks.try_acquire() else {
        return Err(Undone::Full("too many looks into workers are under way"));
    };
    let most = MORE_MAX
        + match &inside.what {
            What::Profile(profile) => Duration::from_millis(profile.millis.into()),
            What::Stacks | What::Trace(_) => Duration::ZERO,
        };
    tokio::select! {
        outcome = context.orders.look(asked.asker.clone(), inside, most) => {
            outcome.map_err(Undone::Unanswered).and_then(|seen| seen.map_err(Undone::Refused))
        }
        () = asked.socket.left() => {
            let text = "the client has closed its side, and a look into workers ends with that";
            Err(Undone::Left(text))
        }
    }
}

fn answered(seen: Result<Json, Undone>) -> Answer {
    seen.map_or_else(|undone| undone.answer(), |seen| Answer::json(&seen))
}

fn of_whom(query: &Query) -> Result<Who, String> {
    query.get("worker").map_or(Ok(Who::All), who)
}

fn wanted(query: &Query) -> Result<(Inside, Format), String> {
    let mode = match query.get("of") {
        None | Some("cpu") => Mode::Cpu,
        Some("wall") => Mode::Wall,
        Some(_) => return Err("of is cpu or wall".to_owned()),
    };
    let format = match query.get("format") {
        None | Some("json") => Format::Json,
        Some("svg") => Format::Svg,
        Some("speedscope") => Format::Speedscope,
        Some("collapsed") => Format::Collapsed,
        Some(_) => return Err("format is json, svg, speedscope or collapsed".to_owned()),
    };
    let profile = Profile {
        millis: millis(query.get("seconds").unwrap_or("10"))?,
        rate: hertz(query.get("rate").unwrap_or("100"))?,
        mode,
        route: query.get("route").map(str::to_owned),
    };
    Ok((Inside { who: of_whom(query)?, what: What::Profile(profile) }, format))
}

fn title(inside: &Inside) -> String {
    let whose = match inside.who {
        Who::All => "all workers".to_owned(),
        Who::One(number) => format!("worker {number}"),
    };
    match &inside.what {
        What::Profile(Profile { mode, route, .. }) => {
            let time = if *mode == Mode::Cpu { "CPU time" } else { "time" };
            let route = route.as_ref().map_or_else(String::new, |it| format!(" of route {it}"));
            format!("{time} of {whose}{route}")
        }
        What::Stacks | What::Trace(_) => whose,
    }
}

type Drawn = (&'static str, &'static str, Vec<u8>);

fn drawn(seen: &Json, format: Format, title: &str) -> Result<Drawn, String> {
    let mut all = Collapsed::default();
    let mut whys = Vec::new();
    for worker in seen["workers"].as_array().into_iter().flatten() {
        all.merge(&Collapsed::parse(worker["collapsed"].as_str().unwrap_or_default())?);
        whys.extend(
            worker["why"].as_str().map(|why| format!("worker {}: {why}", worker["worker"])),
        );
    }
    if all.total() == 0 {
        whys.insert(0, "nothing ran in this time".to_owned());
        return Err(whys.join("; "));
    }
    Ok(match format {
        Format::Svg => {
            ("image/svg+xml", "attachment; filename=\"profile.svg\"", flames::graph(&all, title)?)
        }
        Format::Speedscope => (
            "application/json",
            "attachment; filename=\"profile.speedscope.json\"",
            json!(speedscope(&all, title)).to_string().into_bytes(),
        ),
        Format::Collapsed | Format::Json => (
            "text/plain; charset=utf-8",
            "attachment; filename=\"profile.collapsed\"",
            all.text().into_bytes(),
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_asked_for_by_its_parameters_and_what_is_wrong_is_said() {
        let read = |text: &str| wanted(&Query::read(text).unwrap());
        let (inside, format) =
            read("worker=7&seconds=2.5&of=wall&route=/a%20b&format=svg&rate=50").unwrap();
        assert_eq!((inside.who, format), (Who::One(7), Format::Svg));
        assert_eq!(title(&inside), "time of worker 7 of route /a b");
        assert_eq!(title(&read("").unwrap().0), "CPU time of all workers");
        for wrong in ["seconds=0", "seconds=x", "rate=9999", "of=disk", "format=gif", "worker=me"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_stacks_of_all_workers_are_one_profile_and_nothing_is_told_with_the_reason() {
        let seen = json!({"workers": [
            {"worker": 1, "collapsed": "a;b 5\n", "why": null},
            {"worker": 2, "collapsed": "a;b 7\n", "why": null},
        ]});
        let (_, _, text) = drawn(&seen, Format::Collapsed, "x").unwrap();
        assert_eq!(text, b"a;b 12\n");
        let (content_type, _, svg) = drawn(&seen, Format::Svg, "<x>").unwrap();
        assert_eq!(content_type, "image/svg+xml");
        assert!(String::from_utf8(svg).unwrap().contains("&lt;x&gt;"));
        let nothing = json!({"workers": [{"worker": 3, "why": "it ended"}]});
        let why = drawn(&nothing, Format::Svg, "x").unwrap_err();
        assert_eq!(why, "nothing ran in this time; worker 3: it ended");
    }
}
