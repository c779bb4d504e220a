//! Where lines go: a file that can be opened anew, or a standard stream.
//!
//! A disk takes what it is given, or says that it is full: then entries are lost, and that is told where it
//! can be, at the first and when it is over. A pipe, a terminal or a socket may have a reader that has stopped,
//! and requests must not wait for that: what the reader does not take is held, up to a limit, and a
//! thread of its own waits for it. A log that is opened anew leaves such a reader, and what waits for it, to that
//! thread, and goes on without.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::logs::level::Level;
use indrik_core::settings::LogTarget;
use indrik_core::supervise::Ailment;
use indrik_sys::place::{self, Id};
use parking_lot::{Condvar, Mutex};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, fstat};
use rustix::io::{Errno, ReadWriteFlags, pwritev2, write};

use super::entry::Entry;
use crate::ailing::Ailing;
use crate::paths;

/// Bytes that wait for a reader at most. What comes beyond is lost, and counted.
const HELD_BYTES_MAX: usize = 1024 * 1024;
/// Readers of a log that take nothing, each with a thread of its own: that of now, and those that the log has left.
const READERS_MAX: usize = 4;
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
    state: Mutex<Writer>,
    /// Nothing is held any more.
    emptied: Condvar,
}

#[derive(Debug)]
struct Writer {
    sink: Sink,
    /// Everything is taken without a reader.
    is_disk: bool,
    /// The system can be asked to write without waiting.
    nowait: bool,
    /// What waits for the reader; `None` as long as it keeps up.
    held: Option<Held>,
    /// What waits for readers of sinks that were left; each is empty in the end, or its reader never takes it.
    left: Vec<Held>,
    /// Threads that have been started, which is the number of the next one.
    threads: u64,
    /// Lines that could not be written since the last that could; `None` as long as all can.
    refused: Option<u64>,
    /// The last line in the file may be there in part only.
    torn: bool,
}

/// What becomes known by a write, and has not been told.
#[derive(Debug)]
enum News {
    /// The first that failed, with what the system says.
    Fails(Errno),
    /// One more.
    StillFails(Errno),
    /// Its reader has not taken what waits for it, and no more can wait.
    Unread,
    /// The first that did not; so many before it are lost.
    WorksAgain(u64),
}

#[derive(Debug)]
enum Sink {
    Stdout,
    Stderr,
    File(File),
}

#[derive(Debug, Default)]
struct Held {
    /// The thread that gives it to the reader.
    thread: u64,
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
    pub(crate) ailing: Arc<Ailing>,
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
    pub(crate) fn stderr(ailing: &Arc<Ailing>) -> Self {
        let complaints = Complaints { ailing: Arc::clone(ailing), ..Complaints::default() };
        Self::new(LogTarget::Stderr, Sink::Stderr, complaints)
    }

    fn new(target: LogTarget, sink: Sink, complaints: Complaints) -> Self {
        let state = Mutex::new(Writer::new(sink));
        Self { target, shared: Arc::new(Shared { complaints, state, emptied: Condvar::new() }) }
    }

    /// Where it goes.
    pub(crate) const fn target(&self) -> &LogTarget {
        &self.target
    }

    /// Whether it is this file that is written to. What cannot be asked is.
    pub(crate) fn writes_to(&self, id: Id) -> bool {
        let state = self.shared.state.lock();
        place::look_at(state.sink.as_fd()).map_or(true, |look| look.id == id)
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
        self.shared.state.lock().change(sink);
        Ok(())
    }

    /// Writes whole lines at once. What cannot be written is lost, counted and told: a full disk must not
    /// stop the service. What a reader does not take is held.
    pub(crate) fn write(&self, lines: &[u8]) {
        if let Some(news) = self.write_quietly(lines) {
            self.tell(news);
        }
    }

    fn write_quietly(&self, lines: &[u8]) -> Option<News> {
        let mut state = self.shared.state.lock();
        if let Some(held) = &mut state.held {
            return (!held.add(lines)).then_some(News::Unread);
        }
        if state.is_disk {
            let result = state.write_to_disk(lines);
            return state.note(lines, result);
        }
        let sent = match state.write_now(lines) {
            Ok(sent) => sent,
            Err(errno) => return state.note(lines, Err(errno)),
        };
        let rest = &lines[sent..];
        let kept = if rest.is_empty() { Ok(()) } else { self.hold(&mut state, rest) };
        state.note(rest, kept)
    }

