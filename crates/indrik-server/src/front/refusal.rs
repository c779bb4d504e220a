//! Refusals: what the front answers itself when a request cannot be served.

use std::time::SystemTime;

use http::StatusCode;
use indrik_core::logs::level::Level;
use indrik_core::refusal::Reason;
use indrik_core::time::Micros;

use super::peer::Peer;
use super::served::Served;
use crate::log::Log;

/// What a client is told whose request found no worker at all.
pub(super) const NO_WORKER: &str = "no worker was ready in time";

/// Why the front answers itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    /// What it counts as.
    pub(super) reason: Reason,
    /// What was wrong, for the client.
    pub(super) message: &'static str,
    /// Whether the connection must be closed: the next request's start is not certain, or the body
    /// was not read.
    pub(super) close: bool,
    /// The worker that failed, if one had it.
    pub(super) served: Served,
}

impl Refusal {
    /// No channel to a worker takes it. (Bodies that are too large for one go another way.)
    pub(super) const HEAD_TOO_LARGE: Self = Self::failed(
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        "the request's head is larger than a worker can be given",
    );

    /// It was in two workers that ended.
    pub(super) const POISON: Self = Self::unserved(
        Reason::Poison,
        "the request was in two workers that ended; it is not run again",
    );

    /// Its head did not come to its end.
    pub(super) const LATE_HEAD: Self = Self {
        reason: Reason::HeadTimeout,
        ..Self::bad(StatusCode::REQUEST_TIMEOUT, "the head did not arrive in time")
    };

    /// The request is wrong; the connection is closed.
    pub(super) const fn bad(status: StatusCode, message: &'static str) -> Self {
        Self { close: true, ..Self::failed(status, message) }
    }

    /// The request could not be served; the connection stays.
    pub(super) const fn failed(status: StatusCode, message: &'static str) -> Self {
        let reason = Reason::of_status(status.as_u16());
        Self { status, reason, message, close: false, served: Served::NOBODY }
    }

    /// Nothing is wrong with the request, but it is not run; the connection stays.
    pub(super) const fn unserved(reason: Reason, message: &'static str) -> Self {
        Self { reason, ..Self::failed(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// Notes who had it, and for how long.
    pub(super) const fn of(self, served: Served) -> Self {
        Self { served, ..self }
    }

    /// Notes how long it waited for nothing.
    pub(super) fn after_waiting(self, waited: Micros) -> Self {
        self.of(Served::nobody_after(waited))
    }

    /// Says in the log that the request was invalid, if it was.
    pub(super) fn log(self, log: &Log, peer: &Peer) {
        if self.status.is_client_error() {
            log_invalid(log, &peer.address, self.message);
        }
    }

    /// Head and page as bytes, for what never became a request of hyper's; the head as hyper writes it.
    pub(super) fn into_bytes(self) -> (Vec<u8>, Vec<u8>) {
        let page = self.page();
        let head = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: text/html; charset=utf-8\r\nconnection: close\r\n\
             content-length: {}\r\ndate: {}\r\n\r\n",
            self.status.as_u16(),
            self.reason(),
            page.len(),
            httpdate::fmt_http_date(SystemTime::now()),
        );
        (head.into_bytes(), page.into_bytes())
    }

    fn reason(self) -> &'static str {
        self.status.canonical_reason().unwrap_or("Error")
    }

    pub(super) fn page(self) -> String {
        let reason = self.reason();
        format!(
            "<html>\n  <head>\n    <title>{reason}</title>\n  </head>\n  <body>\n    \
             <h1><p>{reason}</p></h1>\n    {}\n  </body>\n</html>\n",
            self.message
        )
    }
}

/// Says in the log, as Gunicorn does, that a request was invalid.
pub(super) fn log_invalid(log: &Log, address: &str, why: &str) {
    log.write(Level::Warning, &format!("Invalid request from ip={address}: {why}"));
}
