//! Where lines go: a file that can be opened anew, or a standard stream.
//!
//! A disk takes what it is given. A pipe, a terminal or a socket may have a reader that has stopped,
//! and requests must not wait for that: what the reader does not take is held, up to a limit, and a
//! thread of its own waits for it.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::settings::LogTarget;
use indrik_core::supervise::Level;
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ReadWriteFlags, pwritev2, write};

use super::entry::Entry;
use crate::paths;

/// Bytes that wait for a reader at most. What comes beyond is lost, and counted.
const HELD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that a pipe takes whole when it takes any (`PIPE_BUF`), so that lines of several processes
/// do not mix.
const PIECE_BYTES_MAX: usize = 4096;
/// How long the end of the server waits for a reader.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// An open log, shared by all threads.
#[derive(Debug)]
pub(crate) struct Output {
    target: LogTarget,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    complaints: Complaints,
    state: Mutex<State>,
    /// Nothing is held any more.
    emptied: Condvar,
}

#[derive(Debug)]
struct State {
    sink: Sink,
    /// Everything is taken without a reader.
    is_disk: bool,
    /// The system can be asked to write without waiting.
    nowait: bool,
    /// What waits for the reader; `None` as long as it keeps up.
    held: Option<Held>,
}

#[derive(Debug)]
enum Sink {
    Stdout,
    Stderr,
    File(File),
}

#[derive(Debug, Default)]
struct Held {
    bytes: Vec<u8>,
    /// Bytes that its thread has taken and the reader has not: they count to the limit.
    on_their_way: usize,
    /// Writes that found no room.
    lost: u64,
}

/// How it is told that lines were lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Complaints {
    /// The error log, if this is not it.
    pub(crate) to: Option<Arc<Output>>,
    pub(crate) as_json: bool,
}

impl Output {
    /// Opens the target. `what` names the log in the error.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub(crate) fn open(what: &str, target: &LogTarget, complaints: Complaints) -> io::Result<Self> {
        let sink = open(target).map_err(|error| {
            let text = format!("cannot open the {what} {target}: {}", reason(&error));
            io::Error::new(error.kind(), text)
        })?;
        Ok(Self::new(target.clone(), sink, complaints))
    }

    /// Standard error.
    pub(crate) fn stderr() -> Self {
        Self::new(LogTarget::Stderr, Sink::Stderr, Complaints::default())
    }

    fn new(target: LogTarget, sink: Sink, complaints: Complaints) -> Self {
        let state = Mutex::new(State::new(sink));
        Self { target, shared: Arc::new(Shared { complaints, state, emptied: Condvar::new() }) }
    }

    /// Opens the file anew, after somebody has moved it away.
    ///
    /// # Errors
    /// When it cannot be opened; then the old one is written on.
    pub(crate) fn reopen(&self) -> io::Result<()> {
        let sink = open(&self.target).map_err(|error| {
            let text = format!("cannot reopen the log {}: {}", self.target, reason(&error));
            io::Error::new(error.kind(), text)
        })?;
        let mut state = self.shared.state.lock();
        let held = state.held.take();
        *state = State { held, ..State::new(sink) };
        Ok(())
    }

    /// Writes whole lines at once. What cannot be written is lost: a full disk must not stop the
    /// service. What a reader does not take is held.
    pub(crate) fn write(&self, lines: &[u8]) {
        let mut state = self.shared.state.lock();
        if let Some(held) = &mut state.held {
            return held.add(lines);
        }
        if state.is_disk {
            return state.sink.write_to_disk(lines);
        }
        let sent = state.write_now(lines);
        if sent == lines.len() {
            return;
        }
        let Ok(fd) = state.sink.as_fd().try_clone_to_owned() else { return };
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("indrik-log".to_owned());
        if thread.spawn(move || serve_reader(&shared, &fd)).is_ok() {
            let mut held = Held::default();
            held.add(&lines[sent..]);
            state.held = Some(held);
        }
    }

    /// Waits a moment for the reader, if lines wait for it.
    pub(crate) fn close(&self) {
        let end = Instant::now() + CLOSE_LIMIT;
        let mut state = self.shared.state.lock();
        while state.held.is_some() {
            if self.shared.emptied.wait_until(&mut state, end).timed_out() {
                return;
            }
        }
    }
}

impl State {
    fn new(sink: Sink) -> Self {
        let is_disk = sink.is_disk();
        Self { sink, is_disk, nowait: true, held: None }
    }

    /// Writes what the reader takes without waiting; says how much. A stream that is broken has
    /// taken all.
    fn write_now(&mut self, lines: &[u8]) -> usize {
        let mut sent = 0;
        while sent < lines.len() {
            match self.write_piece(piece(&lines[sent..])) {
                Ok(len) => sent += len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return sent,
                Err(_) => return lines.len(),
            }
        }
        sent
    }

