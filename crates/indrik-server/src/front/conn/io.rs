//! A client's socket as hyper reads and writes it.
//!
//! Every byte that comes in is shown to the framing screen before hyper sees it. When the screen
//! refuses a head, hyper is given what came before it and then nothing any more; when that is
//! answered, the connection answers the refusal itself. When the screen refuses a body, the body
//! ends with an error. The socket also notes what the connection waits for, for the reaper, and
//! can put an interim response between two of hyper's writes.
//!
//! Large pieces of answers lie in the worker's ring when hyper writes them. What the socket does not take at once is
//! copied out here, so a slow client keeps nothing of the ring.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use indrik_core::http1::{Broken, Rewriter, Screen};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::join::{JOIN_BYTES_MAX, joined};
use super::lending::Lending;
use super::preface::PREFACE_HEAD;
use super::reaper::{Phase, Watch};
use super::stream::{Discard, Stream, give_of};
use crate::front::account::{CONNECTION_BYTES, Charge};
use crate::front::settings::Settings;

/// Bytes of interim responses that may wait for the socket.
const INTERIM_BYTES_MAX: usize = 64 * 1024;
/// Heads up to this length are covered by what every connection is charged from its beginning.
const HEAD_COVERED_BYTES: usize = 4096;

/// What the socket and the request path share about a connection.
#[derive(Debug, Default)]
pub(crate) struct IoState {
    interim: Mutex<Interim>,
    /// Whether bytes of interim responses wait; spares the lock.
    has_interim: AtomicBool,
    /// Hyper has written something that it has not flushed: nothing may come in between.
    hyper_is_writing: AtomicBool,
    /// The screen has refused a head: hyper reads nothing any more.
    is_refused: AtomicBool,
    flushes: Flushes,
    /// The client has closed its direction while an answer was on its way; hyper has not been told.
    is_half_closed: AtomicBool,
    /// It is to be told.
    end_passes: AtomicBool,
    /// The client began as one does that knows the server to speak HTTP/2.
    begins_with_http2: AtomicBool,
    lending: Arc<Lending>,
}

/// How often everything that was to be written was, and who waits for the next time.
#[derive(Debug, Default)]
struct Flushes {
    count: AtomicU64,
    /// Something was written since.
    is_due: AtomicBool,
    /// Spares the lock.
    has_waiting: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

/// What the screen has refused, and why.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) broken: Broken,
    /// The request line, as far as it was there; empty for a body.
    pub(crate) line: Vec<u8>,
}

#[derive(Debug, Default)]
struct Interim {
    /// Bytes to go out before hyper's next ones.
    bytes: Vec<u8>,
    sent: usize,
    refused: Option<Refused>,
}

impl IoState {
    /// Queues an interim response. False: not now, a response is being written, or too much waits.
    pub(crate) fn send_interim(&self, bytes: &[u8]) -> bool {
        let mut interim = self.interim.lock();
        if self.hyper_is_writing.load(Ordering::Relaxed)
            || interim.bytes.len() + bytes.len() > INTERIM_BYTES_MAX
        {
            return false;
        }
        interim.bytes.extend_from_slice(bytes);
        self.has_interim.store(true, Ordering::Relaxed);
        true
    }

    /// What hyper has of workers' rings.
    pub(crate) fn lending(&self) -> &Arc<Lending> {
        &self.lending
    }

    /// How often everything that was to be written was.
    pub(crate) fn flushes(&self) -> u64 {
        self.flushes.count.load(Ordering::Relaxed)
    }

    /// Ready when everything was written once more than `count` times, and nothing waits since.
    pub(crate) fn poll_flushed(&self, count: u64, cx: &mut Context<'_>) -> Poll<()> {
        if self.flushes() > count && !self.flushes.is_due.load(Ordering::Relaxed) {
            return Poll::Ready(());
        }
        let mut waiting = self.flushes.waiting.lock();
        waiting.retain(|waker| !waker.will_wake(cx.waker()));
        waiting.push(cx.waker().clone());
        self.flushes.has_waiting.store(true, Ordering::Relaxed);
        Poll::Pending
    }

