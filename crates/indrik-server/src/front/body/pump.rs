//! The rest of a request's body on its way to an ASGI application, as fast as that takes it; and what becomes
//! of the rest of one whose answer is there already.
//!
//! What was sent is held up to a limit, for another worker should this one end before it answers.
//!
//! In HTTP/1 the next request comes behind the body, so a rest that is short is read and thrown away:
//! closing would cost the client its connection for an answer that has nothing to do with it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use indrik_core::upload::Kept;
use indrik_ring::{Flags, Kind, REQUEST_PIECE_MAX};
use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use super::upload::{HELD_BYTES_MAX, Reader};
use crate::front::conn::reaper::Watch;
use crate::front::context::RequestContext;
use crate::front::exchange::{Event, Exchange};
use crate::front::pool::Piece;
use crate::front::services::Services;

/// Bytes of a body that are thrown away behind an answer; with more the connection is closed.
const DISCARD_BYTES_MAX: usize = 1024 * 1024;
/// For how long they are waited for.
const DISCARD_WAIT_MAX: Duration = Duration::from_secs(10);

/// The task that streams a body to the application; it ends with this handle.
pub(crate) struct Pump {
    task: Option<AbortHandle>,
    stream: Arc<Mutex<Stream>>,
    rest: Arc<Rest>,
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Pump {
    /// Starts to stream what `reader` has, behind what has gone with the request.
    pub(crate) fn start(
        context: &RequestContext,
        exchange: &Arc<Exchange>,
        reader: Reader,
    ) -> Self {
        let stream = Arc::new(Mutex::new(Stream::new(reader, exchange)));
        let rest = Rest::new(context);
        let task = spawn(context.services(), exchange, &stream, &rest);
        Self { task: Some(task), stream, rest }
    }

    /// Whether the front still has all that it has sent.
    pub(crate) fn holds_all(&self) -> bool {
        self.stream.lock().kept.is_whole()
    }

    /// No other worker will have the request: nothing is held from now on.
    pub(crate) fn forget(&self) {
        self.stream.lock().forget();
    }

    /// The worker is gone. Nothing is sent until [`Self::restart`].
    pub(crate) fn stop(&mut self) {
        self.stream.lock().is_stopped = true;
        self.task.take().into_iter().for_each(|task| task.abort());
    }

    /// Another worker wants the body, from its beginning.
    pub(crate) fn restart(&mut self, context: &RequestContext, exchange: &Arc<Exchange>) {
        self.stop();
        self.stream.lock().begin_again();
        self.task = Some(spawn(context.services(), exchange, &self.stream, &self.rest));
    }

    /// The answer is complete, and in HTTP/1: the application gets no more of the body, and the
    /// connection is kept if the rest is short.
    pub(crate) fn discard_rest(mut self) {
        if let Some(task) = self.task.take_if(|task| !task.is_finished()) {
            self.rest.hold();
            // Not to be ended with this handle; it notices that nobody takes the body any more.
            drop(task);
        }
    }
}

/// The rest of a body keeps its connection as busy as a request does: nothing may take it for idle.
struct Rest {
    watch: Arc<Watch>,
    is_held: AtomicBool,
}

impl Rest {
    fn new(context: &RequestContext) -> Arc<Self> {
        let watch = Arc::clone(&context.connection.watch);
        Arc::new(Self { watch, is_held: AtomicBool::new(false) })
    }