    /// As `write`, but never waits; where the system cannot promise that (terminals, old kernels), it
    /// is asked before.
    fn write_piece(&mut self, piece: &[u8]) -> Result<usize, Errno> {
        const HERE: u64 = u64::MAX;
        let fd = self.sink.as_fd();
        if self.nowait {
            match pwritev2(fd, &[IoSlice::new(piece)], HERE, ReadWriteFlags::NOWAIT) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::SPIPE | Errno::INVAL) => {
                    self.nowait = false;
                }
                result => return result,
            }
        }
        if is_ready(fd, Some(&Timespec::default())) { write(fd, piece) } else { Err(Errno::AGAIN) }
    }
}

impl Held {
    fn add(&mut self, lines: &[u8]) {
        if self.on_their_way + self.bytes.len() + lines.len() <= HELD_BYTES_MAX {
            self.bytes.extend_from_slice(lines);
        } else {
            self.lost += 1;
        }
    }
}

impl Sink {
    /// Whether it takes everything without a reader. What cannot be asked is taken for a disk.
    fn is_disk(&self) -> bool {
        fstat(self.as_fd())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    fn write_to_disk(&mut self, lines: &[u8]) {
        let _ = match self {
            Self::File(file) => file.write_all(lines),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines).and_then(|()| stdout.flush())
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
        };
    }
}

impl AsFd for Sink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Stdout => rustix::stdio::stdout(),
            Self::Stderr => rustix::stdio::stderr(),
            Self::File(file) => file.as_fd(),
        }
    }
}

/// The longest part that goes in one write: whole lines, if one fits.
fn piece(lines: &[u8]) -> &[u8] {
    if lines.len() <= PIECE_BYTES_MAX {
        return lines;
    }
    let part = &lines[..PIECE_BYTES_MAX];
    memchr::memrchr(b'\n', part).map_or(part, |end| &part[..=end])
}

/// Whether a piece can be written without waiting, within `limit`; without one, for ever.
fn is_ready(fd: BorrowedFd<'_>, limit: Option<&Timespec>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    matches!(poll(&mut fds, limit), Ok(1..))
}

/// Gives a slow reader what is held until nothing is, and says what was lost meanwhile.
fn serve_reader(shared: &Shared, fd: &OwnedFd) {
    let mut lost = 0;
    while let Some(bytes) = shared.take_held(&mut lost) {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match write(fd, piece(rest)) {
                Ok(len) => rest = &rest[len..],
                Err(Errno::INTR) => {}
                // Somebody who has the same stream made it so.
                Err(Errno::AGAIN) => drop(is_ready(fd.as_fd(), None)),
                Err(_) => break,
            }
        }
    }
    if lost > 0 {
        shared.complain(lost);
    }
}

impl Shared {
    /// What waits for the reader; `None` when nothing does any more.
    fn take_held(&self, lost: &mut u64) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        let held = state.held.as_mut()?;
        *lost += std::mem::take(&mut held.lost);
        if held.bytes.is_empty() {
            state.held = None;
            self.emptied.notify_all();
            return None;
        }
        held.on_their_way = held.bytes.len();
        Some(std::mem::take(&mut held.bytes))
    }

    fn complain(&self, lost: u64) {
        let text = format!("nobody read a log for a while; {lost} entries of it are lost");
        let entry = Entry::now(Level::Warning, std::process::id(), &text);
        let line = entry.format(self.complaints.as_json);
        match &self.complaints.to {
            Some(error_log) => error_log.write(&line),
            None => drop(self.state.lock().write_now(&line)),
        }
    }
}

fn open(target: &LogTarget) -> io::Result<Sink> {
    Ok(match target {
        LogTarget::Stdout => Sink::Stdout,
        LogTarget::Stderr => Sink::Stderr,
        LogTarget::File(path) => Sink::File(paths::append(path)?),
    })
}

/// What the system says, without its number.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_reader_is_being_given_counts_to_the_limit() {
        let output = Output::stderr();
        let hold = |len| {
            let mut state = output.shared.state.lock();
            let held = state.held.get_or_insert_default();
            held.add(&vec![b'x'; len]);
            (held.bytes.len(), held.lost)
        };
        assert_eq!(hold(HELD_BYTES_MAX - 10), (HELD_BYTES_MAX - 10, 0));
        let mut lost = 0;
        assert_eq!(
            output.shared.take_held(&mut lost).map(|bytes| bytes.len()),
            Some(HELD_BYTES_MAX - 10)
        );
        assert_eq!(hold(10), (10, 0), "there is room for these");
        assert_eq!(hold(1), (10, 1), "and for no more");
        assert_eq!(output.shared.take_held(&mut lost).map(|bytes| bytes.len()), Some(10));
        assert_eq!(hold(HELD_BYTES_MAX - 10), (HELD_BYTES_MAX - 10, 0), "the first are written");
        assert_eq!(lost, 1);
    }
}
