//! Responses that run further ahead of their clients than memory should hold: in files without names, as nginx
//! does it, so that a worker is free as soon as its application is.
//!
//! A response gets a file when its worker would have to wait for the client (see
//! [`ahead`](crate::front::ahead)). From then on a task takes what comes from the worker, writes it behind what
//! the file has, and gives the worker credit; the response's body reads the file, and frees what it has read.
//! Both happen on threads that may wait for a disk. What a response, and all together, may have there is
//! limited; at the limit, or when nothing can be written, the window is what limits the worker again: slower,
//! and nothing is lost.

use std::collections::VecDeque;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use indrik_ring::ResponseHead;
use parking_lot::Mutex;
use rustix::fs::FallocateFlags;
use tokio::runtime::Handle;

use crate::front::account::Charge;
use crate::front::body::upload::{blocking, nameless};
use crate::front::exchange::{Event, Exchange};
use crate::front::services::Services;

/// Responses that have a file at once; each costs a descriptor.
const SPOOLS_MAX: usize = 256;
/// Bytes written, and read, at once.
const WRITE_BYTES: usize = 1024 * 1024;
const READ_BYTES: u64 = 256 * 1024;
/// Where the file lies in memory, all files together get such a part of what the front may hold.
const SHARE_OF_MEMORY: u64 = 4;

/// What all responses together have in files.
#[derive(Debug, Default)]
pub(in crate::front) struct Spools {
    bytes: AtomicU64,
    count: AtomicUsize,
    /// The log was told that nothing can be written.
    is_failure_told: AtomicBool,
}

/// Leave for a response to go into a file, and what is needed for it.
pub(in crate::front) struct Permit {
    services: Arc<Services>,
    runtime: Handle,
}

impl Permit {
    /// To be asked on one of the io threads.
    pub(in crate::front) fn new(services: &Arc<Services>) -> Self {
        Self { services: Arc::clone(services), runtime: Handle::current() }
    }

    /// Gives a response a file, if there is one for it.
    pub(in crate::front) fn start(self, exchange: &Arc<Exchange>) -> Option<Arc<Spool>> {
        let spool = Arc::new(Spool::new(&self.services)?);
        let (exchange, task) = (Arc::clone(exchange), Arc::clone(&spool));
        self.runtime.spawn(async move { task.fill(&exchange).await });
        Some(spool)
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permit")
    }
}

/// Whether a response with this head may wait in a file. Events are for now or never; a stream of pictures has
/// no end; and an application may ask for the window, as it asks nginx.
pub(in crate::front) fn may_be_spooled(payload: &[u8], head_len: usize) -> bool {
    let Ok(head) = ResponseHead::decode(payload.get(..head_len).unwrap_or_default()) else {
        return false;
    };
    let begins = |value: &[u8], with: &str| {
        let start = value.trim_ascii_start().get(..with.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()))
    };
    head.headers.into_iter().all(|(name, value)| {
        let is_now_or_never = name.eq_ignore_ascii_case(b"content-type")
            && (begins(value, "text/event-stream") || begins(value, "multipart/x-mixed-replace"));
        let is_refused = name.eq_ignore_ascii_case(b"x-accel-buffering")
            && value.trim_ascii().eq_ignore_ascii_case(b"no");
        !is_now_or_never && !is_refused
    })
}

/// One response's file.
pub(in crate::front) struct Spool {
    services: Arc<Services>,
    directory: Option<PathBuf>,
    response_max: u64,
    all_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    file: Option<Arc<File>>,
    /// Where the next byte is written, and read.
    written: u64,
    read: u64,
    /// What comes behind the bytes of the file.
    behind: VecDeque<Event>,
    reader: Option<Waker>,
    writer: Option<Waker>,
    is_closed: bool,
    /// The file lies in memory.
    is_in_memory: bool,
}

/// What comes next of a response.
pub(super) enum Next {
    Bytes(Bytes),
    Event(Event),
}

/// Where the next bytes may go.
enum Room {
    File,
    /// Not into the file: all responses together have enough there, or nothing can be written.
    None,
    Closed,
}

/// What the reader finds.
enum Found {
    Part(Arc<File>, u64, usize),
    Event(Event),
}

