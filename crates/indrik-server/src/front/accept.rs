//! Taking connections from the kernel.

use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use indrik_core::descriptors::Use;
use indrik_core::memory::account::Measure;
use indrik_core::supervise::Ailment;
use indrik_sys::hops;
use socket2::SockFilter;
use tokio::io::Interest;
use tokio::io::unix::{AsyncFd, AsyncFdReadyGuard};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::conn::connection::serve_connection;
use super::conn::open::{Open, Origin};
use super::conn::stream::Stream;
use super::descriptors::Reserved;
use super::doors::{Door, Order};
use super::listener::Listener;
use super::services::Services;

/// Pause after the system refused a connection for want of something (file descriptors).
const REFUSED_PAUSE: Duration = Duration::from_millis(50);
/// While all the memory that clients may have is taken, a new one waits in the kernel's queue, at most so long:
/// those that have too much of it are cut meanwhile.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(1);
/// When accepting ends: connections taken from the kernel's queue at most.
pub(super) const LAST_ACCEPTS_MAX: usize = 65_536;

/// Classic BPF for a listening TCP socket: drops what opens a connection (SYN) and lets everything
/// else pass, so handshakes under way complete. A client whose SYN was dropped repeats it and finds
/// the port closed, or its next owner.
const NO_NEW_CONNECTIONS: [SockFilter; 4] = [
    SockFilter::new(0x30, 0, 0, 13), // load byte 13 of the TCP header: the flags
    SockFilter::new(0x45, 0, 1, 0x02), // jump if SYN is set
    SockFilter::new(0x06, 0, 0, 0),  // return 0: drop
    SockFilter::new(0x06, 0, 0, 65535), // return all: pass
];

/// More than the packets of any client have left: systems send them with 64 or 128.
const HOPS_OF_NOBODY: u8 = 255;

/// A listening socket that the runtime watches; accepting from it does not wait.
enum Socket {
    Tcp(AsyncFd<TcpListener>),
    Unix(AsyncFd<UnixListener>),
}

/// Accepts from one socket until told to stop, and gives the connections to the threads one after the other.
pub(super) async fn accept(
    services: Arc<Services>,
    listener: Listener,
    index: u16,
    threads: Arc<[Handle]>,
    mut door: Door,
) {
    let socket = match open(listener) {
        Ok(socket) => socket,
        Err(error) => {
            services.log.error(&format!("Cannot accept from a listening socket: {error}"));
            return;
        }
    };
    let mut next_thread = usize::from(index);
    let mut give = |Accepted { stream, origin, place }| {
        let open = Open::new(&services, place);
        let holder = Arc::clone(open.holder());
        threads[next_thread % threads.len()]
            .spawn(Open::run(holder, serve_std(open, stream, origin)));
        next_thread += 1;
    };
    let mut complained = false;
    let last = loop {
        let accepted = tokio::select! {
            // Not one connection more than it was told to take.
            biased;
            order = door.other_than(Order::Accept) => match order {
                Order::Accept => continue,
                Order::Pause => {
                    door.has_done(Order::Pause);
                    match door.other_than(Order::Pause).await {
                        Order::Accept | Order::Pause => continue,
                        last @ (Order::Finish | Order::Leave) => break last,
                    }
                }
                last @ (Order::Finish | Order::Leave) => break last,
            },
            accepted = accept_one(&services, &socket, index) => accepted,
        };
        match accepted {
            Ok(accepted) => {
                complained = false;
                give(accepted);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                let why = || format!("connections cannot be accepted: {error}");
                services.log.ails(Ailment::NotAccepted, why);
                if !std::mem::replace(&mut complained, true) {
                    services.log.error(&format!("Cannot accept connections: {error}"));
                }
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
    };
    if last == Order::Finish {
        let alone = !door.shared.load(Ordering::SeqCst);
        if let Err(error) = take_the_rest(&services, &socket, index, alone, give).await {
            services.log.error(&format!("Cannot take all of the last connections: {error}"));
        }
    }
}

/// The next connection, once there is a descriptor for it, and memory: until then it stays in the kernel's queue.
async fn accept_one(services: &Services, socket: &Socket, index: u16) -> io::Result<Accepted> {
    loop {
        let mut ready = socket.readable().await?;
        let _ = timeout(MEMORY_WAIT_MAX, services.account.is_below(Measure::Cut)).await;
        // Before it is accepted, and given back if it has gone, or another process was faster.
        let place = services.reserve(Use::Connection, 1).await;
        match socket.accept(index) {
            Ok((stream, origin)) => return Ok(Accepted { stream, origin, place }),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready.clear_ready(),
            Err(error) => return Err(error),
        }
    }
}

/// Ends accepting: what the kernel has accepted for us is served. If nobody else has the socket, the
/// kernel accepts no more; otherwise what comes later is the other one's.
///
/// Not through the runtime: that knows only what `epoll` has told it, and the last connections may
/// have come in the same moment as the word to stop.
async fn take_the_rest(
    services: &Services,
    socket: &Socket,
    index: u16,
    alone: bool,
    mut give: impl FnMut(Accepted),
) -> io::Result<()> {
    // If it cannot be closed, what is in it is taken all the same.
    let closed = if alone { socket.close_queue().map_err(not_closed) } else { Ok(()) };
    for _ in 0..LAST_ACCEPTS_MAX {
        // There may be none: those before it end soon, as the server is to end.
        let place = services.reserve(Use::Connection, 1).await;
        match socket.accept(index) {
            Ok((stream, origin)) => {
                stream.lift_limits();
                give(Accepted { stream, origin, place });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) if socket.has_ended(&error) => break,
            Err(error) => return Err(error),
        }
    }
    closed
}

/// What it means that the kernel would not stop.
fn not_closed(error: io::Error) -> io::Error {
    let text =
        format!("those made while they were taken may be reset, the queue stays open: {error}");
    io::Error::new(error.kind(), text)
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
            Socket::Tcp(watched(socket)?)
        }
        Listener::Unix(socket, _) => {
            socket.set_nonblocking(true)?;
            Socket::Unix(watched(socket)?)
        }
    })
}

