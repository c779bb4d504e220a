//! Taking connections from the kernel.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::client_io::Stream;
use super::connection::{Open, Origin, serve_connection};
use super::{Listener, Shared};

/// Pause after the system refused a connection for want of something (file descriptors).
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// When accepting ends: connections taken from the kernel's queue at most.
const LAST_ACCEPTS_MAX: usize = 65_536;

/// The listening sockets that are still accepted from.
pub(super) type Accepting = Arc<AtomicUsize>;

enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// Accepts from one socket until told to stop, and gives the connections to the threads in turn.
pub(super) async fn accept(
    shared: Arc<Shared>,
    listener: Listener,
    index: u16,
    threads: Arc<[Handle]>,
    accepting: Accepting,
    mut stop: watch::Receiver<bool>,
) {
    let socket = match open(listener) {
        Ok(socket) => socket,
        Err(error) => {
            shared.log.error(&format!("Cannot accept from a listening socket: {error}"));
            accepting.fetch_sub(1, Ordering::SeqCst);
            return;
        }
    };
    let mut turn = usize::from(index);
    let mut give = |stream, origin| {
        let open = Open::new(&shared);
        threads[turn % threads.len()].spawn(serve_std(open, stream, origin));
        turn += 1;
    };
    let mut complained = false;
    loop {
        let accepted = tokio::select! {
            accepted = socket.accept(index) => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, origin)) => {
                complained = false;
                give(stream, origin);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut complained, true) {
                    shared.log.error(&format!("Cannot accept connections: {error}"));
                }
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    }
    // What the kernel has accepted for us is served; what comes from now on it refuses.
    socket.close_queue();
    for _ in 0..LAST_ACCEPTS_MAX {
        match socket.try_accept(index) {
            Ok(Some((stream, origin))) => give(stream, origin),
            Ok(None) => break,
            Err(error) if is_of_the_connection(&error) => {}
            Err(_) => break,
        }
    }
    drop(socket);
    accepting.fetch_sub(1, Ordering::SeqCst);
}

/// A connection that went away before it was accepted is no error of ours.
fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn open(listener: Listener) -> io::Result<Socket> {
    Ok(match listener {
        Listener::Tcp(socket) => {
            socket.set_nonblocking(true)?;
            Socket::Tcp(TcpListener::from_std(socket)?)
        }
        Listener::Unix(socket, _) => {
            socket.set_nonblocking(true)?;
            Socket::Unix(UnixListener::from_std(socket)?)
        }
    })
}

/// A connection on its way to its thread.
enum Fresh {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Socket {
    async fn accept(&self, index: u16) -> io::Result<(Fresh, Origin)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.accept().await?;
                tcp(stream.into_std()?, peer, index)
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.accept().await?;
                Ok((Fresh::Unix(stream.into_std()?), unix_origin(index)))
            }
        }
    }

    /// Accepts without waiting.
    fn try_accept(&self, index: u16) -> io::Result<Option<(Fresh, Origin)>> {
        let waker = std::task::Waker::noop();
        let mut cx = std::task::Context::from_waker(waker);
        let mut accept = std::pin::pin!(self.accept(index));
        match Future::poll(accept.as_mut(), &mut cx) {
            std::task::Poll::Ready(accepted) => accepted.map(Some),
            std::task::Poll::Pending => Ok(None),
        }
    }

    /// Lets the kernel queue no more connections than it has.
    fn close_queue(&self) {
        let _ = match self {
            Self::Tcp(socket) => rustix::net::listen(socket, 0),
            Self::Unix(socket) => rustix::net::listen(socket, 0),
        };
    }
}

fn tcp(
    stream: std::net::TcpStream,
    peer: std::net::SocketAddr,
    index: u16,
) -> io::Result<(Fresh, Origin)> {
    // Answers are written whole; waiting to fill a segment would only delay them.
    let _ = stream.set_nodelay(true);
    let address = peer.ip().to_canonical().to_string();
    Ok((Fresh::Tcp(stream), Origin { listener: index, address, port: peer.port() }))
}

const fn unix_origin(index: u16) -> Origin {
    Origin { listener: index, address: String::new(), port: 0 }
}

/// Runs on the connection's thread.
async fn serve_std(open: Open, stream: Fresh, origin: Origin) {
    let stream = match stream {
        Fresh::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(Stream::Tcp),
        Fresh::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Stream::Unix),
    };
    match stream {
        Ok(stream) => serve_connection(open, stream, origin).await,
        Err(error) => open.log_lost(&error),
    }
}
