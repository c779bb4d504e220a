//! Answers that the front gives itself.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use indrik_core::supervise::Level;

use super::request::Client;
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
    /// The worker's process that failed; 0: the front refuses by itself.
    pub(super) worker_pid: u32,
}

impl Refusal {
    /// The request is wrong; the connection is closed.
    pub(super) const fn bad(status: StatusCode, message: &'static str) -> Self {
        Self { status, message, close: true, worker_pid: 0 }
    }

    /// The request could not be served; the connection stays.
    pub(super) const fn failed(status: StatusCode, message: &'static str) -> Self {
        Self { status, message, close: false, worker_pid: 0 }
    }

    /// Says in the log, as Gunicorn does, that a request was invalid.
    pub(super) fn log(self, client: &Client) {
        if self.status.is_client_error() {
            let text = format!("Invalid request from ip={}: {}", client.address, self.message);
            client.shared.log.write(Level::Warning, &text);
        }
    }

    /// The answer: a small page, as Gunicorn gives.
    pub(super) fn into_response(self) -> Response<Body> {
        let body = Body::full(Bytes::from(self.page())).answered_by(self.worker_pid);
        let mut response = Response::new(body);
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

    /// The same, for what never became a request of hyper's.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let page = self.page();
        format!(
            "HTTP/1.1 {} {}\r\nConnection: close\r\nContent-Type: text/html; charset=utf-8\r\n\
             Content-Length: {}\r\n\r\n{page}",
            self.status.as_u16(),
            self.reason(),
            page.len()
        )
        .into_bytes()
    }

    fn reason(self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    fn page(self) -> String {
        let reason = self.reason();
        format!(
            "<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n    \
             <h1><p>{reason}</p></h1>\n    {}\n  </body>\n</html>\n",
            self.message
        )
    }
}
