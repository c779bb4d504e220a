//! What a start needs from the outside: listening sockets and the pid file. Every failure is one
//! line that says what, where, and what to do.

mod listen;
mod pid_file;

pub use listen::{BoundSocket, SocketFile, bind};
pub use pid_file::PidFile;

use std::fmt;

/// Why the server cannot start here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootError {
    /// What failed and where.
    pub message: String,
    /// What to do about it.
    pub hint: &'static str,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.hint)
    }
}
