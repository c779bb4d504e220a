//! `POST /api/profile`: where the workers' time goes, for some seconds, asked for with one click.
//!
//! It is a client of the control socket as `indrik profile` is, on a thread that may wait.

use std::sync::Arc;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value as Json;

use crate::admin::answer::{Answer, bad};
use crate::admin::context::{Asked, Context};
use crate::control::client::{Connection, Target};

/// The longest profile, in seconds: its answer has to be there before the client is told that it took too long.
const SECONDS_MAX: f64 = 8.0;
/// Looks in a second.
const RATE: &str = "100";

/// What is sent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sent {
    /// A worker's process number; all workers if it is missing.
    worker: Option<u32>,
    seconds: f64,
    /// `cpu` or `wall`.
    of: String,
    /// Only requests of this route.
    route: Option<String>,
}

/// Makes a profile.
pub(crate) async fn profile(context: &Context, asked: &Asked) -> Answer {
    let sent: Sent = match serde_json::from_slice(&asked.body) {
        Ok(sent) => sent,
        Err(error) => return bad(format!("the body cannot be read: {error}")),
    };
    if !(0.1..=SECONDS_MAX).contains(&sent.seconds) {
        return bad(format!("seconds are 0.1 to {SECONDS_MAX}; indrik profile takes longer ones"));
    }
    let Ok(place) = Arc::clone(&context.profiles).try_acquire_owned() else {
        return Answer::later(StatusCode::SERVICE_UNAVAILABLE, "a profile is under way already", 5);
    };
    let made = tokio::task::spawn_blocking(move || {
        let _place = place;
        make(&sent)
    });
    match made.await {
        Ok(Ok(made)) => Answer::json(&made),
        Ok(Err((what, hint))) => Answer::error(StatusCode::CONFLICT, &what, &hint),
        Err(_) => bad("the profile failed"),
    }
}

fn make(sent: &Sent) -> Result<Json, (String, String)> {
    let who = sent.worker.map_or_else(|| "all".to_owned(), |pid| pid.to_string());
    let seconds = sent.seconds.to_string();
    let mut words = vec!["profile", &who, &seconds, RATE, &sent.of];
    words.extend(sent.route.as_deref());
    let wrong = |trouble: crate::control::client::Trouble| (trouble.what, trouble.hint);
    let mut connection = Connection::open(&Target::Pid(std::process::id())).map_err(wrong)?;
    connection.call_with(&words).map_err(wrong)
}