    fn note_flush(&self) {
        let flushes = &self.flushes;
        // Only the connection's task counts.
        flushes.count.store(self.flushes() + 1, Ordering::Relaxed);
        flushes.is_due.store(false, Ordering::Relaxed);
        // Looked at first: a swap costs every answer as much as a lock.
        if flushes.has_waiting.load(Ordering::Relaxed)
            && flushes.has_waiting.swap(false, Ordering::Relaxed)
        {
            let waiting = std::mem::take(&mut *flushes.waiting.lock());
            waiting.into_iter().for_each(Waker::wake);
        }
    }

    /// Whether something of hyper's is on its way out.
    pub(crate) fn is_writing(&self) -> bool {
        self.hyper_is_writing.load(Ordering::Relaxed)
    }

    /// What was refused, if anything was.
    pub(crate) fn refused(&self) -> Option<Refused> {
        self.interim.lock().refused.clone()
    }

    /// Whether hyper does not know yet that the client has closed its direction.
    pub(crate) fn is_half_closed(&self) -> bool {
        self.is_half_closed.load(Ordering::Relaxed)
    }

    /// Lets hyper know, at its next read, that the client has closed its direction.
    pub(crate) fn pass_end(&self) {
        self.is_half_closed.store(false, Ordering::Relaxed);
        self.end_passes.store(true, Ordering::Relaxed);
    }

    /// Whether the client began with HTTP/2.
    pub(crate) fn begins_with_http2(&self) -> bool {
        self.begins_with_http2.load(Ordering::Relaxed)
    }

    /// Whether a head was refused and nothing of hyper's is on its way out any more.
    pub(crate) fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed) && !self.hyper_is_writing.load(Ordering::Relaxed)
    }
}

/// A client's socket.
#[derive(Debug)]
pub(crate) struct ClientIo {
    stream: Stream,
    screen: Screen,
    /// Brings heads that a setting permits into their strict form first.
    rewriter: Option<Box<Rewriter>>,
    /// Bytes that were read and screened before and come first.
    before: Bytes,
    watch: Arc<Watch>,
    state: Arc<IoState>,
    /// What hyper takes for written and the socket has not taken.
    held: Bytes,
    broken: bool,
    /// The client has closed its direction.
    at_end: bool,
    /// Bytes of a head that is not complete yet; hyper keeps them.
    head_bytes: usize,
    /// What hyper's buffers take for the last head, also while its request is under way: its fields are
    /// parts of them.
    kept_bytes: usize,
    /// What it takes for the part of a body that it has read last: the application may not have it yet.
    body_bytes: usize,
    /// Interim responses that the socket does not take.
    interim_bytes: usize,
    charge: Charge,
}

/// What hyper has allocated for a head: a buffer that doubles until the head fits, and for what follows another
/// one as large. Small heads are covered by what every connection is charged.
fn buffers_of(head_bytes: usize) -> usize {
    if head_bytes <= HEAD_COVERED_BYTES { 0 } else { 2 * head_bytes.next_power_of_two() }
}

impl ClientIo {
    pub(crate) fn new(
        stream: Stream,
        settings: &Settings,
        watch: Arc<Watch>,
        state: Arc<IoState>,
    ) -> Self {
        let screen = Screen::new(settings.limits);
        let rewriter = (!settings.permits.is_nothing())
            .then(|| Box::new(Rewriter::new(settings.permits, settings.limits)));
        let charge = Charge::of(watch.holder());
        let is_direct = !matches!(stream, Stream::Tls(_));
        state.lending.set_direct(is_direct);
        Self {
            stream,
            screen,
            rewriter,
            before: Bytes::new(),
            held: Bytes::new(),
            watch,
            state,
            broken: false,
            at_end: false,
            head_bytes: 0,
            kept_bytes: 0,
            body_bytes: 0,
            interim_bytes: 0,
            charge,
        }
    }

    /// The connection, as others see it.
    pub(super) fn watch(&self) -> &Arc<Watch> {
        &self.watch
    }

