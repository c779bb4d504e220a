//! How much a message matters.

/// How much a line of the log matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For developers.
    Debug,
    /// What happens as a matter of course, in Gunicorn's words mostly: each start and end of a worker, signals.
    Routine,
    /// What the server has come to: it serves, another generation serves, it ends.
    Info,
    /// Something to look at some day.
    Warning,
    /// Something failed.
    Error,
    /// Somebody should get up.
    Critical,
}

impl Level {
    /// The level's name, as Python's `logging` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            // Gunicorn's level for it, which whoever asks for it looks for.
            Self::Routine | Self::Info => "INFO",
            Self::Warning => "WARNING",
            Self::Error => "ERROR",
            Self::Critical => "CRITICAL",
        }
    }
}
