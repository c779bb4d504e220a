//! Who may have something to say to the supervision loop, and listening for it.
//!
//! Whoever has something to listen to says so in a registry, which is made anew for every turn; what
//! has spoken is handed on by its source, in the order of the registry: messages before ends, as a
//! process's last words explain its end.

use std::io;
use std::os::fd::BorrowedFd;

use indrik_core::ids::{Generation, WorkerId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::control::Token;

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Worker(WorkerId),
    Zygote(Generation),
    /// The zygote that a refork has replaced.
    OldZygote,
    /// The new server beside this one.
    Successor,
}

/// Who has something to say.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source {
    Signals,
    Zygote(Generation),
    Worker(WorkerId),
    /// A process of ours has ended.
    Ended(Role),
    /// The front, or a log's writer.
    Bell,
    Control(Token),
    /// What the successor says.
    SuccessorWords,
    /// The old server beside this one has ended.
    Predecessor,
}

/// Who is listened to in this turn.
#[derive(Default)]
pub(crate) struct Registry<'a> {
    sources: Vec<Source>,
    fds: Vec<PollFd<'a>>,
}

impl<'a> Registry<'a> {
    /// Listens for something to read.
    pub(crate) fn add(&mut self, source: Source, fd: BorrowedFd<'a>) {
        self.add_for(source, fd, PollFlags::IN);
    }

    pub(crate) fn add_for(&mut self, source: Source, fd: BorrowedFd<'a>, flags: PollFlags) {
        self.sources.push(source);
        self.fds.push(PollFd::from_borrowed_fd(fd, flags));
    }

    /// Sleeps until one of them has something to say, or the time has come.
    pub(crate) fn wait(mut self, timeout: Option<&Timespec>) -> io::Result<Vec<Source>> {
        match poll(&mut self.fds, timeout) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let spoke = self.sources.into_iter().zip(&self.fds);
        Ok(spoke.filter(|(_, fd)| !fd.revents().is_empty()).map(|(source, _)| source).collect())
    }
}
