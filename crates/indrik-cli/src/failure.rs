//! Why the command gives up.

use indrik_core::settings::Problem;
use indrik_core::supervise;

/// Why the command gives up, and its exit code.
pub(crate) struct Failure {
    pub(crate) problems: Vec<Problem>,
    pub(crate) exit_code: i32,
    /// How Python code failed; empty if none did.
    pub(crate) traceback: String,
}

impl From<supervise::Failure> for Failure {
    fn from(failure: supervise::Failure) -> Self {
        let hint = Some(failure.hint).filter(|hint| !hint.is_empty());
        let problem = Problem { what: failure.message, place: None, hint };
        Self { traceback: failure.traceback, ..Self::settings(vec![problem]) }
    }
}

impl Failure {
    /// The command line cannot be understood.
    pub(crate) fn usage(problem: Problem) -> Self {
        Self { problems: vec![problem], exit_code: 2, traceback: String::new() }
    }

    /// What was asked for cannot be done.
    pub(crate) fn settings(problems: Vec<Problem>) -> Self {
        Self { problems, exit_code: 1, traceback: String::new() }
    }
}
