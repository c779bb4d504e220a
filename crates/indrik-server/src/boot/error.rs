//! Why the server cannot start here.

use std::fmt;

use indrik_core::supervise::{Failure, FailureKind};

/// Why the server cannot start here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootError {
    /// What failed and where.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
    /// Somebody else has the address; that may change.
    pub in_use: bool,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.hint)
    }
}

impl BootError {
    /// As a failure of the start, for the supervisor.
    pub(crate) fn failure(self, kind: FailureKind) -> Failure {
        let hint = self.hint.to_owned();
        Failure { kind, message: self.message, hint, traceback: String::new() }
    }
}
