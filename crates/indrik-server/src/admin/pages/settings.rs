//! `/api/settings`: the settings in use and where they come from; changing those that an operator may.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::actions::note_not_done;
use super::table::{self, Format};
use super::undone::Undone;
use crate::admin::answer::{Answer, bad};
use crate::admin::context::{Asked, Context};
use crate::admin::orders::{Wanted, Wish};

const COLUMNS: [&str; 9] = [
    "name",
    "section",
    "value",
    "origin",
    "by_hand",
    "otherwise",
    "secret",
    "by_api",
    "at_start_only",
];

/// What is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    changes: BTreeMap<String, Json>,
    #[serde(default)]
    dry_run: bool,
    confirm: Option<String>,
}

/// All of them.
pub(crate) fn list(context: &Context, asked: &Asked) -> Answer {
    let format = match table::format(&asked.query) {
        Ok(format) => format,
        Err(why) => return bad(why),
    };
    let look = context.board.look();
    let rows = look.settings.as_ref().map(|settings| settings.rows.as_slice()).unwrap_or_default();
    let rows: Vec<Json> = rows.iter().filter_map(|row| serde_json::to_value(row).ok()).collect();
    match format {
        Format::Csv => table::csv(&COLUMNS, &rows),
        Format::Json => Answer::json(&json!({"settings": rows})),
    }
}

/// Other values for some of them. The confirmation is their names, in alphabetical order.
pub(crate) async fn change(context: &Context, asked: &Asked) -> Answer {
    let sent: Sent = match serde_json::from_slice(&asked.body) {
        Ok(sent) => sent,
        Err(error) => return bad(format!("the body cannot be read: {error}")),
    };
    let names = sent.changes.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    if !sent.dry_run && sent.confirm.as_deref() != Some(names.as_str()) {
        let hint = format!("send \"confirm\": {}, or \"dry_run\": true", Json::from(names));
        let what = "the confirmation does not name these settings";
        return Answer::error(http::StatusCode::BAD_REQUEST, what, &hint);
    }
    let Sent { changes, dry_run, .. } = sent;
    let wanted = Wanted { changes, dry_run };
    let what = wanted.told();
    match context.orders.give(asked.asker.clone(), Wish::Settings(wanted)).await {
        Ok(Ok(data)) => Answer::json(&data),
        Ok(Err(no)) => Undone::Refused(no).answer(),
        Err(no_answer) => {
            if !dry_run {
                note_not_done(context, asked, &what, no_answer);
            }
            Undone::Unanswered(no_answer).answer()
        }
    }
}