#[expect(deprecated, reason = "its replacement is unsafe; a listener owns its descriptor")]
fn watched<T: AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(socket, Interest::READABLE)
}

/// A connection on its way to its thread.
enum Fresh {
    Tcp(std::net::TcpStream),
    Unix(std::os::unix::net::UnixStream),
}

impl Fresh {
    /// It may have the limit of a queue that was closed.
    fn lift_limits(&self) {
        if let Self::Tcp(stream) = self {
            let _ = hops::set_least(stream, 0);
        }
    }
}

/// A connection that was accepted, and its place among the descriptors.
struct Accepted {
    stream: Fresh,
    origin: Origin,
    place: Reserved,
}

impl Socket {
    /// Waits until somebody is in the queue.
    async fn readable(&self) -> io::Result<Ready<'_>> {
        Ok(match self {
            Self::Tcp(socket) => Ready::Tcp(socket.readable().await?),
            Self::Unix(socket) => Ready::Unix(socket.readable().await?),
        })
    }

    fn accept(&self, index: u16) -> io::Result<(Fresh, Origin)> {
        match self {
            Self::Tcp(socket) => {
                let (stream, peer) = socket.get_ref().accept()?;
                stream.set_nonblocking(true)?;
                // Answers are written whole; waiting to fill a segment would only delay them.
                let _ = stream.set_nodelay(true);
                let ip = Some(peer.ip().to_canonical());
                Ok((Fresh::Tcp(stream), Origin { listener: index, ip, port: peer.port() }))
            }
            Self::Unix(socket) => {
                let (stream, _) = socket.get_ref().accept()?;
                stream.set_nonblocking(true)?;
                Ok((Fresh::Unix(stream), Origin { listener: index, ip: None, port: 0 }))
            }
        }
    }

    /// From now on the kernel queues nothing: new clients are as if nobody listened, while those
    /// that it has begun to accept get into the queue still.
    ///
    /// A filter says just that, but some kernels let only network administrators set one, and a
    /// container's root is none. The limit of hops is everybody's.
    fn close_queue(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket2::SockRef::from(socket.get_ref())
                .attach_filter(&NO_NEW_CONNECTIONS)
                .or_else(|_| hops::set_least(socket.get_ref(), HOPS_OF_NOBODY)),
            Self::Unix(socket) => {
                Ok(rustix::net::shutdown(socket.get_ref(), rustix::net::Shutdown::Read)?)
            }
        }
    }

    /// A Unix socket that was shut down says so once its queue is empty.
    fn has_ended(&self, error: &io::Error) -> bool {
        matches!(self, Self::Unix(_)) && error.kind() == io::ErrorKind::InvalidInput
    }
}

/// Somebody is in the queue, as far as the runtime has heard.
enum Ready<'a> {
    Tcp(AsyncFdReadyGuard<'a, TcpListener>),
    Unix(AsyncFdReadyGuard<'a, UnixListener>),
}

impl Ready<'_> {
    /// Nobody is, after all.
    fn clear_ready(&mut self) {
        match self {
            Self::Tcp(ready) => ready.clear_ready(),
            Self::Unix(ready) => ready.clear_ready(),
        }
    }
}

/// Runs on the connection's thread.
async fn serve_std(open: Open, stream: Fresh, origin: Origin) {
    let stream = match stream {
        Fresh::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(Stream::Tcp),
        Fresh::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Stream::Unix),
    };
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => return open.log_lost(&error),
    };
    let Some((stream, mut proxied)) = open.read_preamble(stream, &origin).await else { return };
    let Some(stream) = open.secured(stream, &origin).await else { return };
    if let Some(stream) = open.version(stream, &origin, &mut proxied).await {
        serve_connection(open, stream, origin, proxied).await;
    }
}
