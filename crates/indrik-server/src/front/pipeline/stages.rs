//! What stands between a checked head and the workers: the list of stages that the settings ask for.
//!
//! Each stage answers the request or lets it go on. Without stages a request pays one branch.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use indrik_core::route::Probe;

use crate::front::context::RequestContext;
use crate::front::response::Body;
use crate::front::settings::Stage;

/// What a stage makes of a request.
pub(super) enum Verdict {
    /// It is the next stage's, and in the end a worker's.
    GoOn,
    /// This is the answer.
    Answer(Box<Response<Body>>),
    /// A scraper is to be answered, which takes a moment.
    Scrape,
}

/// Runs the stages in order, up to the first that answers.
pub(super) fn run(context: &RequestContext, parts: &Parts) -> Verdict {
    for stage in &context.settings.stages {
        if context.notes.probe == Some(Probe::Metrics) {
            return Verdict::Scrape;
        }
        let answer = match stage {
            Stage::Probes => probe(context, parts),
        };
        if let Some(answer) = answer {
            return Verdict::Answer(Box::new(answer));
        }
    }
    Verdict::GoOn
}

/// The answer to a request for one of the probes' paths.
fn probe(context: &RequestContext, parts: &Parts) -> Option<Response<Body>> {
    let probe = context.notes.probe?;
    let standing = context.services().standing.load();
    let good = match probe {
        Probe::Readiness => standing.ready,
        Probe::Liveness => standing.live,
        Probe::Metrics => return None,
    };
    if let Some(response) = other_method(parts) {
        return Some(response);
    }
    let mut response = Response::new(Body::full(Bytes::from(format!("{}\n", standing.line))));
    if !good {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Some(response)
}

/// The answer to a request that is neither GET nor HEAD, for what is asked with these.
pub(super) fn other_method(parts: &Parts) -> Option<Response<Body>> {
    if parts.method == Method::GET || parts.method == Method::HEAD {
        return None;
    }
    let mut response = Response::new(Body::full(Bytes::new()));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    Some(response)
}