    /// Puts bytes back in front. They have been screened.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        self.before = if self.before.is_empty() {
            bytes
        } else {
            [&bytes[..], &self.before[..]].concat().into()
        };
    }

    /// Whether the client's bytes so far end between two requests.
    pub(crate) fn is_between_requests(&self) -> bool {
        self.before.is_empty() && self.screen.is_between_requests() && !self.is_holding()
    }

    fn is_holding(&self) -> bool {
        self.rewriter.as_ref().is_some_and(|rewriter| rewriter.is_holding())
    }

    /// From here on the bytes are not HTTP.
    pub(crate) fn stop_screening(&mut self) {
        self.state.lending.set_direct(false);
        let held = self.screen.stop();
        let held = self.rewriter.take().map_or(held, |rewriter| rewriter.into_held());
        if !held.is_empty() {
            self.before = [&self.before[..], &held].concat().into();
        }
    }

    /// The request line of a head that is not complete, as far as it is there.
    pub(crate) fn begun_line(&self) -> Vec<u8> {
        match &self.rewriter {
            Some(rewriter) if rewriter.is_holding() => rewriter.begun_line(),
            Some(_) | None => self.screen.begun_line(),
        }
    }

    /// Whether the client has closed its direction.
    pub(crate) const fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Reads and throws away what the client still sends.
    pub(crate) async fn discard(&mut self, most: usize) {
        let mut discard = Discard::new(most);
        poll_fn(|cx| discard.poll(&mut self.stream, cx)).await;
    }

    /// Writes an answer of our own behind everything that hyper wrote.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = poll_fn(|cx| Pin::new(&mut self.stream).poll_write(cx, bytes)).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes = &bytes[sent..];
        }
        poll_fn(|cx| Pin::new(&mut self.stream).poll_flush(cx)).await
    }

    /// Whether the client has sent what nobody has looked at: it is not to be closed for being idle.
    pub(crate) fn has_unread(&self) -> bool {
        !self.broken && (!self.before.is_empty() || self.stream.has_unread())
    }

    /// The socket.
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Takes bytes of the client that were read elsewhere, before anything else.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let passed = self.pass(bytes).map_or_else(|passed| passed, Bytes::copy_from_slice);
        self.before = passed;
    }

    /// Shows the screen what came in. `Ok`: all of it passes as it is; else what passes of it.
    fn pass<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Bytes> {
        if let Some(rewriter) = &mut self.rewriter {
            let mut passed = Vec::new();
            let verdict = rewriter.read(&mut self.screen, bytes, &mut passed);
            self.note(verdict, bytes.len());
            return Err(passed.into());
        }
        let (passed, verdict) = self.screen.pass(bytes);
        if verdict.is_err() && bytes.starts_with(PREFACE_HEAD) {
            self.state.begins_with_http2.store(true, Ordering::Relaxed);
        }
        self.note(verdict, bytes.len());
        match passed {
            Cow::Borrowed(passed) if passed.len() == bytes.len() => Ok(bytes),
            // What belongs to the requests in front of a broken one is served.
            passed => Err(passed.into_owned().into()),
        }
    }

    fn note(&mut self, verdict: Result<(), Broken>, len: usize) {
        let in_head = self.screen.is_in_head() || self.is_holding();
        let before = self.head_bytes;
        self.head_bytes = if in_head { before + len } else { 0 };
        if before > 0 || in_head {
            self.kept_bytes = buffers_of(before + len);
        }
        self.body_bytes = if self.screen.is_in_body() { buffers_of(len) } else { 0 };
        self.weigh();
        self.watch.set_half_head(in_head);
        match verdict {
            Ok(()) if in_head => {
                // While a request is served, what comes behind it has time; its end sets the phase.
                if self.watch.phase() != Phase::Head && !self.watch.is_in_flight() {
                    self.watch.waits_for_head(Phase::Head);
                }
            }
            Ok(()) => {}
            Err(broken) => {
                self.broken = true;
                let line = self.screen.refused_line().to_vec();
                self.state.interim.lock().refused = Some(Refused { broken, line });
                if !self.screen.is_broken_in_body() {
                    self.state.is_refused.store(true, Ordering::Relaxed);
                }
            }
        }
    }

    /// Says what is held for the socket: by hyper, by TLS, and what waits to be written.
    fn weigh(&mut self) {
        let hyper = self.kept_bytes.max(self.body_bytes) + self.watch.unwritten();
        self.charge.set(hyper + self.interim_bytes + self.stream.tls_bytes());
    }

    /// The same where somebody else reads and writes by it (HTTP/2, a tunnel): who says what is held for that.
    fn weigh_own(&mut self) {
        self.charge.set(self.interim_bytes + self.stream.tls_bytes());
    }

    /// Ready when more may be read: while all that the front may hold is held, clients that have more of it
    /// than what is covered wait.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.holder().poll_room(CONNECTION_BYTES + self.stream.tls_bytes(), cx)
    }

    /// The end of what the client sends. A client that has sent its request may close its direction
    /// and wait for the answer; for hyper that is a client who has left. So hyper hears of it when the
    /// answer is out, or when somebody says that it shall ([`IoState::pass_end`]). Until then only a
    /// reset counts. Within a body the end is one: what is missing will not come.
    fn poll_end(&self) -> Poll<io::Result<()>> {
        let is_answering =
            self.watch.is_in_flight() || self.state.hyper_is_writing.load(Ordering::Relaxed);
        let is_told = self.state.end_passes.load(Ordering::Relaxed);
        if !is_answering || is_told || self.screen.is_in_body() {
            self.watch.ends(self.screen.is_in_body());
            return Poll::Ready(Ok(()));
        }
        self.state.is_half_closed.store(true, Ordering::Relaxed);
        // Nobody wakes us for a reset: the reaper does so for all that are half-closed.
        self.watch.set_half_closed();
        match self.stream.error() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    /// Gives hyper bytes that were read before.
    fn give_before(&mut self, cursor: &mut ReadBufCursor<'_>) {
        let len = self.before.len().min(cursor.remaining());
        cursor.put_slice(&self.before[..len]);
        self.before.advance(len);
    }

    /// How the stream ends for hyper after a refusal. A body must not only stop: no byte that could
    /// be put behind what hyper has of it fails in every place of a chunked one. After a refused
    /// head nothing comes; the connection sees it when hyper has nothing left to do.
    fn end_of_broken(&self) -> Poll<io::Result<()>> {
        if self.screen.is_broken_in_body() {
            let error = io::Error::new(io::ErrorKind::InvalidData, "the body's framing is broken");
            return Poll::Ready(Err(error));
        }
        Poll::Pending
    }

    /// Sends interim responses that wait.
    fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = Arc::clone(&self.state);
        let mut interim = state.interim.lock();
        while interim.sent < interim.bytes.len() {
            let from = interim.sent;
            match Pin::new(&mut self.stream).poll_write(cx, &interim.bytes[from..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(sent)) => interim.sent += sent,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {
                    self.interim_bytes = interim.bytes.capacity();
                    self.weigh();
                    return Poll::Pending;
                }
            }
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        interim.bytes = Vec::new();
        interim.sent = 0;
        self.interim_bytes = 0;
        state.has_interim.store(false, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }

    /// Notes whether the socket takes bytes.
    pub(super) fn note_write(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Pending if self.watch.phase() != Phase::Writing => self.watch.set(Phase::Writing),
            Poll::Ready(_) if self.watch.phase() == Phase::Writing => self.watch.written(),
            Poll::Pending | Poll::Ready(_) => {}
        }
    }

    /// Writes bytes of hyper's. What the socket does not take of them is kept here if pieces in workers' rings are
    /// among them: hyper lets go of those then.
    fn poll_write_parts(
        &mut self,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let result = self.poll_write_with(cx, write);
        if !self.state.lending.is_any_lent() {
            return result;
        }
        let taken = match &result {
            Poll::Ready(Ok(taken)) => *taken,
            Poll::Pending => 0,
            Poll::Ready(Err(_)) => return result,
        };
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        if taken < len {
            self.hold(parts, taken);
        }
        Poll::Ready(Ok(len))
    }

    #[cold]
    fn hold(&mut self, parts: &[io::IoSlice<'_>], taken: usize) {
        let mut held = self.held.to_vec();
        let mut skipped = taken;
        for part in parts {
            let skip = skipped.min(part.len());
            skipped -= skip;
            held.extend_from_slice(&part[skip..]);
        }
        self.held = held.into();
        self.state.lending.set_held(true);
        // Also if what waits before it has found the socket full: hyper's bytes are on their way.
        self.state.hyper_is_writing.store(true, Ordering::Relaxed);
        self.state.flushes.is_due.store(true, Ordering::Relaxed);
    }

    /// Writes what hyper takes for written.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            if self.state.has_interim.load(Ordering::Relaxed) {
                ready!(self.poll_interim(cx))?;
            }
            let result = Pin::new(&mut self.stream).poll_write(cx, &self.held);
            self.note_written(&result);
            match ready!(result)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => self.held.advance(taken),
            }
        }
        // Its memory too.
        self.held = Bytes::new();
        self.state.lending.set_held(false);
        Poll::Ready(Ok(()))
    }

    /// Writes bytes of hyper's, after what waits.
    fn poll_write_with(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if !self.held.is_empty() {
            ready!(self.poll_held(cx))?;
        }
        if self.state.has_interim.load(Ordering::Relaxed) {
            ready!(self.poll_interim(cx))?;
        }
        self.state.hyper_is_writing.store(true, Ordering::Relaxed);
        self.state.flushes.is_due.store(true, Ordering::Relaxed);
        let result = write(Pin::new(&mut self.stream), cx);
        self.note_written(&result);
        result
    }

    fn note_written(&mut self, result: &Poll<io::Result<usize>>) {
        self.note_write(result);
        if let Poll::Ready(Ok(len)) = result {
            self.watch.wrote(*len);
        }
        // What hyper and TLS keep, or we do, until the socket takes it.
        self.weigh();
    }
}