    fn hold(&self) {
        self.watch.begin();
        self.is_held.store(true, Ordering::Relaxed);
    }
}

/// In the task that reads it.
struct Held(Arc<Rest>);

impl Drop for Held {
    fn drop(&mut self) {
        if self.0.is_held.load(Ordering::Relaxed) {
            self.0.watch.end();
        }
    }
}

fn spawn(
    services: &Arc<Services>,
    exchange: &Arc<Exchange>,
    stream: &Arc<Mutex<Stream>>,
    rest: &Arc<Rest>,
) -> AbortHandle {
    let (services, exchange) = (Arc::clone(services), Arc::clone(exchange));
    let (stream, held) = (Arc::clone(stream), Held(Arc::clone(rest)));
    let task = tokio::spawn(async move {
        let held = held;
        if !poll_fn(|cx| stream.lock().poll(&services, &exchange, cx)).await {
            discard(|cx| stream.lock().reader.poll_next(cx)).await;
        }
        drop(held);
    });
    task.abort_handle()
}

/// Reads and throws away a body that the application did not ask for.
pub(crate) fn discard_all(context: &RequestContext, mut reader: Reader) {
    let rest = Rest::new(context);
    rest.hold();
    let held = Held(rest);
    tokio::spawn(async move {
        discard(|cx| reader.poll_next(cx)).await;
        drop(held);
    });
}

/// Whether a body that nobody wants is short enough to be thrown away, as far as that is known.
pub(crate) fn is_short(reader: &Reader) -> bool {
    reader.left().is_none_or(|len| len <= DISCARD_BYTES_MAX as u64)
}

async fn discard<E>(mut poll_next: impl FnMut(&mut Context<'_>) -> Poll<Result<Option<Bytes>, E>>) {
    let all = async {
        let mut bytes = 0;
        while bytes <= DISCARD_BYTES_MAX {
            match poll_fn(&mut poll_next).await {
                Ok(Some(piece)) => bytes += piece.len(),
                Ok(None) | Err(_) => return,
            }
        }
    };
    // What is left then goes with the reader, and the connection with it.
    let _ = timeout(DISCARD_WAIT_MAX, all).await;
}

/// A body under way.
struct Stream {
    reader: Reader,
    /// What went with the request: the exchange has it, and is charged for it.
    first: usize,
    /// What was sent behind the request, for another try.
    kept: Kept<Bytes>,
    /// What is to be sent next.
    piece: Bytes,
    /// Bytes that this worker was sent.
    sent: u64,
    has_ended: bool,
    is_stopped: bool,
}

impl Stream {
    fn new(reader: Reader, exchange: &Exchange) -> Self {
        let first = exchange.outgoing.body.len();
        Self {
            reader,
            first,
            kept: Kept::new(first, HELD_BYTES_MAX),
            piece: Bytes::new(),
            sent: first as u64,
            has_ended: false,
            is_stopped: false,
        }
    }

    fn begin_again(&mut self) {
        self.kept.begin_again();
        self.piece = Bytes::new();
        self.sent = self.first as u64;
        self.is_stopped = false;
    }

    fn forget(&mut self) {
        self.kept.let_go();
        self.weigh();
    }

    /// Sends the body to the application. False: it has returned, or answered, before the end, and nobody else will
    /// have the request.
    fn poll(
        &mut self,
        services: &Services,
        exchange: &Exchange,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        while !self.is_stopped {
            if !self.piece.is_empty() {
                let len = self.piece.len().min(REQUEST_PIECE_MAX);
                let piece = &self.piece[..len];
                if !ready!(poll_send(services, exchange, Flags::NONE, piece, self.sent, cx)) {
                    return Poll::Ready(false);
                }
                self.piece.advance(len);
                self.sent += len as u64;
            } else if let Some(piece) = self.kept.again() {
                self.piece = piece;
                self.weigh();
            } else if self.has_ended {
                let _ = ready!(poll_send(services, exchange, Flags::END, &[], self.sent, cx));
                return Poll::Ready(true);
            } else {
                match ready!(self.reader.poll_next(cx)) {
                    Ok(Some(bytes)) => self.take(bytes),
                    Ok(None) => self.has_ended = true,
                    Err(refusal) => {
                        // A broken body never looks like a whole one.
                        if let Some(waker) = exchange.put(Event::UploadBroken(refusal)) {
                            waker.wake();
                        }
                        return Poll::Ready(true);
                    }
                }
            }
        }
        Poll::Ready(true)
    }

    fn take(&mut self, bytes: Bytes) {
        self.kept.take(&bytes, bytes.len());
        self.piece = bytes;
        self.weigh();
    }

    fn weigh(&mut self) {
        let kept = self.kept.bytes().saturating_sub(self.first);
        self.reader.holds(kept.max(self.piece.len()));
    }
}

fn poll_send(
    services: &Services,
    exchange: &Exchange,
    flags: Flags,
    bytes: &[u8],
    sent: u64,
    cx: &mut Context<'_>,
) -> Poll<bool> {
    let piece = Piece { kind: Kind::RequestBody, flags, aux: 0, bytes };
    let polled = services.pool.poll_send_piece(exchange, &piece, sent, cx);
    // Asked after it has registered to be woken, so that no wake-up is lost.
    if exchange.is_abandoned() { Poll::Ready(false) } else { polled }
}
