//! What a start needs from the outside: listening sockets, the pid file, users, control groups, what the process
//! that started this one passed on. Every failure is one line that says what, where, and what to do.

mod error;
mod groups;
mod identity;
mod inheritance;
mod listen;
mod notify;
mod pid_file;
pub(crate) mod word;

pub use error::BootError;
pub use groups::Groups;
pub use identity::Identity;
pub(crate) use inheritance::{
    ADMIN_VARIABLE, ALERTS_VARIABLE, HISTORY_VARIABLE, MAINTENANCE, OWN_VARIABLES,
};
pub use inheritance::{Inheritance, Partner, SystemdSocket};
pub use listen::{BoundSocket, Manner, SocketFile, bind, take_over};
pub(crate) use listen::{connects, could_bind, resolve};
pub use notify::ServiceManager;
pub(crate) use notify::WATCHDOG_PID;
pub use pid_file::{PidFile, check_kind as check_pid_file};