impl Read for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.before.is_empty() {
            this.give_before(&mut cursor);
            return Poll::Ready(Ok(()));
        }
        if this.broken {
            return this.end_of_broken();
        }
        // An interim response goes out even while hyper only reads.
        if this.state.has_interim.load(Ordering::Relaxed)
            && let Poll::Ready(Err(error)) = this.poll_interim(cx)
        {
            return Poll::Ready(Err(error));
        }
        if this.at_end {
            return this.poll_end();
        }
        // Into hyper's own buffer, as much as there is room for: a body is copied once on its way there.
        Pin::new(&mut TokioIo::new(Screened(this))).poll_read(cx, cursor)
    }
}

/// What is read passes the screen before anybody sees it.
struct Screened<'a>(&'a mut ClientIo);

impl AsyncRead for Screened<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self.0;
        loop {
            // Each time: what the screen holds back of a head is charged, and hyper does not come to hear of it.
            ready!(this.poll_room(cx));
            ready!(this.watch.heard(Pin::new(&mut this.stream).poll_read(cx, into)))?;
            let bytes = into.filled();
            this.at_end = bytes.is_empty();
            if this.at_end {
                return this.poll_end();
            }
            let Some(passed) = this.pass(bytes).err() else {
                return Poll::Ready(Ok(()));
            };
            into.clear();
            this.before = passed;
            if !this.before.is_empty() {
                give_of(&mut this.before, into);
                return Poll::Ready(Ok(()));
            }
            if this.broken {
                return this.end_of_broken();
            }
            // All of it is held; hyper would take an empty read for the end.
        }
    }
}

