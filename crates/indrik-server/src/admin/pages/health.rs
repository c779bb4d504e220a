//! `/health`: this process answers. `/ready`: requests should be sent to it.

use http::StatusCode;
use serde_json::{Value as Json, json};

use crate::admin::answer::Answer;
use crate::admin::context::{Asked, Context};

/// 200 as long as this process is there to answer.
pub(crate) fn health(context: &Context, asked: &Asked) -> Answer {
    Answer::json(&shown(context, asked))
}

/// 200 where traffic is welcome, else 503 and why.
pub(crate) fn ready(context: &Context, asked: &Asked) -> Answer {
    let shown = shown(context, asked);
    match shown["ready"] == true {
        true => Answer::json(&shown),
        false => Answer::json(&shown).with_status(StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Strangers hear no more than a status says.
fn shown(context: &Context, asked: &Asked) -> Json {
    let look = context.board.look();
    let is_draining = context.board.front().is_some_and(|front| front.is_draining());
    let ready = look.health.ready && (!is_draining || look.handed_over_to.is_some());
    let mut shown = json!({"alive": true, "state": look.health.state, "ready": ready});
    if !asked.is_known {
        return shown;
    }
    let mut reasons = Vec::new();
    if !look.health.why.is_empty() {
        reasons.push(look.health.why.clone());
    }
    if !ready {
        let text = match look.health.state {
            "starting" => {
                format!("{} of {} workers are ready", look.census.ready, look.census.wanted)
            }
            "paused" => "the server takes no connections for now".to_owned(),
            "draining" | "stopping" => "the server finishes what it has, and ends".to_owned(),
            _ if look.census.ready == 0 => "no worker is ready".to_owned(),
            state => format!("the server is {state}"),
        };
        reasons.insert(0, text);
    }
    shown["reasons"] = reasons.into();
    shown["pid"] = look.server.pid.into();
    shown["version"] = look.server.version.into();
    shown
}
