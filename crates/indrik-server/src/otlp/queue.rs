//! Where spans wait for the exporter's thread.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use indrik_core::trace::export::Export;
use indrik_core::trace::span::Span;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::mpsc;

use super::carry::{self, Carrier};
use super::counts::{BATCH_SPANS, Counts, FLUSH_MAX, Lost};
use crate::log::Log;

/// Spans that wait to be exported. More are lost, and counted.
const SPANS_WAITING_MAX: usize = 2_048;
/// The way of spans to a collector.
pub(crate) struct Exporter {
    export: Export,
    interval: Duration,
    log: Arc<Log>,
    counts: Arc<Counts>,
    state: Mutex<State>,
    /// Looked at by every request without the lock.
    queue: std::sync::OnceLock<Queue>,
}

/// What requests put their spans into.
struct Queue {
    spans: mpsc::Sender<Span>,
    full: Arc<Notify>,
}

enum State {
    /// The thread is started by the first span: until then the process may still fork.
    Idle,
    Running {
        close: Arc<Notify>,
        ended: Receiver<()>,
    },
    Closed,
}

impl Exporter {
    /// The way to a collector; nothing is opened before the first span.
    pub(crate) fn new(
        export: Export,
        interval: Duration,
        log: &Arc<Log>,
        counts: &Arc<Counts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            export,
            interval,
            log: Arc::clone(log),
            counts: Arc::clone(counts),
            state: Mutex::new(State::Idle),
            queue: std::sync::OnceLock::new(),
        })
    }

    /// Whether it does what these settings ask for.
    pub(crate) fn is_like(&self, export: &Export, interval: Duration) -> bool {
        self.export == *export && self.interval == interval
    }

    /// Takes a span; never waits.
    pub(crate) fn send(&self, span: Span) {
        let queue = match self.queue.get() {
            Some(queue) => queue,
            None => match self.start() {
                Some(queue) => queue,
                None => return self.counts.loses(1, Lost::Ended),
            },
        };
        if queue.spans.try_send(span).is_err() {
            let is_over = queue.spans.is_closed();
            self.counts.loses(1, if is_over { Lost::Ended } else { Lost::QueueFull });
        }
        // The thread is not woken for each: it looks when a batch is full, and when its time has come.
        let waiting = SPANS_WAITING_MAX - queue.spans.capacity();
        if waiting == BATCH_SPANS || waiting == SPANS_WAITING_MAX {
            queue.full.notify_one();
        }
    }

    #[cold]
    fn start(&self) -> Option<&Queue> {
        let mut state = self.state.lock();
        if matches!(*state, State::Idle) {
            let (spans, waiting) = mpsc::channel(SPANS_WAITING_MAX);
            let (tell, ended) = channel();
            let (full, close) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
            let carrier = Carrier {
                export: self.export.clone(),
                interval: self.interval,
                log: Arc::clone(&self.log),
                counts: Arc::clone(&self.counts),
                waiting,
                full: Arc::clone(&full),
                close: Arc::clone(&close),
            };
            let run = move || {
                carry::run(carrier);
                drop(tell);
            };
            // A process that cannot have a thread loses the spans.
            if thread::Builder::new().name("indrik-otlp".to_owned()).spawn(run).is_err() {
                *state = State::Closed;
                return None;
            }
            let _ = self.queue.set(Queue { spans, full });
            *state = State::Running { close, ended };
        }
        self.queue.get()
    }

    /// The end: what waits is exported, within a limit.
    pub(crate) fn close(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), State::Closed);
        if let State::Running { close, ended } = state {
            close.notify_one();
            let end = ended.recv_timeout(FLUSH_MAX);
            if end == Err(RecvTimeoutError::Timeout) {
                self.log.error(
                    "OTLP: the last spans are lost: the collector was too slow to take them",
                );
            }
        }
    }
}

/// Others go on without it (a reload): its thread exports what waits, and ends.
impl Drop for Exporter {
    fn drop(&mut self) {
        if let State::Running { close, .. } = self.state.get_mut() {
            close.notify_one();
        }
    }
}

impl std::fmt::Debug for Exporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exporter").finish_non_exhaustive()
    }
}
