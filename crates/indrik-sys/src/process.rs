//! Children: hearing of their end, ending them, and making sure that none is left behind.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, WaitOptions};

use crate::signal::Signal;

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Code(i32),
    /// It was ended by this signal.
    Signal(i32),
}

/// A child that can be signalled without the danger of hitting another process with its number.
#[derive(Debug)]
pub struct Child {
    pid: u32,
    fd: OwnedFd,
}

impl Child {
    /// Takes hold of a child that has not been reaped.
    ///
    /// # Errors
    /// `NotFound`-like system errors when there is no such process.
    pub fn open(pid: u32) -> io::Result<Self> {
        let fd = rustix::process::pidfd_open(to_pid(pid)?, PidfdFlags::empty())?;
        Ok(Self { pid, fd })
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal. To a process that has ended it does nothing.
    ///
    /// # Errors
    /// When it is no signal or the kernel refuses.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let signal = rustix::process::Signal::from_named_raw(signal.number())
            .ok_or(io::ErrorKind::InvalidInput)?;
        match rustix::process::pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Kills all processes of its process group, which it leads. Until it is reaped nobody else has that number.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn kill_group(&self) -> io::Result<()> {
        match rustix::process::kill_process_group(to_pid(self.pid)?, rustix::process::Signal::KILL)
        {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reaps it, if it has ended.
    ///
    /// # Errors
    /// When it is not this process's child (any more).
    pub fn reap(&self) -> io::Result<Option<End>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let status = rustix::io::retry_on_intr(|| {
            rustix::process::waitid(WaitId::PidFd(self.fd.as_fd()), options)
        })?;
        Ok(status.and_then(|status| {
            let code = status.exit_status().map(End::Code);
            code.or_else(|| status.terminating_signal().map(End::Signal))
        }))
    }
}

/// Readable when the process has ended.
impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Child {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Takes over a descriptor that this process inherited under a known number for itself alone: the
/// number is free afterwards.
///
/// # Errors
/// When nothing is open under the number.
pub fn inherited_alone(number: i32) -> io::Result<OwnedFd> {
    let copy = inherited(number)?;
    // SAFETY: the number is open, and whoever passed it meant it for this process's one taker.
    unsafe { libc::close(number) };
    Ok(copy)
}

/// The number of the process that started this one.
#[must_use]
pub fn parent() -> u32 {
    rustix::process::getppid().map_or(0, |pid| pid.as_raw_pid().unsigned_abs())
}

/// A process that is watched, not owned: readable when it has ended.
///
/// # Errors
/// When there is no such process.
pub fn watch(pid: u32) -> io::Result<OwnedFd> {
    Ok(rustix::process::pidfd_open(to_pid(pid)?, PidfdFlags::empty())?)
}

/// Asks the kernel to kill this process when its parent dies, and fails if the parent is not (or
/// no longer) the one given.
///
/// # Errors
/// When the parent has died already.
pub fn die_with_parent(parent: u32) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let now = rustix::process::getppid().map_or(0, |pid| pid.as_raw_pid().unsigned_abs());
    if now == parent { Ok(()) } else { Err(io::Error::other("the parent process has ended")) }
}

/// Makes this process the parent of its descendants' orphans.
///
/// # Errors
/// On kernels before 3.4.
pub fn become_subreaper() -> io::Result<()> {
    // The argument is only a flag; rustix spells it as an optional pid.
    rustix::process::set_child_subreaper(Some(Pid::INIT))?;
    Ok(())
}

/// A child that has ended and was not reaped, whichever it is. Until it is reaped its number is not
/// given to another process.
#[must_use]
pub fn ended_child() -> Option<u32> {
    // SAFETY: siginfo_t is plain data; all zero is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is a live, writable siginfo_t.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, options) };
    if result != 0 {
        return None;
    }
    // SAFETY: waitid succeeded, so the field is what it has written, or the zero from above.
    let pid = unsafe { info.si_pid() };
    u32::try_from(pid).ok().filter(|pid| *pid != 0)
}

/// Reaps a child that has ended and is of no interest.
pub fn reap_orphan(pid: u32) {
    if let Ok(pid) = to_pid(pid) {
        // One that has gone meanwhile needs no reaping.
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
}

/// Whether a process with this number runs. One that has ended and waits to be reaped does not.
#[must_use]
pub fn is_alive(pid: u32) -> bool {
    let Ok(number) = to_pid(pid) else { return false };
    // Not being allowed to signal it means that it is there.
    if matches!(rustix::process::test_kill_process(number), Err(rustix::io::Errno::SRCH)) {
        return false;
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes().first().copied());
    !matches!(state, Some(Some(b'Z' | b'X')))
}

/// Takes over a descriptor that this process inherited under a known number.
///
/// The number itself is left open, marked to be closed in children: the result is a copy.
///
/// # Errors
/// When nothing is open under the number.
pub fn inherited(number: i32) -> io::Result<OwnedFd> {
    // SAFETY: fcntl with this command reads no memory; a number that is not open is an error.
    let copy = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    if copy < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: as above.
    unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    // SAFETY: the copy is fresh and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

/// Marks what this process inherited under these numbers: what it starts from now on does not inherit it again.
/// Numbers under which nothing is open are passed over.
pub fn keep_from_children(numbers: impl IntoIterator<Item = i32>) {
    for number in numbers {
        // SAFETY: fcntl with this command reads no memory; a number that is not open is an error.
        unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

fn to_pid(pid: u32) -> io::Result<Pid> {
    let raw = i32::try_from(pid).ok().and_then(Pid::from_raw);
    raw.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{pid} is no process number"))
    })
}

/// Ends this process at once, without what was registered to be run at its end: in a forked child that is
/// its parent's.
pub fn end_now(code: i32) -> ! {
    // SAFETY: nothing of this process is used afterwards.
    unsafe { libc::_exit(code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started() -> Child {
        Child::open(std::process::Command::new("true").spawn().unwrap().id()).unwrap()
    }

    #[test]
    fn this_process_is_alive_and_number_zero_is_not() {
        assert!(is_alive(std::process::id()));
        assert!(!is_alive(0));
    }

    #[test]
    fn a_child_that_has_ended_is_not_alive_before_it_is_reaped() {
        let child = started();
        let mut fds = [rustix::event::PollFd::new(&child, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
        assert!(!is_alive(child.pid()));
        assert_eq!(child.reap().unwrap(), Some(End::Code(0)));
    }

    #[test]
    fn an_ended_child_is_seen_until_it_is_reaped() {
        let child = started();
        let mut fds = [rustix::event::PollFd::new(&child, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
        // Other tests of this process may have children that ended too.
        assert!(ended_child().is_some());
        reap_orphan(child.pid());
        assert!(child.reap().is_err());
    }
}
