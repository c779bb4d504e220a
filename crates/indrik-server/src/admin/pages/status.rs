//! `/status`: the whole server in one value.

use std::sync::Arc;
use std::time::Duration;

use indrik_core::ids::WorkerId;
use indrik_core::memory::process;
use indrik_sys::memory;
use serde_json::Value as Json;

use super::table::{self, Format};
use crate::admin::answer::{Answer, bad};
use crate::admin::context::{Asked, Context};
use crate::look::{Board, Look, WorkerLook, shown_findings, shown_front};

const COLUMNS: [&str; 15] = [
    "place",
    "pid",
    "id",
    "generation",
    "state",
    "started_for",
    "ends_for",
    "uptime_s",
    "beat_age_s",
    "requests",
    "in_flight",
    "rss_bytes",
    "pss_bytes",
    "cpu_s",
    "booted",
];

/// The server, its front, its workers.
pub(crate) async fn answer(context: &Context, asked: &Asked) -> Answer {
    let format = match table::format(&asked.query) {
        Ok(format) => format,
        Err(why) => return bad(why),
    };
    let board = Arc::clone(&context.board);
    // The kernel walks over the workers' pages for it: others are answered meanwhile.
    let Ok(status) = tokio::task::spawn_blocking(move || status(&board)).await else {
        return bad("the server's state cannot be read");
    };
    match format {
        Format::Json => Answer::json(&status),
        Format::Csv => {
            let rows = status["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
            table::csv(&COLUMNS, rows)
        }
    }
}

fn status(board: &Board) -> Json {
    let look = board.look();
    let mut status = serde_json::to_value(&*look).unwrap_or_default();
    status["server"]["uptime_s"] = hundredths(look.began.elapsed()).into();
    status["workers"] = workers(board, &look).into();
    status["alerts"] = board.alerts().json();
    status["findings"] = shown_findings(board.findings().as_deref());
    status["front"] = board.front().map_or(Json::Null, |front| shown_front(&front.stats()));
    status
}

fn workers(board: &Board, look: &Look) -> Vec<Json> {
    let loads = board.front().map(|front| front.loads()).unwrap_or_default();
    let page_bytes = memory::page_bytes();
    let now = look.began.elapsed();
    let shown = |worker: &WorkerLook| {
        let mut shown = serde_json::to_value(worker).unwrap_or_default();
        let load = loads.get(&WorkerId(worker.id)).copied().unwrap_or_default();
        let shares = worker.pid.and_then(|pid| process::shares(&memory::smaps_rollup(pid)?));
        let rss = worker.pid.and_then(|pid| process::rss(&memory::statm(pid)?, page_bytes));
        let since = |at: Duration| hundredths(now.saturating_sub(at));
        shown["uptime_s"] = since(worker.born).into();
        shown["beat_age_s"] = worker.beat_at.map(since).into();
        shown["requests"] = load.served.into();
        shown["in_flight"] = load.in_flight.into();
        shown["rss_bytes"] = rss.into();
        shown["pss_bytes"] = shares.map(|shares| shares.pss).into();
        shown["cpu_s"] =
            worker.pid.and_then(|pid| process::cpu(&memory::stat(pid)?)).map(hundredths).into();
        shown
    };
    // One whose fork is under way is no process yet.
    look.workers.iter().filter(|worker| worker.pid.is_some()).map(shown).collect()
}

/// Seconds, as people want to read them.
fn hundredths(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}