impl Spool {
    /// `None`: there are enough, or none is wanted.
    fn new(services: &Arc<Services>) -> Option<Self> {
        let settings = services.settings();
        let config = &settings.config;
        if config.response_spool_max == 0 || config.response_spools_max == 0 {
            return None;
        }
        let spools = &services.spools;
        let count = spools.count.fetch_add(1, Ordering::Relaxed);
        let spool = Self {
            services: Arc::clone(services),
            directory: config.tmp_upload_dir.clone(),
            response_max: config.response_spool_max,
            all_max: config.response_spools_max,
            state: Mutex::default(),
        };
        // Dropped, it counts itself down.
        (count < SPOOLS_MAX).then_some(spool)
    }

    /// The response is over, for whatever reason.
    pub(in crate::front) fn close(&self) {
        let writer = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.behind.clear();
            state.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }

    // --- the writing side

    /// Takes everything that comes for the response, until it is over.
    async fn fill(&self, exchange: &Arc<Exchange>) {
        let mut charge = Charge::of(&exchange.holder());
        let mut can_write = self.open().await;
        while let Some((pieces, event)) = poll_fn(|cx| exchange.poll_pieces(cx, WRITE_BYTES)).await
        {
            let len = pieces.iter().map(Bytes::len).sum();
            charge.set(len);
            let room =
                if can_write { poll_fn(|cx| self.poll_room(len, cx)).await } else { Room::None };
            let left = match room {
                Room::File if len != 0 => match self.write(pieces).await {
                    Ok(pieces) => {
                        self.has_written(exchange, &pieces);
                        Vec::new()
                    }
                    Err((error, pieces)) => {
                        self.tell(&error);
                        can_write = false;
                        pieces
                    }
                },
                Room::File | Room::None => pieces,
                Room::Closed => return,
            };
            let left = left.into_iter().map(|bytes| Event::Body { bytes, end: false });
            self.put_behind(left.chain(event));
            // What lies behind the file lies in memory: nothing more is taken until it is read.
            poll_fn(|cx| self.poll_behind(cx)).await;
            charge.set(0);
        }
    }

    /// Opens the file. False: that cannot be done.
    async fn open(&self) -> bool {
        let directory = self.directory.clone();
        let opened = blocking(move || {
            let file = nameless(directory)?;
            let in_memory = is_in_memory(&file);
            Ok((file, in_memory))
        });
        match opened.await {
            Ok((file, in_memory)) => {
                let mut state = self.state.lock();
                state.file = Some(Arc::new(file));
                state.is_in_memory = in_memory;
                true
            }
            Err(error) => {
                self.tell(&error);
                false
            }
        }
    }

