//! The one place where the supervision loop sleeps.

use std::io;
use std::os::fd::AsFd;
use std::time::Instant;

use indrik_core::ids::{Generation, WorkerId};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Drive;
use crate::control::Token;

/// Who has something to say.
#[derive(Debug, Default)]
pub(super) struct Woken {
    pub(super) signals: bool,
    pub(super) bell: bool,
    pub(super) predecessor: bool,
    /// The successor's.
    pub(super) words: bool,
    pub(super) zygotes: Vec<Generation>,
    pub(super) workers: Vec<WorkerId>,
    pub(super) control: Vec<Token>,
}

impl Drive {
    /// Sleeps until somebody has something to say or the supervisor's next moment has come.
    pub(super) fn wait(&self) -> io::Result<Woken> {
        let zygotes: Vec<_> = self.zygotes.iter().collect();
        let workers: Vec<_> =
            self.workers.iter().filter(|(_, worker)| worker.control_open).collect();
        let control = self.control.server.watched();
        let mut fds = Vec::with_capacity(4 + zygotes.len() + workers.len() + control.len());
        let mut watch = |fd| fds.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
        watch(self.signals.as_fd());
        watch(self.bell.as_fd());
        self.predecessor.iter().for_each(|fd| watch(fd.as_fd()));
        let words = self.successor_words.watched();
        words.into_iter().for_each(&mut watch);
        zygotes.iter().for_each(|(_, zygote)| watch(zygote.socket.as_fd()));
        workers.iter().for_each(|(_, worker)| watch(worker.control.as_fd()));
        fds.extend(control.iter().map(|(_, fd, flags)| PollFd::from_borrowed_fd(*fd, *flags)));
        let timeout = self.time_to_sleep();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut spoke = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut next = || spoke.next().unwrap_or(false);
        let (signals, bell) = (next(), next());
        let predecessor = self.predecessor.is_some() && next();
        let words = words.is_some() && next();
        Ok(Woken {
            signals,
            bell,
            predecessor,
            words,
            zygotes: zygotes.iter().filter(|_| next()).map(|(id, _)| **id).collect(),
            workers: workers.iter().filter(|_| next()).map(|(id, _)| **id).collect(),
            control: control.iter().filter(|_| next()).map(|(token, ..)| *token).collect(),
        })
    }

    fn time_to_sleep(&self) -> Option<Timespec> {
        let heartbeats = self.watches_heartbeats().then_some(self.heartbeats_due);
        let machine = self.machine.poll_timeout().map(|at| self.started + at);
        let control = self.control.server.deadline();
        let mut moments = vec![heartbeats, machine, control, self.watchdog_due];
        moments.extend([self.backlog_due(), self.memory_due(), self.asked.due(), self.count_due()]);
        let next = moments.into_iter().flatten().min()?;
        let left = next.saturating_duration_since(Instant::now());
        // Rounded up: waking a moment early would only mean going round once more.
        Timespec::try_from(left + std::time::Duration::from_micros(50)).ok()
    }
}