    /// Keeps lines for a reader that does not take them now.
    ///
    /// # Errors
    /// When there are too many such readers already, or no descriptor or thread can be had.
    fn hold(&self, state: &mut Writer, lines: &[u8]) -> Result<(), Errno> {
        if state.left.len() + 1 >= READERS_MAX {
            return Err(Errno::BUSY);
        }
        let errno = |error: io::Error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
        let fd = state.sink.as_fd().try_clone_to_owned().map_err(errno)?;
        let shared = Arc::clone(&self.shared);
        let number = state.threads;
        let thread = std::thread::Builder::new().name("indrik-log".to_owned());
        thread.spawn(move || serve_reader(&shared, number, &fd)).map_err(errno)?;
        state.threads += 1;
        let mut held = Held { thread: number, ..Held::default() };
        held.add(lines);
        state.held = Some(held);
        Ok(())
    }

    fn tell(&self, news: News) {
        let log = &self.target;
        let why = match &news {
            News::Fails(errno) | News::StillFails(errno) => reason(&io::Error::from(*errno)),
            News::Unread => "nobody reads it".to_owned(),
            News::WorksAgain(_) => String::new(),
        };
        if !why.is_empty() {
            let told = || format!("the log {log} cannot be written: {why}; its entries are lost");
            self.shared.complaints.ailing.sees(Ailment::LogLost, told);
        }
        let (level, text) = match news {
            // Told before, or by whoever waits for the reader.
            News::StillFails(_) | News::Unread => return,
            News::Fails(_) => {
                let text = format!(
                    "cannot write the log {log}: {why}; its entries are lost until it can be"
                );
                (Level::Error, text)
            }
            News::WorksAgain(lost) => (
                Level::Warning,
                format!("the log {log} can be written again; {lost} entries of it are lost"),
            ),
        };
        let works = matches!(news, News::WorksAgain(_));
        self.shared.complain(level, &text, works);
    }

    /// Waits a moment for the readers that lines wait for.
    pub(crate) fn close(&self) {
        let end = Instant::now() + CLOSE_LIMIT;
        let mut state = self.shared.state.lock();
        while state.held.is_some() || !state.left.is_empty() {
            if self.shared.emptied.wait_until(&mut state, end).timed_out() {
                return;
            }
        }
    }
}

impl Writer {
    fn new(sink: Sink) -> Self {
        let is_disk = sink.is_disk();
        Self {
            sink,
            is_disk,
            nowait: true,
            held: None,
            left: Vec::new(),
            threads: 0,
            refused: None,
            torn: false,
        }
    }

    /// Goes on with another sink. If that has the same reader it takes what is held in turn; else what is held
    /// stays with its thread, and what comes goes to the new one.
    fn change(&mut self, sink: Sink) {
        let is_same = self.sink.is_same(&sink);
        if let Some(held) = self.held.take_if(|_| !is_same) {
            self.left.push(held);
        }
        let (held, left) = (self.held.take(), std::mem::take(&mut self.left));
        let (threads, refused) = (self.threads, self.refused);
        *self = Self { held, left, threads, refused, ..Self::new(sink) };
    }

    /// What waits for the reader of a thread.
    fn held_by(&mut self, thread: u64) -> Option<&mut Held> {
        self.held.iter_mut().chain(&mut self.left).find(|held| held.thread == thread)
    }

    /// The reader of a thread has taken all.
    fn forget(&mut self, thread: u64) {
        self.held.take_if(|held| held.thread == thread);
        self.left.retain(|held| held.thread != thread);
    }

    /// What is new about the log after a write.
    fn note(&mut self, lines: &[u8], result: Result<(), Errno>) -> Option<News> {
        self.torn = result.is_err();
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        match (result, &mut self.refused) {
            (Ok(()), None) => None,
            (Ok(()), Some(_)) => self.refused.take().map(News::WorksAgain),
            (Err(errno), Some(lost)) => {
                *lost += count;
                Some(News::StillFails(errno))
            }
            (Err(errno), refused) => {
                *refused = Some(count);
                Some(News::Fails(errno))
            }
        }
    }

    /// A line that the disk took in part is ended before the next one begins.
    fn write_to_disk(&mut self, lines: &[u8]) -> Result<(), Errno> {
        if self.torn {
            self.sink.write_to_disk(b"\n")?;
        }
        self.sink.write_to_disk(lines)
    }

