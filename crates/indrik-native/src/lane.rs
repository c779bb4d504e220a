//! The worker's end of its lane: what it has to say to the front that is no request.
//!
//! Any thread may use it, and waits for the answer for a while only, with the GIL released. No answer to a
//! request ever depends on it: a lane that is gone says nothing and costs nothing.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indrik_core::lane::Allowance;
use indrik_ring::{KeptFd, LANE_MESSAGE_BYTES_MAX, LaneAnswer, LaneAsk};
use parking_lot::Mutex;
use pyo3::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags};

/// The worker's end.
pub(crate) struct Lane {
    socket: KeptFd,
    /// One call at a time; the next number is kept here.
    calls: Mutex<Calls>,
    began: Instant,
    /// The front has closed it, or the application did.
    is_lost: AtomicBool,
}

struct Calls {
    number: u64,
    allowance: Allowance,
    /// For answers; made with the first call.
    buffer: Vec<u8>,
}

impl Lane {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket: socket.into(),
            calls: Mutex::new(Calls {
                number: 0,
                allowance: Allowance::of_worker(0),
                buffer: Vec::new(),
            }),
            began: Instant::now(),
            is_lost: AtomicBool::new(false),
        }
    }

    /// Asks, and waits for the answer at most `limit`. None: there is none.
    pub(crate) fn call(
        &self,
        py: Python<'_>,
        ask: &LaneAsk<'_>,
        limit: Duration,
    ) -> Option<LaneAnswer> {
        py.detach(|| self.call_detached(ask, Instant::now() + limit))
    }

    fn call_detached(&self, ask: &LaneAsk<'_>, until: Instant) -> Option<LaneAnswer> {
        let mut calls = self.calls.try_lock_until(until)?;
        calls.number += 1;
        let number = calls.number;
        let message = ask.encode(number);
        // Taken once, however often the message is tried. What is not sent is not waited for.
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        if !calls.allowance.take(message.len(), now) {
            return None;
        }
        loop {
            match self.push(&message) {
                Push::Sent => break,
                Push::Full => self.wait(PollFlags::OUT, until)?,
                Push::Lost => return None,
            }
        }
        calls.buffer.resize(LANE_MESSAGE_BYTES_MAX, 0);
        while !self.is_lost.load(Ordering::Relaxed) {
            let socket = self.ours()?;
            match rustix::net::recv(socket, calls.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok((_, 0)) => self.lose(),
                Ok((_, len)) => match LaneAnswer::decode(&calls.buffer[..len]) {
                    Ok((of, answer)) if of == number => return Some(answer),
                    // To a call that had not waited so long.
                    Ok(_) => {}
                    Err(_) => self.lose(),
                },
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, until)?,
                Err(Errno::INTR) => {}
                Err(_) => self.lose(),
            }
        }
        None
    }

    fn push(&self, message: &[u8]) -> Push {
        if self.is_lost.load(Ordering::Relaxed) {
            return Push::Lost;
        }
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let Some(socket) = self.ours() else { return Push::Lost };
        match rustix::io::retry_on_intr(|| rustix::net::send(socket, message, flags)) {
            Ok(_) => Push::Sent,
            Err(Errno::AGAIN | Errno::NOBUFS) => Push::Full,
            Err(_) => {
                self.lose();
                Push::Lost
            }
        }
    }

    /// The socket. None: the application closed it, and may have one of its own under the number by now.
    fn ours(&self) -> Option<BorrowedFd<'_>> {
        let socket = self.socket.ours();
        if socket.is_none() {
            self.lose();
        }
        socket
    }

    fn lose(&self) {
        self.is_lost.store(true, Ordering::Relaxed);
    }

    /// None: the time is over.
    fn wait(&self, what: PollFlags, until: Instant) -> Option<()> {
        let left = until.checked_duration_since(Instant::now())?;
        let left = Timespec::try_from(left).ok()?;
        let socket = self.ours()?;
        let mut fds = [PollFd::new(&socket, what)];
        match poll(&mut fds, Some(&left)) {
            Ok(0) => None,
            Ok(_) | Err(Errno::INTR) => Some(()),
            Err(_) => {
                self.lose();
                None
            }
        }
    }
}

impl AsFd for Lane {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What became of a message.
enum Push {
    Sent,
    /// There is no room now.
    Full,
    /// The lane is gone.
    Lost,
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsRawFd, FromRawFd};

    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;

    const ASK: LaneAsk<'static> = LaneAsk::Route("/a");

    /// A lane, and the front's end of it, where nobody answers.
    fn silent() -> (Lane, OwnedFd) {
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (ours, theirs) = socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        (Lane::new(ours), theirs)
    }

    fn is_empty(front: &OwnedFd) -> bool {
        let received = rustix::net::recv(front, &mut [0; 64][..], RecvFlags::DONTWAIT);
        received.err() == Some(Errno::AGAIN)
    }

    #[test]
    fn a_lane_never_reaches_a_socket_that_has_got_its_number() {
        let (lane, _front) = silent();
        let (family, kind) = (AddressFamily::UNIX, SocketType::SEQPACKET);
        let (theirs, other) = socketpair(family, kind, SocketFlags::CLOEXEC, None).unwrap();
        // SAFETY: only to name the number; it is not closed with this.
        let number = unsafe { OwnedFd::from_raw_fd(lane.as_fd().as_raw_fd()) };
        let mut number = std::mem::ManuallyDrop::new(number);
        rustix::io::dup2(&theirs, &mut number).unwrap();
        rustix::net::send(&other, b"for the application", SendFlags::empty()).unwrap();
        assert_eq!(lane.call_detached(&ASK, Instant::now() + Duration::from_secs(60)), None);
        assert!(is_empty(&other));
        assert!(!is_empty(&theirs), "what was sent to the application is still there");
    }

    /// Waits for ever if it waits.
    #[test]
    fn a_call_beyond_the_allowance_says_nothing_and_waits_for_nothing() {
        let (lane, front) = silent();
        // What is used up at the end of time does not come back before.
        while lane.calls.lock().allowance.take(16, u64::MAX) {}
        let until = Instant::now() + Duration::from_secs(24 * 60 * 60);
        assert_eq!(lane.call_detached(&ASK, until), None);
        assert!(is_empty(&front));
        assert!(!lane.is_lost.load(Ordering::Relaxed), "it may speak again later");
    }
}
