//! `/requests`: what is in flight, the oldest first; the slowest and the failed of the last minutes.

use serde_json::{Value as Json, json};

use super::table::{self, Format};
use crate::admin::answer::{Answer, bad};
use crate::admin::context::{Asked, Context};
use crate::front::{Ended, IN_FLIGHT_MAX, InFlight};

const COLUMNS: [&str; 10] = [
    "method", "target", "client", "phase", "age_us", "app_us", "worker", "pid", "route", "is_over",
];

/// The requests that wait or are with workers.
pub(crate) fn answer(context: &Context, asked: &Asked) -> Answer {
    let format = match table::format(&asked.query) {
        Ok(format) => format,
        Err(why) => return bad(why),
    };
    let limit = match asked.query.number("limit") {
        Ok(limit) => {
            limit.map_or(IN_FLIGHT_MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX))
        }
        Err(why) => return bad(why),
    };
    let front = context.board.front();
    let mut in_flight = front.as_ref().map(|front| front.in_flight()).unwrap_or_default();
    let is_cut = in_flight.len() > limit || in_flight.len() >= IN_FLIGHT_MAX;
    in_flight.truncate(limit);
    let (mut slowest, mut failed) = front.as_ref().map(|front| front.recent()).unwrap_or_default();
    if !asked.looks_inside {
        in_flight.iter_mut().for_each(InFlight::hide_secrets);
        slowest.iter_mut().chain(&mut failed).for_each(Ended::hide_secrets);
    }
    let rows: Vec<Json> =
        in_flight.iter().filter_map(|request| serde_json::to_value(request).ok()).collect();
    match format {
        Format::Csv => table::csv(&COLUMNS, &rows),
        Format::Json => Answer::json(&json!({
            "in_flight": rows,
            "is_cut": is_cut,
            "slowest": slowest,
            "failed": failed,
        })),
    }
}