    /// Writes what the reader takes without waiting; says how much.
    fn write_now(&mut self, lines: &[u8]) -> Result<usize, Errno> {
        let mut sent = 0;
        while sent < lines.len() {
            match self.write_piece(piece(&lines[sent..])) {
                Ok(len) => sent += len,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(sent),
                Err(errno) => return Err(errno),
            }
        }
        Ok(sent)
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
    /// False: there is no room for them, and they are lost.
    fn add(&mut self, lines: &[u8]) -> bool {
        let has_room = self.on_their_way + self.bytes.len() + lines.len() <= HELD_BYTES_MAX;
        if has_room {
            self.bytes.extend_from_slice(lines);
        } else {
            self.lost += 1;
        }
        has_room
    }
}

impl Sink {
    /// Whether it takes everything without a reader. What cannot be asked is taken for a disk.
    fn is_disk(&self) -> bool {
        fstat(self.as_fd())
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    }

    /// Whether whoever reads the one reads the other. What cannot be asked is taken for another.
    fn is_same(&self, other: &Self) -> bool {
        match (fstat(self.as_fd()), fstat(other.as_fd())) {
            (Ok(one), Ok(two)) => (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino),
            _ => false,
        }
    }

    fn write_to_disk(&mut self, lines: &[u8]) -> Result<(), Errno> {
        let result = match self {
            Self::File(file) => file.write_all(lines),
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(lines).and_then(|()| stdout.flush())
            }
            Self::Stderr => io::stderr().lock().write_all(lines),
        };
        result.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
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
fn serve_reader(shared: &Shared, thread: u64, fd: &OwnedFd) {
    let mut lost = 0;
    while let Some(bytes) = shared.take_held(thread, &mut lost) {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match write(fd, piece(rest)) {
                Ok(len) => rest = &rest[len..],
                Err(Errno::INTR) => {}
                // Somebody who has the same stream made it so.
                Err(Errno::AGAIN) => drop(is_ready(fd.as_fd(), None)),
                Err(_) => {
                    lost += rest.iter().filter(|byte| **byte == b'\n').count() as u64;
                    break;
                }
            }
        }
    }
    if lost > 0 {
        let text = format!("nobody read a log for a while; {lost} entries of it are lost");
        shared.complain(Level::Warning, &text, true);
    }
}

impl Shared {
    /// What waits for the reader of a thread; `None` when nothing does any more.
    fn take_held(&self, thread: u64, lost: &mut u64) -> Option<Vec<u8>> {
        let mut state = self.state.lock();
        let held = state.held_by(thread)?;
        *lost += std::mem::take(&mut held.lost);
        if held.bytes.is_empty() {
            state.forget(thread);
            self.emptied.notify_all();
            return None;
        }
        held.on_their_way = held.bytes.len();
        Some(std::mem::take(&mut held.bytes))
    }

    /// Tells of a log's loss in the error log; where this is the error log, in itself if it works, else on
    /// standard error.
    fn complain(&self, level: Level, text: &str, works: bool) {
        let line = Entry::now(level, std::process::id(), text).format(self.complaints.as_json);
        match &self.complaints.to {
            Some(error_log) => error_log.write(&line),
            None if works => drop(self.state.lock().write_now(&line)),
            None => {
                let stderr = rustix::stdio::stderr();
                if is_ready(stderr, Some(&Timespec::default())) {
                    let _ = write(stderr, piece(&line));
                }
            }
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
pub(super) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rustix::fs::{CWD, Mode, OFlags};

    use super::*;

    #[test]
    fn a_log_that_cannot_be_written_is_told_once_and_again_when_it_can() {
        let full = || Sink::File(File::options().append(true).open("/dev/full").unwrap());
        let output = Output::new(LogTarget::Stdout, full(), Complaints::default());
        let is_first = |news: Option<News>| matches!(news, Some(News::Fails(Errno::NOSPC)));
        assert!(is_first(output.write_quietly(b"one\ntwo\n")));
        let next = output.write_quietly(b"three\n");
        assert!(matches!(next, Some(News::StillFails(Errno::NOSPC))), "{next:?}");
        let file = tempfile::tempfile().unwrap();
        output.shared.state.lock().sink = Sink::File(file.try_clone().unwrap());
        let news = output.write_quietly(b"four\n");
        assert!(matches!(news, Some(News::WorksAgain(3))), "{news:?}");
        assert!(output.write_quietly(b"five\n").is_none());
    }

    #[test]
    fn a_line_that_the_disk_took_in_part_is_ended_before_the_next() {
        use std::io::{Read, Seek};
        let mut file = tempfile::tempfile().unwrap();
        let sink = Sink::File(file.try_clone().unwrap());
        let output = Output::new(LogTarget::Stdout, sink, Complaints::default());
        output.write(b"whole\n");
        file.write_all(b"in pa").unwrap();
        output.shared.state.lock().note(b"in part\n", Err(Errno::NOSPC));
        output.write_quietly(b"next\n");
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "whole\nin pa\nnext\n");
    }

    const LINE: &[u8] = b"a line\n";

    /// A named pipe that is full, and whoever could read from it.
    fn full_pipe(path: &Path) -> File {
        let mode = Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0).unwrap();
        let flags = OFlags::RDWR | OFlags::NONBLOCK;
        let pipe = File::from(rustix::fs::open(path, flags, Mode::empty()).unwrap());
        while write(&pipe, &[b'.'; PIECE_BYTES_MAX]).is_ok() {}
        pipe
    }

