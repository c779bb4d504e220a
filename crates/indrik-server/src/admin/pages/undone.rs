//! What is answered to an order that was not performed.

use http::StatusCode;
use serde_json::json;

use crate::admin::answer::{Answer, bad};
use crate::admin::orders::{No, NoAnswer};

/// Why an order was not performed.
#[derive(Debug)]
pub(super) enum Undone {
    /// It cannot be done.
    Refused(No),
    /// Nobody has answered.
    Unanswered(NoAnswer),
    /// Too many of its kind are under way.
    Full(&'static str),
    /// Who asked has left.
    Left(&'static str),
}

impl Undone {
    /// Says so.
    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::Refused(No::Forbidden(why)) => Answer::error(StatusCode::FORBIDDEN, why, ""),
            Self::Refused(No::Conflict(why)) => Answer::error(StatusCode::CONFLICT, why, ""),
            Self::Refused(No::Wrong(problems)) => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                let what = "the settings would not be valid; nothing was changed";
                let value = json!({"status": status.as_u16(), "error": what, "problems": problems});
                Answer::json(&value).with_status(status)
            }
            Self::Unanswered(why) => Answer::later(StatusCode::SERVICE_UNAVAILABLE, why.told(), 2),
            Self::Full(what) => Answer::later(StatusCode::SERVICE_UNAVAILABLE, what, 5),
            Self::Left(what) => bad(*what),
        }
    }
}
