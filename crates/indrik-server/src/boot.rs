//! What a start needs from the outside: listening sockets, the pid file, users, control groups, what the process
//! that started this one passed on. Every failure is one line that says what, where, and what to do.

mod groups;
mod identity;
mod inheritance;
mod listen;
mod notify;
mod pid_file;
pub(crate) mod word;

pub use groups::Groups;
pub use identity::Identity;
pub(crate) use inheritance::OWN_VARIABLES;
pub use inheritance::{Inheritance, Partner, SystemdSocket};
pub use listen::{BoundSocket, Manner, SocketFile, bind, take_over};
pub(crate) use listen::{connects, resolve};
pub use notify::ServiceManager;
pub(crate) use notify::WATCHDOG_PID;
pub use pid_file::PidFile;

use std::fmt;

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
