//! What is told of a request at its end, beside its line in the access log.

use http::StatusCode;
use indrik_core::trace::span::{Answered, Phases};

use super::slow::Watching;
use super::span::OpenSpan;

/// Whatever follows a request to its end.
pub(crate) struct Trail {
    pub(crate) span: Option<OpenSpan>,
    /// It is told of when it takes too long.
    pub(crate) slow: Option<Watching>,
}

impl Trail {
    /// The request is over now.
    pub(crate) fn over(&self, phases: &Phases, answered: impl Fn() -> Answered, status: u16) {
        if let Some(slow) = &self.slow
            && status != StatusCode::SWITCHING_PROTOCOLS
        {
            slow.over(status, answered().pid, phases);
        }
        if let Some(span) = &self.span {
            span.over(status, phases, answered);
        }
    }

    /// It has become something that may last as long as it likes.
    pub(crate) fn lasts(&mut self) {
        self.slow = None;
    }
}
