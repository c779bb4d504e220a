//! Answers that the front gives itself.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use super::response::Body;

/// Seconds after which a client that was refused may try again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

/// Why the front answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// What was wrong, for the client.
    pub(super) message: &'static str,
    /// Whether the connection must be closed: the next request's start is not certain, or the body
    /// was not read.
    pub(super) close: bool,
}

impl Refusal {
    /// The request is wrong; the connection is closed.
    pub(super) const fn bad(status: StatusCode, message: &'static str) -> Self {
        Self { status, message, close: true }
    }

    /// The request could not be served; the connection stays.
    pub(super) const fn failed(status: StatusCode, message: &'static str) -> Self {
        Self { status, message, close: false }
    }

    /// The answer: a small page, as Gunicorn gives.
    pub(super) fn into_response(self) -> Response<Body> {
        let reason = self.status.canonical_reason().unwrap_or("Error");
        let page = format!(
            "<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n    \
             <h1><p>{reason}</p></h1>\n    {}\n  </body>\n</html>\n",
            self.message
        );
        let mut response = Response::new(Body::full(Bytes::from(page)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        response
    }
}
