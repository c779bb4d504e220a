//! What a connection holds of its streams, for the account.

use std::sync::atomic::{AtomicUsize, Ordering};

/// What is held between the socket and the request path.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Bytes of answers given to it since the socket took all it had.
    sent: AtomicUsize,
    /// Bytes of requests that came and were not taken out.
    received: AtomicUsize,
    /// Bytes of a head that is not complete.
    block: AtomicUsize,
    /// Frames that may have made the library keep an answer, since the socket took all it had.
    answers: AtomicUsize,
}

/// What the library keeps for a frame that it has to answer, by an estimate: an entry of its queue, and of its
/// table of streams for a while after one was reset.
const ANSWER_BYTES: usize = 512;

impl Held {
    /// Bytes of an answer are given to it.
    pub(crate) fn send(&self, bytes: usize) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The socket has taken all.
    pub(crate) fn all_sent(&self) {
        self.sent.store(0, Ordering::Relaxed);
        self.answers.store(0, Ordering::Relaxed);
    }

    /// Bytes of a request have come. `most`: more than the windows allow are not kept.
    pub(crate) fn receive(&self, bytes: usize, most: usize) {
        let held = self.received.load(Ordering::Relaxed).saturating_add(bytes);
        self.received.store(held.min(most), Ordering::Relaxed);
    }

    /// A frame has come that carries no request and no body of one.
    pub(crate) fn answers(&self) {
        self.answers.fetch_add(1, Ordering::Relaxed);
    }

    /// Bytes of a request are taken out, or thrown away.
    pub(crate) fn take(&self, bytes: usize) {
        let held = self.received.load(Ordering::Relaxed).saturating_sub(bytes);
        self.received.store(held, Ordering::Relaxed);
    }

    /// So many bytes of a head are held.
    pub(crate) fn hold_block(&self, bytes: usize) {
        self.block.store(bytes, Ordering::Relaxed);
    }

    /// All of it.
    pub(crate) fn bytes(&self) -> usize {
        let parts = [&self.sent, &self.received, &self.block];
        let bytes: usize = parts.iter().map(|part| part.load(Ordering::Relaxed)).sum();
        bytes + self.answers.load(Ordering::Relaxed) * ANSWER_BYTES
    }
}
