//! A stream that was accepted as a tunnel (RFC 8441), as a socket.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ::h2::SendStream;
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::held::Held;
use super::receiver::Receiver;
use crate::front::conn::stream::give_of;
use crate::front::websocket::session::Socket;

/// Bytes given to the library at once.
const PIECE_BYTES_MAX: usize = 16 * 1024;

/// Both directions of a stream.
pub(crate) struct Tunnel {
    send: SendStream<Bytes>,
    receive: Receiver,
    held: Arc<Held>,
    /// What came and was not read yet; the client's window has it until then.
    unread: Bytes,
    is_shut: bool,
}

impl Tunnel {
    pub(super) const fn new(send: SendStream<Bytes>, receive: Receiver, held: Arc<Held>) -> Self {
        Self { send, receive, held, unread: Bytes::new(), is_shut: false }
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        // No byte on its way is in danger of what a client still sends, as on a socket of its own: nothing is
        // waited for behind the end of ours.
        if this.is_shut {
            return Poll::Ready(Ok(()));
        }
        while this.unread.is_empty() {
            match ready!(this.receive.poll_data(cx)) {
                Some(Ok(bytes)) => this.unread = bytes,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let len = give_of(&mut this.unread, into);
        this.receive.took(len);
        this.receive.release(len).map_err(broken)?;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let wanted = bytes.len().min(PIECE_BYTES_MAX);
        this.send.reserve_capacity(wanted);
        let room = match this.send.capacity() {
            0 => match ready!(this.send.poll_capacity(cx)) {
                Some(room) => room.map_err(broken)?,
                None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            },
            room => room,
        };
        let len = room.min(wanted);
        this.send.send_data(Bytes::copy_from_slice(&bytes[..len]), false).map_err(broken)?;
        this.held.sends(this.send.stream_id().as_u32(), len);
        Poll::Ready(Ok(len))
    }

    /// The driver writes what it has been given.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.is_shut, true) {
            self.send.send_data(Bytes::new(), true).map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl Socket for Tunnel {
    /// The stream was reset, or its connection is over.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.send.poll_reset(cx).map(drop)
    }
}

fn broken(error: ::h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, error)
}
