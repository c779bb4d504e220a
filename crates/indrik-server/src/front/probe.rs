//! Probes: two paths that tell load balancers and orchestrators how the server stands. The front answers
//! them by itself, so they wait in no queue and take no worker.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};
use indrik_core::settings::Config;

use super::response::Body;

/// How the server stands, as the supervisor sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Traffic is welcome.
    pub ready: bool,
    /// The server need not be started anew.
    pub live: bool,
    /// The same in a line of JSON, with more.
    pub line: String,
}

/// The paths.
#[derive(Debug)]
pub(super) struct Probes {
    liveness: Option<String>,
    readiness: Option<String>,
}

impl Probes {
    /// `None`: no path is set, so that no request has to be looked at.
    pub(super) fn new(config: &Config) -> Option<Box<Self>> {
        let (liveness, readiness) = (config.liveness_path.clone(), config.readiness_path.clone());
        (liveness.is_some() || readiness.is_some()).then(|| Box::new(Self { liveness, readiness }))
    }

    /// The answer to a request for one of the paths.
    pub(super) fn answer(&self, parts: &Parts, standing: &Standing) -> Option<Response<Body>> {
        let path = Some(parts.uri.path());
        let good = if self.readiness.as_deref() == path {
            standing.ready
        } else if self.liveness.as_deref() == path {
            standing.live
        } else {
            return None;
        };
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let mut response = Response::new(Body::full(Bytes::new()));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
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
}