impl Write for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let parts = [io::IoSlice::new(bytes)];
        self.poll_write_parts(cx, &parts, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = [0; JOIN_BYTES_MAX];
        if let Some(joined) = joined(parts, &mut buffer) {
            return self.poll_write_parts(cx, parts, |stream, cx| stream.poll_write(cx, joined));
        }
        self.poll_write_parts(cx, parts, |stream, cx| stream.poll_write_vectored(cx, parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Hyper flushes when its own buffer is empty.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.held.is_empty() {
            ready!(self.poll_held(cx))?;
        }
        self.state.hyper_is_writing.store(false, Ordering::Relaxed);
        self.watch.wrote_all();
        if self.state.has_interim.load(Ordering::Relaxed) {
            ready!(self.poll_interim(cx))?;
        }
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        self.state.note_flush();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// The same socket for the WebSocket session and for HTTP/2, as tokio reads and writes it.
impl AsyncRead for ClientIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            ready!(self.poll_room(cx));
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        give_of(&mut self.before, into);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClientIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.weigh_own();
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.weigh_own();
        result
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use indrik_core::memory::account::Limits;
    use indrik_core::settings::{ConfigFileValues, Launch, resolve};
    use indrik_ring::{
        ChannelLimits, Descriptor, Flags, FrontChannel, Kind, WorkerChannel, channel_pair,
    };

    use super::*;
    use crate::front::account::Account;
    use crate::front::conn::reaper::Connections;
    use crate::front::exchange::Part;

    const PIECE: usize = 256 * 1024;

    fn settings() -> Settings {
        let launch = Launch::bare("/app".into());
        let values = [("wsgi_app".to_owned(), "main:app".into())].into_iter().collect();
        let file = ConfigFileValues { values, ..ConfigFileValues::default() };
        Settings::new(Arc::new(resolve(&launch, Some(&file)).unwrap()), None)
    }

    fn channel() -> (FrontChannel, WorkerChannel) {
        let limits = ChannelLimits::default();
        let (front, worker) = channel_pair(limits).unwrap();
        (FrontChannel::open(front, limits).unwrap(), WorkerChannel::open(worker).unwrap())
    }

    fn lend(front: &mut FrontChannel, worker: &mut WorkerChannel, byte: u8) -> Part {
        let descriptor = Descriptor::new(Kind::ResponseBody, Flags::NONE, 0, 1, 0);
        worker.responses.send(descriptor, PIECE, |into| into.fill(byte)).unwrap();
        let descriptor = front.responses.receive().unwrap().unwrap();
        Part::Lent(front.responses.lend(&descriptor, 0))
    }

    #[tokio::test]
    async fn a_client_that_takes_part_of_a_piece_keeps_nothing_of_the_worker_s_ring() {
        let (mut client, ours) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        client.set_nonblocking(true).unwrap();
        let account = Account::new(Limits { total: u64::MAX, connection: u64::MAX });
        let watch = Connections::default().add(&account).1;
        let state = Arc::new(IoState::default());
        let stream = Stream::Unix(tokio::net::UnixStream::from_std(ours).unwrap());
        let mut io = ClientIo::new(stream, &settings(), Arc::clone(&watch), Arc::clone(&state));
        let (mut front, mut worker) = channel();

        let lending = Arc::clone(state.lending());
        let pieces =
            [b'a', b'b'].map(|byte| lending.on_its_way(lend(&mut front, &mut worker, byte)));
        let _ = front.responses.release();
        assert!(!worker.responses.is_drained());
        watch.gives_out(2 * PIECE);
        let write = poll_fn(|cx| {
            let parts = pieces.each_ref().map(|piece| io::IoSlice::new(piece));
            let first = Write::poll_write_vectored(Pin::new(&mut io), cx, &parts);
            assert!(
                Write::poll_flush(Pin::new(&mut io), cx).is_pending(),
                "the socket took it all"
            );
            first
        });
        assert_eq!(write.await.unwrap(), 2 * PIECE);
        drop(pieces);
        assert!(worker.responses.is_drained(), "the ring is held up");
        assert!(watch.unwritten() > 0 && state.is_writing(), "what is held counts");
        // Overwritten in the ring.
        let own = lending.on_its_way(lend(&mut front, &mut worker, b'c'));
        assert!(!lending.is_any_lent(), "behind what is held nothing is lent");
        drop(own);

        let mut got = Vec::new();
        poll_fn(|cx| {
            let flushed = Write::poll_flush(Pin::new(&mut io), cx);
            let _ = client.read_to_end(&mut got);
            flushed
        })
        .await
        .unwrap();
        let _ = client.read_to_end(&mut got);
        assert_eq!(got.len(), 2 * PIECE);
        assert!(got[..PIECE].iter().all(|byte| *byte == b'a'));
        assert!(got[PIECE..].iter().all(|byte| *byte == b'b'));
        assert_eq!(watch.unwritten(), 0);
    }
}
