//! A client's socket itself, with TLS on it or not.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::server::TlsStream;

use crate::front::metrics;

/// Bytes thrown away at once.
const DISCARD_BYTES: usize = 4096;

/// Bytes that TLS holds at most while the socket takes none: it accepts no more then.
pub(super) const TLS_SEND_BYTES_MAX: usize = 64 * 1024;
/// What TLS holds otherwise, by an estimate: keys, and the most of a record that is not complete.
const TLS_BYTES: usize = 8 * 1024;

/// The socket itself.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    /// One of the others with TLS on it. Boxed: it is large, and most servers have none.
    Tls(Box<TlsStream<Self>>),
    /// One of the first two, bytes of it that were read ahead, and how many were read since.
    Ahead(Box<(Bytes, Self, usize)>),
}

impl Stream {
    /// Whether TLS and the client have agreed on HTTP/2 (ALPN).
    pub(crate) fn agreed_on_http2(&self) -> bool {
        matches!(self, Self::Tls(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2"))
    }

    /// What TLS holds, as far as it is to be known: the library says whether something waits for the socket, not
    /// how much.
    pub(super) fn tls_bytes(&self) -> usize {
        match self {
            Self::Tls(stream) if stream.get_ref().1.wants_write() => TLS_BYTES + TLS_SEND_BYTES_MAX,
            Self::Tls(_) => TLS_BYTES,
            Self::Tcp(_) | Self::Unix(_) | Self::Ahead(_) => 0,
        }
    }

    /// How many bytes came since it was looked at what the client begins with.
    pub(super) const fn read_since(&self) -> usize {
        match self {
            Self::Ahead(ahead) => ahead.2,
            Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) => 0,
        }
    }

    /// What has gone wrong with the socket: the client has reset it.
    pub(super) fn error(&self) -> Option<io::Error> {
        match self {
            Self::Tcp(stream) => stream.take_error().unwrap_or_else(Some),
            Self::Unix(stream) => stream.take_error().unwrap_or_else(Some),
            Self::Tls(stream) => stream.get_ref().0.error(),
            Self::Ahead(ahead) => ahead.1.error(),
        }
    }

    /// Whether bytes of the client lie unread, as the kernel knows it: tokio may not have heard of them. What
    /// reads the socket will. For whoever is about to close it; the end is nothing to wait for.
    pub(crate) fn has_unread(&self) -> bool {
        match self {
            Self::Tcp(stream) => is_there(stream),
            Self::Unix(stream) => is_there(stream),
            Self::Tls(stream) => {
                !stream.get_ref().1.wants_read() || stream.get_ref().0.has_unread()
            }
            Self::Ahead(ahead) => !ahead.0.is_empty() || ahead.1.has_unread(),
        }
    }

    /// Ready when there are bytes, or the end.
    pub(crate) fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tcp(stream) => stream.poll_read_ready(cx),
            Self::Unix(stream) => stream.poll_read_ready(cx),
            // TLS may have read a request together with the end of the handshake.
            Self::Tls(stream) if !stream.get_ref().1.wants_read() => Poll::Ready(Ok(())),
            Self::Tls(stream) => stream.get_ref().0.poll_read_ready(cx),
            Self::Ahead(ahead) if ahead.0.is_empty() => ahead.1.poll_read_ready(cx),
            Self::Ahead(_) => Poll::Ready(Ok(())),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => counted_read(Pin::new(stream), cx, into),
            Self::Unix(stream) => counted_read(Pin::new(stream), cx, into),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Ahead(ahead) if ahead.0.is_empty() => {
                let before = into.filled().len();
                let poll = Pin::new(&mut ahead.1).poll_read(cx, into);
                ahead.2 += into.filled().len() - before;
                poll
            }
            Self::Ahead(ahead) => {
                give_of(&mut ahead.0, into);
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => counted(Pin::new(stream).poll_write(cx, bytes)),
            Self::Unix(stream) => counted(Pin::new(stream).poll_write(cx, bytes)),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Ahead(ahead) => Pin::new(&mut ahead.1).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => counted(Pin::new(stream).poll_write_vectored(cx, parts)),
            Self::Unix(stream) => counted(Pin::new(stream).poll_write_vectored(cx, parts)),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Ahead(ahead) => Pin::new(&mut ahead.1).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// A plain socket has nothing to flush; TLS may hold records that found the socket full.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Ahead(ahead) => Pin::new(&mut ahead.1).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Ahead(ahead) => Pin::new(&mut ahead.1).poll_shutdown(cx),
        }
    }
}

/// Reads, and counts what came.
fn counted_read(
    socket: Pin<&mut impl AsyncRead>,
    cx: &mut Context<'_>,
    into: &mut ReadBuf<'_>,
) -> Poll<io::Result<()>> {
    let before = into.filled().len();
    let read = socket.poll_read(cx, into);
    metrics::received(into.filled().len() - before);
    read
}

/// Counts what a socket took.
fn counted(written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    if let Poll::Ready(Ok(len)) = written {
        metrics::sent(len);
    }
    written
}

/// Whether a socket has bytes to read.
fn is_there(socket: &impl AsFd) -> bool {
    let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
    rustix::net::recv(socket, &mut [0; 1], flags).is_ok_and(|(len, _)| len > 0)
}

/// Gives as much of bytes that were read before as there is room for; returns how much that is.
pub(super) fn give_of(read: &mut Bytes, into: &mut ReadBuf<'_>) -> usize {
    let len = read.len().min(into.remaining());
    into.put_slice(&read.split_to(len));
    len
}

/// Reading and throwing away what a client still sends, up to a limit.
#[derive(Debug)]
pub(super) struct Discard {
    bytes_left: usize,
}

impl Discard {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes_left: bytes_max }
    }

    /// Ready at the end of what the client sends, or at the limit.
    pub(super) fn poll(
        &mut self,
        from: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut scratch = [0; DISCARD_BYTES];
        while self.bytes_left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            let is_over = ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer)).is_err();
            let len = buffer.filled().len();
            self.bytes_left =
                if is_over || len == 0 { 0 } else { self.bytes_left.saturating_sub(len) };
        }
        Poll::Ready(())
    }
}
