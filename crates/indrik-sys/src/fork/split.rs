//! What both ways to fork twice come to.

use std::io;

/// Where a split leaves its caller, before the process in between is reaped.
pub(super) enum Split {
    Worker,
    /// `worker` is the process number, or why there is none.
    Zygote {
        between: libc::pid_t,
        worker: io::Result<u32>,
    },
}
