//! A request's body that streams to the application, and what becomes of the rest of one whose answer
//! is there already.
//!
//! In HTTP/1 the next request comes behind the body, so a rest that is short is read and thrown away:
//! closing would cost the client its connection for an answer that has nothing to do with it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http_body::Body as _;
use indrik_ring::{CHUNK_MAX, Flags, Kind};
use tokio::time::timeout;

use super::RequestBody;
use super::upload::Reader;
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
pub(in crate::front) struct Pump {
    task: Option<tokio::task::AbortHandle>,
    rest: Arc<Rest>,
}

impl Pump {
    /// The answer is complete, and in HTTP/1: the application gets no more of the body, and the
    /// connection is kept if the rest is short.
    pub(in crate::front) fn discard_rest(mut self) {
        if let Some(task) = self.task.take_if(|task| !task.is_finished()) {
            self.rest.hold();
            // Not to be ended with this handle; it notices that nobody takes the body any more.
            drop(task);
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
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

/// Starts to stream a body.
pub(in crate::front) fn pump(
    context: &RequestContext,
    exchange: &Arc<Exchange>,
    body: RequestBody,
) -> Pump {
    let (services, exchange) = (Arc::clone(context.services()), Arc::clone(exchange));
    let rest = Rest::new(context);
    let held = Held(Arc::clone(&rest));
    let mut reader = Reader::new(context, body);
    let task = tokio::spawn(async move {
        let held = held;
        if !stream(&services, &exchange, &mut reader).await {
            discard(&mut reader).await;
        }
        drop(held);
    });
    Pump { task: Some(task.abort_handle()), rest }
}

/// Reads and throws away a body that the application did not ask for.
pub(in crate::front) fn discard_all(context: &RequestContext, body: RequestBody) {
    let rest = Rest::new(context);
    rest.hold();
    let held = Held(rest);
    let mut reader = Reader::new(context, body);
    tokio::spawn(async move {
        discard(&mut reader).await;
        drop(held);
    });
}

/// Whether a body that nobody wants is short enough to be thrown away, as far as that is known.
pub(in crate::front) fn is_short(body: &RequestBody) -> bool {
    body.size_hint().exact().is_none_or(|len| len <= DISCARD_BYTES_MAX as u64)
}

async fn discard(reader: &mut Reader) {
    let all = async {
        let mut bytes = 0;
        while bytes <= DISCARD_BYTES_MAX {
            match reader.next().await {
                Ok(Some(piece)) => bytes += piece.len(),
                Ok(None) | Err(_) => return,
            }
        }
    };
    // What is left then goes with the reader, and the connection with it.
    let _ = timeout(DISCARD_WAIT_MAX, all).await;
}

/// Sends the body to the application. False: it has returned, or answered, before the end.
async fn stream(services: &Services, exchange: &Exchange, reader: &mut Reader) -> bool {
    let mut sent = 0;
    loop {
        match reader.next().await {
            Ok(Some(bytes)) => {
                for piece in bytes.chunks(CHUNK_MAX) {
                    if !send(services, exchange, Flags::NONE, piece, sent).await {
                        return false;
                    }
                    sent += piece.len() as u64;
                }
            }
            Ok(None) => {
                send(services, exchange, Flags::END, &[], sent).await;
                return true;
            }
            Err(refusal) => {
                // A broken body never looks like a whole one.
                if let Some(waker) = exchange.put(Event::UploadBroken(refusal)) {
                    waker.wake();
                }
                return true;
            }
        }
    }
}

async fn send(
    services: &Services,
    exchange: &Exchange,
    flags: Flags,
    bytes: &[u8],
    sent: u64,
) -> bool {
    let piece = Piece { kind: Kind::RequestBody, flags, aux: 0, bytes };
    poll_fn(|cx| {
        let polled = services.pool.poll_send_piece(exchange, &piece, sent, cx);
        // Asked after it has registered to be woken, so that no wake-up is lost.
        if exchange.is_abandoned() { std::task::Poll::Ready(false) } else { polled }
    })
    .await
}
