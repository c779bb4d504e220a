//! What the admin listener answers with.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Value as Json, json};

use super::body::Body;

const JSON: &str = "application/json";
/// Nothing is loaded from anywhere, and nobody frames it. Pages that need more say so.
const POLICY: &str =
    "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    pub(crate) body: Body,
    pub(crate) more: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// A value.
    pub(crate) fn json(value: &Json) -> Self {
        Self::of(JSON, format!("{value}\n"))
    }

    /// A text of this type.
    pub(crate) fn of(content_type: &'static str, text: impl Into<Bytes>) -> Self {
        let body = Body::full(text.into());
        Self { status: StatusCode::OK, content_type, body, more: Vec::new() }
    }

    /// The same with another status.
    pub(crate) fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }

    /// The same with a header.
    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.more.push((name, value));
        self
    }

    /// What went wrong, and what to do about it.
    pub(crate) fn error(status: StatusCode, what: &str, hint: &str) -> Self {
        let mut error = json!({"status": status.as_u16(), "error": what});
        if !hint.is_empty() {
            error["hint"] = hint.into();
        }
        Self::json(&error).with_status(status)
    }

    /// What went wrong for now: to be tried again after so many seconds.
    pub(crate) fn later(status: StatusCode, what: &str, seconds: u64) -> Self {
        Self::error(status, what, "try again later").with(RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// What an answer that is no stream says.
    pub(crate) fn text(self) -> Vec<u8> {
        match self.body {
            Body::Full(bytes) => bytes.unwrap_or_default().into(),
            Body::Events(_) => Vec::new(),
        }
    }

    /// As it is sent.
    pub(crate) fn into_response(self) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        for (name, value) in self.more {
            headers.insert(name, value);
        }
        response
    }
}

/// The answer to a request that cannot be understood.
pub(crate) fn bad(why: impl AsRef<str>) -> Answer {
    Answer::error(StatusCode::BAD_REQUEST, why.as_ref(), "")
}