    /// Takes what is there and what comes, up to the end of [`LINE`].
    fn read_to_line(reader: &File) {
        let mut text = Vec::new();
        while !text.ends_with(LINE) {
            assert_eq!(poll(&mut [PollFd::new(reader, PollFlags::IN)], None), Ok(1));
            let mut buffer = [0; PIECE_BYTES_MAX];
            let len = rustix::io::read(reader, &mut buffer).unwrap();
            text.extend_from_slice(&buffer[..len]);
        }
    }

    #[test]
    fn a_log_that_is_opened_anew_leaves_a_reader_that_hangs_and_what_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let reader = full_pipe(&path);
        let target = LogTarget::File(path.clone());
        let output = Output::open("log", &target, Complaints::default()).unwrap();
        assert!(output.write_quietly(LINE).is_none());
        // The same reader is not left.
        output.reopen().unwrap();
        assert!(output.shared.state.lock().held.is_some());
        std::fs::rename(&path, folder.path().join("old")).unwrap();
        output.reopen().unwrap();
        output.write(b"to the file\n");
        assert_eq!(std::fs::read(&path).unwrap(), b"to the file\n");
        // What waits for the one that was left is given to it.
        read_to_line(&reader);
        let mut state = output.shared.state.lock();
        while !state.left.is_empty() {
            output.shared.emptied.wait(&mut state);
        }
    }

    #[test]
    fn lines_that_cannot_be_held_are_counted_and_told_as_lost() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let target = LogTarget::File(path.clone());
        let mut readers = vec![full_pipe(&path)];
        let output = Output::open("log", &target, Complaints::default()).unwrap();
        for number in 1..READERS_MAX {
            assert!(output.write_quietly(LINE).is_none());
            std::fs::rename(&path, folder.path().join(number.to_string())).unwrap();
            readers.push(full_pipe(&path));
            output.reopen().unwrap();
        }
        let news = output.write_quietly(LINE);
        assert!(matches!(news, Some(News::Fails(Errno::BUSY))), "{news:?}");
        let news = output.write_quietly(b"one\ntwo\n");
        assert!(matches!(news, Some(News::StillFails(Errno::BUSY))), "{news:?}");
        // The last one reads again, and hears how many it has not got.
        let mut buffer = [0; PIECE_BYTES_MAX];
        assert!(rustix::io::read(&readers[READERS_MAX - 1], &mut buffer).unwrap() > 0);
        let news = output.write_quietly(LINE);
        assert!(matches!(news, Some(News::WorksAgain(3))), "{news:?}");
        read_to_line(&readers[READERS_MAX - 1]);
    }

    #[test]
    fn what_the_reader_is_being_given_counts_to_the_limit() {
        let output = Output::stderr(&Arc::default());
        let hold = |len| {
            let mut state = output.shared.state.lock();
            let held = state.held.get_or_insert_default();
            held.add(&vec![b'x'; len]);
            (held.bytes.len(), held.lost)
        };
        assert_eq!(hold(HELD_BYTES_MAX - 10), (HELD_BYTES_MAX - 10, 0));
        let mut lost = 0;
        assert_eq!(
            output.shared.take_held(0, &mut lost).map(|bytes| bytes.len()),
            Some(HELD_BYTES_MAX - 10)
        );
        assert_eq!(hold(10), (10, 0), "there is room for these");
        assert_eq!(hold(1), (10, 1), "and for no more");
        assert_eq!(output.shared.take_held(0, &mut lost).map(|bytes| bytes.len()), Some(10));
        assert_eq!(hold(HELD_BYTES_MAX - 10), (HELD_BYTES_MAX - 10, 0), "the first are written");
        assert_eq!(lost, 1);
    }
}
