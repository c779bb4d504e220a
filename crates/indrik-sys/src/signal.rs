//! Signals by their names: numbers stand here and nowhere else.

use std::fmt;

/// A signal, as the kernel counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Signal(i32);

impl Signal {
    /// A terminal has gone; to servers: read the configuration again.
    pub const HUP: Self = Self(libc::SIGHUP);
    /// The key that interrupts.
    pub const INT: Self = Self(libc::SIGINT);
    /// The key that ends at once.
    pub const QUIT: Self = Self(libc::SIGQUIT);
    /// Abort.
    pub const ABRT: Self = Self(libc::SIGABRT);
    /// Cannot be caught.
    pub const KILL: Self = Self(libc::SIGKILL);
    /// For the program to define.
    pub const USR1: Self = Self(libc::SIGUSR1);
    /// For the program to define.
    pub const USR2: Self = Self(libc::SIGUSR2);
    /// Please end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// Linux never sends it.
    pub const STKFLT: Self = Self(libc::SIGSTKFLT);
    /// A child has ended.
    pub const CHLD: Self = Self(libc::SIGCHLD);
    /// A process in the background reads from its terminal.
    pub const TTIN: Self = Self(libc::SIGTTIN);
    /// A process in the background writes to its terminal.
    pub const TTOU: Self = Self(libc::SIGTTOU);
    /// Urgent data; ignored where nobody asks for it.
    pub const URG: Self = Self(libc::SIGURG);
    /// The terminal asks to stop.
    pub const TSTP: Self = Self(libc::SIGTSTP);
    /// A terminal has another size.
    pub const WINCH: Self = Self(libc::SIGWINCH);

    /// The signal with this number.
    #[must_use]
    pub const fn from_number(number: i32) -> Self {
        Self(number)
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