    /// Waits until as much more may be written. A response that has nothing in its file waits for no other one.
    fn poll_room(&self, len: usize, cx: &mut Context<'_>) -> Poll<Room> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Poll::Ready(Room::Closed);
        }
        let (len, lag) = (len as u64, state.written - state.read);
        let all = self.services.spools.bytes.load(Ordering::Relaxed);
        let fits_all = all + len <= self.all_max(state.is_in_memory);
        if fits_all && (lag == 0 || lag + len <= self.response_max) {
            return Poll::Ready(Room::File);
        }
        if lag == 0 {
            return Poll::Ready(Room::None);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A file system in memory has only a part of what the front may hold there.
    fn all_max(&self, is_in_memory: bool) -> u64 {
        let share = self.services.account.limits().total / SHARE_OF_MEMORY;
        if is_in_memory { self.all_max.min(share) } else { self.all_max }
    }

    /// Writes pieces behind what the file has; gives them back.
    async fn write(&self, pieces: Vec<Bytes>) -> Result<Vec<Bytes>, (io::Error, Vec<Bytes>)> {
        let (file, at) = {
            let state = self.state.lock();
            (state.file.clone(), state.written)
        };
        let Some(file) = file else { return Err((io::ErrorKind::NotFound.into(), pieces)) };
        let written = tokio::task::spawn_blocking(move || {
            let mut at = at;
            for piece in &pieces {
                if let Err(error) = file.write_all_at(piece, at) {
                    return Err((error, pieces));
                }
                at += piece.len() as u64;
            }
            Ok(pieces)
        });
        // The runtime ends, and with it every response.
        written.await.unwrap_or_else(|error| Err((io::Error::other(error), Vec::new())))
    }

    fn has_written(&self, exchange: &Arc<Exchange>, pieces: &[Bytes]) {
        let len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        self.services.spools.bytes.fetch_add(len, Ordering::Relaxed);
        self.services.spools.is_failure_told.store(false, Ordering::Relaxed);
        let reader = {
            let mut state = self.state.lock();
            state.written += len;
            state.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
        for piece in pieces {
            self.services.pool.took(exchange, piece.len());
        }
    }

    fn put_behind(&self, events: impl Iterator<Item = Event>) {
        let reader = {
            let mut state = self.state.lock();
            if state.is_closed {
                return;
            }
            state.behind.extend(events);
            state.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }

    /// Waits until nothing lies behind the file.
    fn poll_behind(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.behind.is_empty() || state.is_closed {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Says once, until something can be written again, that nothing can.
    fn tell(&self, error: &io::Error) {
        if !self.services.spools.is_failure_told.swap(true, Ordering::Relaxed) {
            let place = self.directory.clone().unwrap_or_else(std::env::temp_dir);
            self.services.log.error(&format!(
                "responses that wait for slow clients cannot be written to {} ({error}); their workers \
                 wait with them: make room there, or set tmp_upload_dir",
                place.display()
            ));
        }
    }

    // --- the reading side

    fn poll_found(&self, cx: &mut Context<'_>) -> Poll<Found> {
        let mut state = self.state.lock();
        let lag = state.written - state.read;
        if let (1.., Some(file)) = (lag, &state.file) {
            let len = usize::try_from(lag.min(READ_BYTES)).unwrap_or(usize::MAX);
            return Poll::Ready(Found::Part(Arc::clone(file), state.read, len));
        }
        if let Some(event) = state.behind.pop_front() {
            let writer = if state.behind.is_empty() { state.writer.take() } else { None };
            drop(state);
            writer.into_iter().for_each(Waker::wake);
            return Poll::Ready(Found::Event(event));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn has_read(&self, bytes: usize) {
        self.services.spools.bytes.fetch_sub(bytes as u64, Ordering::Relaxed);
        let writer = {
            let mut state = self.state.lock();
            state.read += bytes as u64;
            state.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.services.spools.bytes.fetch_sub(state.written - state.read, Ordering::Relaxed);
        self.services.spools.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        write!(f, "Spool({}..{})", state.read, state.written)
    }
}

/// What a response has in its file, as its body reads it.
pub(super) struct SpoolReader {
    spool: Arc<Spool>,
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

impl SpoolReader {
    pub(super) const fn new(spool: Arc<Spool>) -> Self {
        Self { spool, reading: None }
    }

    /// The next bytes of the file, or what comes behind them.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        if self.reading.is_none() {
            match ready!(self.spool.poll_found(cx)) {
                Found::Event(event) => return Poll::Ready(Ok(Next::Event(event))),
                Found::Part(file, at, len) => {
                    self.reading = Some(Box::pin(blocking(move || read_and_free(&file, at, len))));
                }
            }
        }
        let Some(reading) = &mut self.reading else { return Poll::Pending };
        let bytes = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        let bytes = bytes?;
        self.spool.has_read(bytes.len());
        Poll::Ready(Ok(Next::Bytes(bytes)))
    }
}

/// Reads a part of the file, which nobody will read again.
fn read_and_free(file: &File, at: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    // Where a file system cannot do that, the file keeps its size until the response is over.
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = rustix::fs::fallocate(file, flags, at, len as u64);
    Ok(Bytes::from(bytes))
}

/// Whether a file lies in memory (tmpfs, ramfs).
fn is_in_memory(file: &File) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    rustix::fs::fstatfs(file).is_ok_and(|it| matches!(it.f_type, TMPFS | RAMFS))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(fields: &[(&str, &str)]) -> Vec<u8> {
        let fields = || fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let mut bytes = vec![0; indrik_ring::response_len(b"", indrik_ring::headers_len(fields()))];
        let count = u16::try_from(fields().count()).unwrap();
        indrik_ring::encode_response(&mut bytes, 200, b"", count, fields());
        bytes
    }

    #[test]
    fn an_answer_that_is_for_now_or_never_does_not_wait_in_a_file() {
        for (name, value, may) in [
            ("Content-Type", "text/html", true),
            ("Content-Type", "text/event-stream", false),
            ("content-type", " TEXT/Event-Stream; charset=utf-8", false),
            ("Content-Type", "multipart/x-mixed-replace;boundary=frame", false),
            ("Content-Type", "multipart/mixed", true),
            ("X-Accel-Buffering", "no", false),
            ("x-accel-buffering", "yes", true),
        ] {
            let head = head(&[("X-Other", "1"), (name, value)]);
            assert_eq!(may_be_spooled(&head, head.len()), may, "{name}: {value}");
        }
        assert!(!may_be_spooled(b"x", 1));
    }
}
