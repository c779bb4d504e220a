//! `/metrics`: what a scraper reads.

use std::sync::Arc;

use http::header::VARY;
use http::{HeaderValue, StatusCode};

use crate::admin::answer::Answer;
use crate::admin::context::{Asked, Context};
use crate::metrics;

/// All families, as the scraper asks for them.
pub(crate) async fn answer(context: &Context, asked: &Asked) -> Answer {
    let accept = asked.header("accept").unwrap_or_default().to_owned();
    let (board, log) = (Arc::clone(&context.board), Arc::clone(&context.log));
    // The kernel is asked about processes and disks: others are answered meanwhile.
    let made = tokio::task::spawn_blocking(move || metrics::answer(&accept, &board, &log)).await;
    let Ok(made) = made else {
        let what = "the metrics cannot be read";
        return Answer::error(StatusCode::INTERNAL_SERVER_ERROR, what, "the error log says why");
    };
    Answer::of(made.content_type, made.body).with(VARY, HeaderValue::from_static("Accept"))
}
