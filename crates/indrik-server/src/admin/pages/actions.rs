//! `POST /api/…`: what an operator asks of the server, in the words of the control socket.
//!
//! Each names what it changes a second time (`confirm`): the command as a whole, so that nothing happens by a slip.

use http::StatusCode;
use indrik_core::chronicle::{Kind, News};
use indrik_core::control::{Command, told};
use indrik_core::settings::words;
use serde::Deserialize;
use serde_json::Value as Json;

use super::inside;
use super::undone::Undone;
use crate::admin::answer::{Answer, bad};
use crate::admin::context::{Asked, Context};
use crate::admin::orders::{NoAnswer, Wish};

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
    let is_change = command.changes();
    let outcome = match command {
        Command::Inside(wanted) => inside::look(context, asked, wanted).await,
        command => {
            let wish = Wish::Command(command, line.clone());
            let given = context.orders.give(asked.asker.clone(), wish).await;
            given.map_err(Undone::Unanswered).and_then(|done| done.map_err(Undone::Refused))
        }
    };
    if let (true, Err(Undone::Unanswered(why))) = (is_change, &outcome) {
        note_not_done(context, asked, &line, *why);
    }
    match outcome {
        Ok(data) => done(&data),
        Err(undone) => undone.answer(),
    }
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
fn done(data: &Json) -> Answer {
    match data.get("success") {
        Some(Json::Bool(false)) => {
            let why = data.get("error").and_then(Json::as_str).unwrap_or("it cannot be done");
            Answer::error(StatusCode::CONFLICT, why, "")
        }
        _ => Answer::json(data),
    }
}

/// What the loop does it notes itself; what does not reach it is noted here.
pub(super) fn note_not_done(context: &Context, asked: &Asked, what: &str, why: NoAnswer) {
    let text = told(&asked.asker.name, what, why.told());
    context.log.audit(&format!("Admin: {text}"));
    context.board.enter(News::of(Kind::Operator, text));
}
