//! `POST /api/…`: what an operator asks of the server, in the words of the control socket.
//!
//! Each names what it changes a second time (`confirm`): the command as a whole, so that nothing happens by a slip.

use http::StatusCode;
use indrik_core::chronicle::{Kind, News};
use indrik_core::control::Command;
use indrik_core::logs::level::Level;
use indrik_core::settings::words;
use serde::Deserialize;
use serde_json::Value as Json;

use super::inside;
use super::undone::{not_done, refused};
use crate::admin::answer::{Answer, bad};
use crate::admin::context::{Asked, Context};
use crate::admin::orders::Wish;

/// What is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    /// The whole command, for `/api/command`.
    command: Option<String>,
    /// What stands behind the command's word.
    #[serde(default)]
    arguments: Vec<Json>,
    confirm: Option<String>,
}

/// Does what is asked for. `action`: the command's word, if the path says it.
pub(crate) async fn answer(context: &Context, asked: &Asked, action: Option<&str>) -> Answer {
    let (words, confirm) = match read(asked, action) {
        Ok(read) => read,
        Err(answer) => return answer,
    };
    let line = words.join(" ");
    let command = match Command::parse(&words) {
        Ok(command) => command,
        Err(why) => return bad(why),
    };
    if confirm.as_deref() != Some(line.as_str()) {
        let hint = format!("send \"confirm\": {}", Json::from(line));
        return Answer::error(
            StatusCode::BAD_REQUEST,
            "the confirmation does not name this command",
            &hint,
        );
    }
    let (answer, result) = match command {
        Command::Inside(wanted) => match inside::look(context, asked, wanted).await {
            Ok(seen) => done(&seen),
            Err((answer, why)) => (answer, why),
        },
        command => match context.orders.give(Wish::Command(command)).await {
            Ok(Ok(data)) => done(&data),
            Ok(Err(no)) => refused(&no),
            Err(no_answer) => not_done(no_answer),
        },
    };
    note(context, asked, &line, &result);
    answer
}

fn read(asked: &Asked, action: Option<&str>) -> Result<(Vec<String>, Option<String>), Answer> {
    let sent: Sent = match asked.body.is_empty() {
        true => return Err(bad("the body is a JSON object with \"confirm\"")),
        false => serde_json::from_slice(&asked.body)
            .map_err(|error| bad(format!("the body cannot be read: {error}")))?,
    };
    let mut words = match (action, sent.command) {
        (Some(action), None) => vec![action.to_owned()],
        (None, Some(command)) => words::split(&command)
            .map_err(|words::Unfinished| bad("a quote in the command is not closed"))?,
        (Some(_), Some(_)) => return Err(bad("\"command\" is for /api/command")),
        (None, None) => return Err(bad("\"command\" is missing")),
    };
    for argument in sent.arguments {
        words.push(match argument {
            Json::String(text) => text,
            Json::Number(number) => number.to_string(),
            _ => return Err(bad("\"arguments\" is a list of texts and numbers")),
        });
    }
    Ok((words, sent.confirm))
}

/// Gunicorn's words for failure stand in an answer that is well formed.
fn done(data: &Json) -> (Answer, String) {
    match data.get("success") {
        Some(Json::Bool(false)) => {
            let why = data.get("error").and_then(Json::as_str).unwrap_or("it cannot be done");
            (Answer::error(StatusCode::CONFLICT, why, ""), why.to_owned())
        }
        _ => (Answer::json(data), "done".to_owned()),
    }
}

/// Who has changed what, and what came of it: in the log and in the chronicle.
pub(super) fn note(context: &Context, asked: &Asked, what: &str, result: &str) {
    let text = format!("{} asked for \"{what}\": {result}", asked.who);
    context.log.write(Level::Info, &format!("Admin: {text}"));
    context.board.enter(News::of(Kind::Operator, text));
}
