//! What a new server says to the old one whose place it is to take: that it is on its way, that it serves, or what
//! went wrong.
//!
//! Over a socket that it inherits. Gunicorn knows nothing of it: as an old server it passes none, as a
//! new one it says nothing.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{env, io};

use indrik_sys::packets::{PacketSocket, Received};

/// Names the descriptor of the new server's end.
pub(crate) const VARIABLE: &str = "INDRIK_UPGRADE_FD";
/// Bytes of one word; what is longer is cut.
const WORD_BYTES_MAX: usize = 32 * 1024;
/// Bytes of all that went wrong; more is not kept.
const TEXT_BYTES_MAX: usize = 256 * 1024;
/// Words that are taken at once; the rest wait in the socket. Those of a server that has ended are fewer.
const WORDS_AT_ONCE_MAX: usize = 1024;

/// The first byte of a word.
const LIVES: u8 = b'.';
const SERVES: u8 = b'+';
const WRONG: u8 = b'-';

/// The new server's end, if this process is one.
static OURS: OnceLock<Option<PacketSocket>> = OnceLock::new();
static SERVING: AtomicBool = AtomicBool::new(false);

fn ours() -> Option<&'static PacketSocket> {
    let open = || {
        let fd = indrik_sys::process::inherited_alone(env::var(VARIABLE).ok()?.parse().ok()?);
        let fd = fd.ok()?;
        // An old server that stands still is not to hold this one up.
        rustix::io::ioctl_fionbio(&fd, true).ok()?;
        Some(PacketSocket::from_fd(fd))
    };
    OURS.get_or_init(open).as_ref()
}

/// This server is on its way. Returns whether there is a reason to say so again later.
pub(crate) fn say_living() -> bool {
    let socket = ours().filter(|_| !SERVING.load(Ordering::SeqCst));
    socket.is_some_and(|socket| match socket.send(&[LIVES], &[]) {
        Ok(()) => true,
        // One that stands still may go on; one that has gone will not.
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    })
}

/// This server serves.
pub(crate) fn say_serving() {
    if let Some(socket) = ours() {
        SERVING.store(true, Ordering::SeqCst);
        // If it has gone, there is nobody to know.
        let _ = socket.send(&[SERVES], &[]);
    }
}

/// Something went wrong before this server served. Does nothing in a process that takes nobody's place.
pub fn say_wrong(text: &str) {
    if SERVING.load(Ordering::SeqCst) {
        return;
    }
    if let Some(socket) = ours() {
        let mut end = text.len().min(WORD_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let word = [&[WRONG], &text.as_bytes()[..end]].concat();
        let _ = socket.send(&word, &[]);
    }
}

/// What the new server has said, besides what went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) lives: bool,
    pub(crate) serves: bool,
}

/// The old server's end.
#[derive(Debug, Default)]
pub(crate) struct Words {
    socket: Option<PacketSocket>,
    wrong: String,
}

impl Words {
    /// Makes both ends; the other one is for the new server.
    pub(crate) fn open(&mut self) -> io::Result<OwnedFd> {
        let (socket, theirs) = PacketSocket::pair()?;
        *self = Self { socket: Some(socket), wrong: String::new() };
        Ok(theirs)
    }

    /// What to wait for.
    pub(crate) fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(std::os::fd::AsFd::as_fd)
    }

    /// Takes what has been said.
    pub(crate) fn take(&mut self) -> Said {
        let mut said = Said::default();
        for _ in 0..WORDS_AT_ONCE_MAX {
            let Some(socket) = &self.socket else { break };
            match socket.receive() {
                Ok(Received::Message(word, _)) => match word.split_first() {
                    Some((&LIVES, _)) => said.lives = true,
                    Some((&SERVES, _)) => said.serves = true,
                    Some((&WRONG, text)) => self.note(&String::from_utf8_lossy(text)),
                    _ => {}
                },
                Ok(Received::Empty) => break,
                Ok(Received::Closed) | Err(_) => self.socket = None,
            }
        }
        said
    }

    fn note(&mut self, text: &str) {
        if self.wrong.len() + text.len() < TEXT_BYTES_MAX {
            self.wrong.push_str(text.trim_end());
            self.wrong.push('\n');
        }
    }

    /// All that went wrong.
    pub(crate) fn wrong(&self) -> &str {
        &self.wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_kept_until_the_end_of_the_other_side() {
        let mut words = Words::default();
        assert_eq!(words.take(), Said::default());
        let theirs = PacketSocket::from_fd(words.open().unwrap());
        theirs.send(b"-no such file\n", &[]).unwrap();
        theirs.send(b"-", &[]).unwrap();
        assert_eq!(words.take(), Said::default());
        theirs.send(b".", &[]).unwrap();
        assert_eq!(words.take(), Said { lives: true, serves: false });
        assert!(words.watched().is_some());
        theirs.send(b"+", &[]).unwrap();
        drop(theirs);
        assert_eq!(words.take(), Said { lives: false, serves: true });
        assert!(words.watched().is_none());
        assert_eq!(words.wrong(), "no such file\n\n");
    }

    #[test]
    fn what_is_said_without_end_is_not_kept() {
        let mut words = Words::default();
        for _ in 0..1000 {
            words.note(&"x".repeat(1000));
        }
        assert!(words.wrong().len() < TEXT_BYTES_MAX);
    }

    #[test]
    fn one_that_speaks_without_end_is_heard_a_bounded_part_at_a_time() {
        let mut words = Words::default();
        let theirs = words.open().unwrap();
        rustix::io::ioctl_fionbio(&theirs, true).unwrap();
        let theirs = PacketSocket::from_fd(theirs);
        let speaker = std::thread::spawn(move || {
            let mut said = 0;
            while said < 100_000 {
                match theirs.send(b".", &[]) {
                    Ok(()) => said += 1,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        std::thread::yield_now()
                    }
                    Err(_) => break,
                }
            }
        });
        let mut turns = 0;
        while words.watched().is_some() {
            let _ = words.take();
            turns += 1;
        }
        speaker.join().unwrap();
        assert!(turns > 100_000 / WORDS_AT_ONCE_MAX, "{turns}");
    }

    #[test]
    fn a_process_that_takes_nobodys_place_says_nothing() {
        say_wrong("this");
        assert!(!say_living());
        assert!(ours().is_none());
    }
}
