//! Responses that run further ahead of their clients than memory should hold: in files without names, as nginx
//! does it, so that a worker is free as soon as its application is.
//!
//! A response gets a file when its worker would have to wait for the client (see
//! [`ahead`](crate::front::ahead)). From then on a task takes what comes from the worker and gives it credit:
//! as long as the client keeps up, it lies in memory; else it is written behind what the file has. The response's
//! body reads it back, and frees what it has read. Both happen on threads that may wait for a disk. What a
//! response, and all together, may have there is limited; at the limit, or when nothing can be written, the
//! window is what limits the worker again: slower, and nothing is lost.

use std::collections::VecDeque;
use std::fs::File;
use std::future::{Future, poll_fn};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use indrik_core::descriptors::Use;
use indrik_core::supervise::Ailment;
use indrik_ring::ResponseHead;
use parking_lot::Mutex;
use rustix::fs::FallocateFlags;
use tokio::runtime::Handle;

use super::worker::TIGHT_BYTES;
use crate::front::account::{Charge, Holder};
use crate::front::body::unnamed::{is_in_memory, reserve, unnamed_file};
use crate::front::body::upload::blocking;
use crate::front::descriptors::CountedFile;
use crate::front::exchange::{Event, Exchange, Next, Spool, SpoolReader, Spooler};
use crate::front::services::Services;

/// Bytes, and pieces, of one response that lie in memory before the file is used.
const MEMORY_BYTES_MAX: usize = 1024 * 1024;
const ITEMS_MAX: usize = 1024;
/// An event (the end, an error) is put behind no more than so many.
const EVENTS_BEHIND_MAX: usize = 64;
/// Bytes written, and read, at once.
const WRITE_BYTES: usize = 512 * 1024;
const READ_BYTES: usize = 256 * 1024;
/// Where the file lies in memory, all files together get such a part of what the front may hold.
const SHARE_OF_MEMORY: u64 = 4;

impl Spooler for Services {
    fn begin(
        self: Arc<Self>,
        exchange: &Arc<Exchange>,
        runtime: &Handle,
    ) -> Option<Arc<dyn Spool>> {
        let spool = Arc::new(FileSpool::new(&self)?);
        let (exchange, task) = (Arc::clone(exchange), Arc::clone(&spool));
        runtime.spawn(async move { task.fill(&exchange).await });
        Some(spool)
    }
}

