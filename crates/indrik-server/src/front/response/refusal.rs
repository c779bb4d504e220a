//! Refusals as responses.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response};

use super::body::Body;
use crate::front::refusal::Refusal;

/// Seconds after which a client that was refused may try again.
const RETRY_AFTER_S: HeaderValue = HeaderValue::from_static("1");

impl Refusal {
    /// The answer: a small page, as Gunicorn gives.
    pub(crate) fn into_response(self) -> Response<Body> {
        let body = Body::full(Bytes::from(self.page())).answered_by(self.served);
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        if self.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.reason.may_come_again() {
            headers.insert(RETRY_AFTER, RETRY_AFTER_S);
        }
        response
    }
}
