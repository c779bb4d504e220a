//! What is answered to an order that was not performed.

use http::StatusCode;
use serde_json::json;

use crate::admin::answer::Answer;
use crate::admin::orders::{No, NoAnswer};

/// It cannot be done: why.
pub(super) fn refused(no: &No) -> (Answer, String) {
    match no {
        No::Conflict(why) => (Answer::error(StatusCode::CONFLICT, why, ""), why.clone()),
        No::Wrong(problems) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            let first = problems.first().map_or("", |problem| problem.problem.as_str());
            let what = "the settings would not be valid; nothing was changed";
            let value = json!({"status": status.as_u16(), "error": what, "problems": problems});
            (Answer::json(&value).with_status(status), format!("refused: {first}"))
        }
    }
}

/// Nobody has answered: why.
pub(super) fn not_done(why: NoAnswer) -> (Answer, String) {
    let text = match why {
        NoAnswer::Full => "too many orders wait for the supervision loop",
        NoAnswer::Silent => "the supervision loop does not answer; nothing was done",
    };
    (Answer::later(StatusCode::SERVICE_UNAVAILABLE, text, 2), text.to_owned())
}
