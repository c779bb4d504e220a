//! What a client sends on a stream behind the head, for who reads it: a request's body, or a tunnel.

use std::sync::Arc;
use std::task::{Context, Poll};

use ::h2::RecvStream;
use bytes::Bytes;

use super::held::Held;

/// The client's direction of a stream. Whatever is not taken out of it is given back when it is dropped.
pub(crate) struct Receiver {
    receive: RecvStream,
    stream: u32,
    held: Arc<Held>,
}

impl Receiver {
    pub(crate) fn new(receive: RecvStream, held: &Arc<Held>) -> Self {
        let stream = receive.stream_id().as_u32();
        held.is_read(stream);
        Self { receive, stream, held: Arc::clone(held) }
    }

    /// Whether all of it has been taken.
    pub(crate) fn is_end_stream(&self) -> bool {
        self.receive.is_end_stream()
    }

    /// What one frame brought. It counts as held here until it is somebody else's ([`Self::took`]).
    pub(crate) fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ::h2::Error>>> {
        let data = self.receive.poll_data(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &data {
            self.held.took_frame(self.stream, bytes.len());
        }
        data
    }

    /// Bytes that came out are held by somebody else from now on, or by nobody.
    pub(crate) fn took(&self, bytes: usize) {
        self.held.took(self.stream, bytes);
    }

    /// The client may send so many bytes more.
    ///
    /// # Errors
    /// The stream is over.
    pub(crate) fn release(&mut self, bytes: usize) -> Result<(), ::h2::Error> {
        if bytes == 0 { Ok(()) } else { self.receive.flow_control().release_capacity(bytes) }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.held.is_read_no_more(self.stream);
    }
}