/// Whether a response with this head may wait in a file. Events are for now or never; a stream of pictures has
/// no end; and an application may ask for the window, as it asks nginx.
pub(crate) fn may_be_spooled(payload: &[u8], head_len: usize) -> bool {
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
struct FileSpool {
    services: Arc<Services>,
    /// Whom it is for, once it is filled.
    holder: OnceLock<Arc<Holder>>,
    directory: Option<PathBuf>,
    response_max: u64,
    all_max: u64,
    state: Mutex<Contents>,
}

#[derive(Default)]
struct Contents {
    file: Option<Arc<CountedFile>>,
    /// What is to be sent, in order.
    queue: VecDeque<Item>,
    /// Bytes of it in memory, and in the file or on their way there.
    in_memory: usize,
    in_file: u64,
    /// Where in the file the next byte is written, and read.
    write_at: u64,
    read_at: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
    is_closed: bool,
    /// The file system lies in memory.
    is_memory: bool,
    /// Bytes on their way into the file or into memory.
    handed: usize,
    /// For all that lies in memory.
    charge: Option<Charge>,
}

impl Contents {
    /// So many bytes are on their way.
    fn is_handed(&mut self, bytes: usize) {
        self.handed = bytes;
        self.weigh();
    }

    fn weigh(&mut self) {
        if let Some(charge) = &mut self.charge {
            charge.set(self.in_memory + self.handed);
        }
    }
}

enum Item {
    Bytes(Bytes),
    /// So many bytes of the file.
    Written(u64),
    Event(Event),
}

/// Where the next bytes may go.
enum Room {
    Memory,
    File,
    Closed,
}

/// What the reader finds.
enum Found {
    Part(Arc<CountedFile>, u64, usize),
    Next(Next),
}

impl FileSpool {
    /// `None`: there are enough, or none is wanted.
    fn new(services: &Arc<Services>) -> Option<Self> {
        let settings = services.settings();
        let config = &settings.config;
        if config.response_spool_max == 0 || config.response_spools_max == 0 {
            return None;
        }
        let spools = &services.spools;
        let count = spools.count.fetch_add(1, Ordering::Relaxed);
        let has_room = (count as u64) < services.descriptors.share().spools_max;
        if !has_room {
            spools.refused.fetch_add(1, Ordering::Relaxed);
        }
        let spool = Self {
            services: Arc::clone(services),
            holder: OnceLock::new(),
            directory: config.tmp_upload_dir.clone(),
            response_max: config.response_spool_max,
            all_max: config.response_spools_max,
            state: Mutex::default(),
        };
        // Dropped, it counts itself down. Each may cost a descriptor.
        has_room.then_some(spool)
    }

    // --- the writing side

    /// Takes everything that comes for the response, until it is over.
    async fn fill(&self, exchange: &Arc<Exchange>) {
        let holder = self.holder.get_or_init(|| exchange.holder());
        self.state.lock().charge = Some(Charge::of(holder));
        let mut can_write = self.open().await;
        while let Some((mut pieces, event)) =
            poll_fn(|cx| exchange.poll_pieces(cx, WRITE_BYTES)).await
        {
            let len = pieces.iter().map(Bytes::len).sum();
            self.state.lock().is_handed(len);
            while !pieces.is_empty() {
                // In the file it takes no memory.
                let has_room = self.services.pool.room(holder).has(len as u64);
                pieces = match poll_fn(|cx| self.poll_room(len, can_write, has_room, cx)).await {
                    Room::Closed => return,
                    Room::Memory => self.keep(exchange, pieces),
                    Room::File => match self.write(pieces).await {
                        Ok(written) => self.has_written(exchange, &written),
                        Err((error, pieces)) => {
                            self.has_not_written(len);
                            self.tell(&error);
                            can_write = false;
                            pieces
                        }
                    },
                };
            }
            if let Some(event) = event {
                poll_fn(|cx| self.poll_few(cx)).await;
                self.put(|state| state.queue.push_back(Item::Event(event)));
            }
        }
    }

    /// Opens the file. False: that cannot be done, or clients have all descriptors that they may have.
    async fn open(&self) -> bool {
        let Some(place) = self.services.descriptors.reserve_now(Use::File, 1) else {
            return false;
        };
        let directory = self.directory.clone();
        let opened = blocking(move || {
            let file = unnamed_file(directory)?;
            let in_memory = is_in_memory(&file);
            Ok((CountedFile::new(file, place), in_memory))
        });
        match opened.await {
            Ok((file, in_memory)) => {
                let mut state = self.state.lock();
                state.file = Some(Arc::new(file));
                state.is_memory = in_memory;
                true
            }
            Err(error) => {
                self.tell(&error);
                false
            }
        }
    }

    /// Waits until so much more may be taken. A response that has nothing here waits for no other one.
    fn poll_room(
        &self,
        len: usize,
        can_write: bool,
        has_room: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Room> {
        let mut state = self.state.lock();
        if state.is_closed {
            return Poll::Ready(Room::Closed);
        }
        let few = state.in_file == 0 && state.queue.len() < ITEMS_MAX && has_room;
        if state.queue.is_empty() || (few && state.in_memory + len <= MEMORY_BYTES_MAX) {
            return Poll::Ready(Room::Memory);
        }
        let (len, all_max) = (len as u64, self.all_max(state.is_memory));
        let fits = can_write && state.in_file + len <= self.response_max;
        if fits && reserve(&self.services.spools.bytes, len, all_max) {
            state.in_file += len;
            return Poll::Ready(Room::File);
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Waits until there is not much left to be sent: what comes behind the pieces lies in memory.
    fn poll_few(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.is_closed || state.queue.len() < EVENTS_BEHIND_MAX {
            return Poll::Ready(());
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A file system in memory has only a part of what the front may hold there.
    fn all_max(&self, is_memory: bool) -> u64 {
        let share = self.services.account.limits().total / SHARE_OF_MEMORY;
        if is_memory { self.all_max.min(share) } else { self.all_max }
    }

    /// Writes pieces behind what the file has; gives them back.
    async fn write(&self, pieces: Vec<Bytes>) -> Result<Vec<Bytes>, (io::Error, Vec<Bytes>)> {
        let (file, at) = {
            let state = self.state.lock();
            (state.file.clone(), state.write_at)
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

    /// Pieces are in the file; returns none.
    fn has_written(&self, exchange: &Arc<Exchange>, pieces: &[Bytes]) -> Vec<Bytes> {
        let len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        self.services.spools.is_failure_told.store(false, Ordering::Relaxed);
        self.put(|state| {
            state.is_handed(0);
            state.write_at += len;
            match state.queue.back_mut() {
                Some(Item::Written(before)) => *before += len,
                _ => state.queue.push_back(Item::Written(len)),
            }
        });
        self.give_credit(exchange, pieces);
        Vec::new()
    }

    /// What was reserved in the file is given back.
    fn has_not_written(&self, len: usize) {
        self.state.lock().in_file -= len as u64;
        self.services.spools.bytes.fetch_sub(len as u64, Ordering::Relaxed);
    }

    /// Pieces stay in memory; returns none.
    fn keep(&self, exchange: &Arc<Exchange>, pieces: Vec<Bytes>) -> Vec<Bytes> {
        self.put(|state| {
            state.in_memory += pieces.iter().map(Bytes::len).sum::<usize>();
            state.queue.extend(pieces.iter().cloned().map(Item::Bytes));
            state.is_handed(0);
        });
        self.give_credit(exchange, &pieces);
        Vec::new()
    }

    fn give_credit(&self, exchange: &Arc<Exchange>, pieces: &[Bytes]) {
        for piece in pieces {
            self.services.pool.took(exchange, piece.len());
        }
    }

    /// Adds to what is to be sent.
    fn put(&self, act: impl FnOnce(&mut Contents)) {
        let reader = {
            let mut state = self.state.lock();
            act(&mut state);
            state.reader.take()
        };
        reader.into_iter().for_each(Waker::wake);
    }

    /// Says once, until something can be written again, that nothing can.
    fn tell(&self, error: &io::Error) {
        self.services.spools.failures.fetch_add(1, Ordering::Relaxed);
        let place = self.directory.clone().unwrap_or_else(std::env::temp_dir);
        self.services.log.ails(Ailment::ResponsesUnstored, || {
            let place = place.display();
            format!("responses that wait for slow clients cannot be written to {place}: {error}")
        });
        if !self.services.spools.is_failure_told.swap(true, Ordering::Relaxed) {
            self.services.log.error(&format!(
                "responses that wait for slow clients cannot be written to {} ({error}); their workers \
                 wait with them: make room there, or set tmp_upload_dir",
                place.display()
            ));
        }
    }

    // --- the reading side

    /// Whether nothing may be granted ahead.
    fn is_tight(&self) -> bool {
        self.holder.get().is_some_and(|holder| !self.services.pool.room(holder).has(0))
    }

    fn poll_found(&self, most: usize, cx: &mut Context<'_>) -> Poll<Found> {
        let mut state = self.state.lock();
        if most == 0 && matches!(state.queue.front(), Some(Item::Bytes(_) | Item::Written(_))) {
            return Poll::Ready(Found::Next(Next::NeedsRoom));
        }
        if let (Some(Item::Written(left)), Some(file)) = (state.queue.front(), &state.file) {
            let most = most.min(if self.is_tight() { TIGHT_BYTES } else { READ_BYTES });
            let len = usize::try_from(*left).unwrap_or(usize::MAX).min(most);
            return Poll::Ready(Found::Part(Arc::clone(file), state.read_at, len));
        }
        let next = match state.queue.pop_front() {
            Some(Item::Bytes(bytes)) => {
                state.in_memory -= bytes.len();
                state.weigh();
                Next::Bytes(bytes)
            }
            Some(Item::Event(event)) => Next::Event(event),
            // What was written has a file.
            Some(Item::Written(_)) | None => {
                state.reader = Some(cx.waker().clone());
                return Poll::Pending;
            }
        };
        let writer = state.writer.take();
        drop(state);
        writer.into_iter().for_each(Waker::wake);
        Poll::Ready(Found::Next(next))
    }

    fn has_read(&self, bytes: usize) {
        let bytes = bytes as u64;
        self.services.spools.bytes.fetch_sub(bytes, Ordering::Relaxed);
        let writer = {
            let mut state = self.state.lock();
            state.read_at += bytes;
            state.in_file -= bytes;
            if let Some(Item::Written(left)) = state.queue.front_mut() {
                *left -= bytes;
                if *left == 0 {
                    state.queue.pop_front();
                }
            }
            state.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }
}

impl Spool for FileSpool {
    fn close(&self) {
        let writer = {
            let mut state = self.state.lock();
            state.is_closed = true;
            state.queue.clear();
            (state.in_memory, state.handed) = (0, 0);
            state.weigh();
            state.writer.take()
        };
        writer.into_iter().for_each(Waker::wake);
    }

    fn reader(self: Arc<Self>) -> Box<dyn SpoolReader> {
        Box::new(FileSpoolReader { spool: self, reading: None })
    }
}

impl Drop for FileSpool {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        self.services.spools.bytes.fetch_sub(state.in_file, Ordering::Relaxed);
        self.services.spools.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for FileSpool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state.lock();
        write!(f, "Spool({} + {} bytes)", state.in_memory, state.in_file)
    }
}

/// What a response has in its file, as its body reads it.
struct FileSpoolReader {
    spool: Arc<FileSpool>,
    reading: Option<Reading>,
}

type Reading = Pin<Box<dyn Future<Output = io::Result<Bytes>> + Send>>;

impl SpoolReader for FileSpoolReader {
    fn poll_next(&mut self, most: usize, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        if self.reading.is_none() {
            match ready!(self.spool.poll_found(most, cx)) {
                Found::Next(next) => return Poll::Ready(Ok(next)),
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
