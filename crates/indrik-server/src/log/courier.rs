//! Messages to another process (syslog, statsd): a thread of its own sends them, so that one that
//! is slow, full or gone costs the server nothing but the messages.

use std::io::{self, Write};
use std::net::{TcpStream, ToSocketAddrs, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use indrik_core::logs::reach::Reach;
use indrik_core::logs::syslog::Kind;
use indrik_core::supervise::Ailment;
use indrik_core::time::Micros;
use parking_lot::Mutex;

use crate::ailing::Ailing;

/// Messages that wait to be sent. More are lost, and counted.
const QUEUE_MESSAGES_MAX: usize = 4_096;
/// How long making a connection may take.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long the other side may take to read a message.
const SEND_MAX: Duration = Duration::from_secs(1);
/// Pause after the other side could not be reached.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// How soon after a datagram it is looked whether the system reports that nobody took it.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// At the end of the server: how long the last messages may take.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Where messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    Udp(String, u16),
    Tcp(String, u16),
    Unix(PathBuf, Option<Kind>),
}

/// Told when the other side cannot be reached, and when it can again.
pub(crate) type Complain = Box<dyn Fn(&str) + Send>;

/// The sending end.
pub(crate) struct Courier {
    state: Mutex<Delivery>,
}

enum Delivery {
    /// The thread is started by the first message: until then the process may still fork.
    Idle(Option<Box<Errand>>),
    Running {
        queue: SyncSender<Parcel>,
        ended: Receiver<()>,
        lost: u64,
    },
    Closed,
}

/// What the thread needs to know.
struct Errand {
    what: &'static str,
    destination: Destination,
    complain: Complain,
    ailing: Arc<Ailing>,
}

/// What is queued: messages that belong together, and how many were lost before them.
struct Parcel {
    messages: Vec<Vec<u8>>,
    lost_before: u64,
}

impl Courier {
    /// A courier for `what` ("syslog").
    pub(crate) fn new(
        what: &'static str,
        destination: Destination,
        complain: Complain,
        ailing: &Arc<Ailing>,
    ) -> Self {
        let ailing = Arc::clone(ailing);
        let errand = Box::new(Errand { what, destination, complain, ailing });
        Self { state: Mutex::new(Delivery::Idle(Some(errand))) }
    }

    /// Sends messages; never waits.
    pub(crate) fn send(&self, messages: Vec<Vec<u8>>) {
        let mut state = self.state.lock();
        if let Delivery::Idle(errand) = &mut *state {
            *state = errand.take().and_then(start).unwrap_or(Delivery::Closed);
        }
        let Delivery::Running { queue, lost, .. } = &mut *state else { return };
        match queue.try_send(Parcel { messages, lost_before: *lost }) {
            Ok(()) => *lost = 0,
            Err(_) => *lost += 1,
        }
    }

    /// Waits a little for what is queued, and ends the thread.
    pub(crate) fn close(&self) {
        let state = std::mem::replace(&mut *self.state.lock(), Delivery::Closed);
        if let Delivery::Running { queue, ended, .. } = state {
            drop(queue);
            let _ = ended.recv_timeout(FLUSH_MAX);
        }
    }
}

/// Starts the thread; a process that cannot have one loses the messages.
fn start(errand: Box<Errand>) -> Option<Delivery> {
    let (queue, receiver) = mpsc::sync_channel(QUEUE_MESSAGES_MAX);
    let (tell, ended) = mpsc::channel();
    let name = format!("indrik-{}", errand.what);
    let run = move || {
        carry(&errand, &receiver);
        drop(tell);
    };
    thread::Builder::new().name(name).spawn(run).ok()?;
    Some(Delivery::Running { queue, ended, lost: 0 })
}

/// The thread's work.
fn carry(errand: &Errand, queue: &Receiver<Parcel>) {
    let mut way = Way::new();
    while let Some(parcel) = way.next(errand, queue) {
        way.reach.loses(parcel.lost_before);
        for message in parcel.messages {
            way.send(errand, &message);
        }
    }
    way.look(errand);
}

/// The state of the connection.
struct Way {
    connection: Option<Connection>,
    started: Instant,
    next_try: Instant,
    reach: Reach,
    /// Datagrams went out of which something may still be reported.
    is_unsure: bool,
    /// What the system said last.
    why: String,
}

impl Way {
    fn new() -> Self {
        let (started, reach) = (Instant::now(), Reach::default());
        let next_try = started;
        Self { connection: None, started, next_try, reach, is_unsure: false, why: String::new() }
    }

    /// What is to be sent next; `None` at the end. Where something may still be reported of what was sent, it is
    /// looked for that after a while.
    fn next(&mut self, errand: &Errand, queue: &Receiver<Parcel>) -> Option<Parcel> {
        while self.is_unsure {
            match queue.recv_timeout(LOOK_PAUSE) {
                Ok(parcel) => return Some(parcel),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => self.look(errand),
            }
        }
        queue.recv().ok()
    }

    fn send(&mut self, errand: &Errand, message: &[u8]) {
        // Twice, because the other side may have been started anew since the last message.
        for _ in 0..2 {
            if self.connection.is_none() && !self.connect(errand) {
                break;
            }
            match self.connection.as_mut().map(|connection| connection.send(message)) {
                Some(Ok(Sent::Whole)) => return,
                Some(Ok(Sent::Unsure)) => {
                    self.is_unsure = true;
                    let again = self.reach.sends(self.now());
                    return self.tell_again(errand, again);
                }
                Some(Err(Failure::Refused(error))) => self.refused(errand, &error),
                Some(Err(Failure::Message(error))) => {
                    self.why = error.to_string();
                    break;
                }
                Some(Err(Failure::Connection)) | None => self.connection = None,
            }
        }
        self.reach.loses(1);
        self.ails(errand);
    }

    /// Nobody took an earlier datagram.
    fn refused(&mut self, errand: &Errand, error: &io::Error) {
        let is_new = self.reach.refuses();
        self.fails(errand, error, is_new);
        self.ails(errand);
    }

    /// Looks whether something is reported of what was sent.
    fn look(&mut self, errand: &Errand) {
        let Some(Connection::Udp(socket)) = &self.connection else {
            self.is_unsure = false;
            return;
        };
        match socket.take_error() {
            Ok(Some(error)) | Err(error) => {
                self.is_unsure = false;
                self.refused(errand, &error);
            }
            Ok(None) => {
                let again = self.reach.looks(self.now());
                self.tell_again(errand, again);
                // While it is down, silence has to last.
                self.is_unsure = self.reach.is_down();
            }
        }
    }

    fn connect(&mut self, errand: &Errand) -> bool {
        if Instant::now() < self.next_try {
            return false;
        }
        match Connection::open(&errand.destination) {
            Ok(connection) => {
                // Of a datagram's destination this says nothing.
                let is_reached = !matches!(connection, Connection::Udp(_));
                self.connection = Some(connection);
                let again = if is_reached { self.reach.works() } else { None };
                self.tell_again(errand, again);
                true
            }
            Err(error) => {
                self.next_try = Instant::now() + RETRY_PAUSE;
                let is_new = self.reach.fails();
                self.fails(errand, &error, is_new);
                false
            }
        }
    }

    fn fails(&mut self, errand: &Errand, error: &io::Error, is_new: bool) {
        let (what, to) = (errand.what, &errand.destination);
        self.why = error.to_string();
        if is_new {
            (errand.complain)(&format!(
                "Cannot reach the {what} server at {to}: {error}; messages to it are lost until it can be reached"
            ));
        }
    }

    fn tell_again(&self, errand: &Errand, lost: Option<u64>) {
        let (what, to) = (errand.what, &errand.destination);
        if let Some(lost) = lost {
            (errand.complain)(&format!(
                "The {what} server at {to} can be reached again; {lost} messages were lost"
            ));
        }
    }

    fn ails(&self, errand: &Errand) {
        errand.ailing.sees(Ailment::MessagesLost, || {
            let (what, to, why) = (errand.what, &errand.destination, &self.why);
            format!("messages to the {what} server at {to} are lost: {why}")
        });
    }

    fn now(&self) -> Micros {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// What is known of a message that went.
enum Sent {
    /// The other side has it, or its system.
    Whole,
    /// Nothing: whether anybody takes it is reported later, if at all.
    Unsure,
}

/// Why a message was not sent.
enum Failure {
    /// Another connection would not help: it is too large, or the reader is slow.
    Message(io::Error),
    /// An earlier datagram found nobody. This one has not gone.
    Refused(io::Error),
    /// The other side is gone, or has a part of the message.
    Connection,
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Datagram(UnixDatagram),
    Stream(UnixStream),
}

impl Connection {
    fn open(to: &Destination) -> io::Result<Self> {
        match to {
            Destination::Udp(host, port) => udp(host, *port).map(Self::Udp),
            Destination::Tcp(host, port) => tcp(host, *port).map(Self::Tcp),
            Destination::Unix(path, Some(Kind::Datagram)) => datagram(path).map(Self::Datagram),
            Destination::Unix(path, Some(Kind::Stream)) => stream(path).map(Self::Stream),
            Destination::Unix(path, None) => {
                datagram(path).map(Self::Datagram).or_else(|_| stream(path).map(Self::Stream))
            }
        }
    }

    fn send(&mut self, message: &[u8]) -> Result<Sent, Failure> {
        match self {
            Self::Udp(socket) => match socket.send(message) {
                Ok(_) => Ok(Sent::Unsure),
                Err(error) if is_report(&error) => Err(Failure::Refused(error)),
                Err(error) => Err(Failure::Message(error)),
            },
            Self::Datagram(socket) => socket.send(message).map(|_| Sent::Whole).map_err(|error| {
                use io::ErrorKind::{ConnectionRefused, ConnectionReset, NotConnected};
                let gone = [ConnectionRefused, ConnectionReset, NotConnected];
                if gone.contains(&error.kind()) {
                    Failure::Connection
                } else {
                    Failure::Message(error)
                }
            }),
            Self::Tcp(socket) => sent(socket.write_all(message)),
            Self::Stream(socket) => sent(socket.write_all(message)),
        }
    }
}

fn sent(result: io::Result<()>) -> Result<Sent, Failure> {
    result.map(|()| Sent::Whole).map_err(|_| Failure::Connection)
}

/// Whether this is the answer to an earlier datagram.
fn is_report(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    [ConnectionRefused, HostUnreachable, NetworkUnreachable].contains(&error.kind())
}

fn udp(host: &str, port: u16) -> io::Result<UdpSocket> {
    first_that_works(host, port, |address| {
        let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any)?;
        socket.connect(address)?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        Ok(socket)
    })
}

fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    first_that_works(host, port, |address| {
        let socket = TcpStream::connect_timeout(&address, CONNECT_MAX)?;
        socket.set_write_timeout(Some(SEND_MAX))?;
        socket.set_nodelay(true)?;
        Ok(socket)
    })
}

fn first_that_works<T>(
    host: &str,
    port: u16,
    open: impl Fn(std::net::SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match open(address) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn datagram(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    socket.set_write_timeout(Some(SEND_MAX))?;
    Ok(socket)
}

fn stream(path: &Path) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(path)?;
    socket.set_write_timeout(Some(SEND_MAX))?;
    Ok(socket)
}

impl std::fmt::Display for Destination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Udp(host, port) => write!(f, "udp://{host}:{port}"),
            Self::Tcp(host, port) => write!(f, "tcp://{host}:{port}"),
            Self::Unix(path, _) => write!(f, "unix://{}", path.display()),
        }
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    fn courier(destination: Destination) -> (Courier, Receiver<String>) {
        let (say, said) = channel();
        let complain = Box::new(move |text: &str| drop(say.send(text.to_owned())));
        (Courier::new("test", destination, complain, &Arc::default()), said)
    }

    #[test]
    fn messages_reach_a_datagram_socket_in_order() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let (courier, _said) = courier(Destination::Udp("127.0.0.1".into(), port));
        courier.send(vec![b"one".to_vec(), b"two".to_vec()]);
        courier.send(vec![b"three".to_vec()]);
        let mut buffer = [0; 16];
        for expected in [&b"one"[..], b"two", b"three"] {
            let read = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..read], expected);
        }
    }

    #[test]
    fn a_destination_that_is_gone_is_complained_of_once_and_found_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let (courier, said) = courier(Destination::Unix(path.clone(), None));
        courier.send(vec![b"lost".to_vec()]);
        assert!(said.recv().unwrap().starts_with("Cannot reach the test server at unix:///"));
        let socket = UnixDatagram::bind(&path).unwrap();
        let mut buffer = [0; 16];
        socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        let read = loop {
            courier.send(vec![b"found".to_vec()]);
            if let Ok(read) = socket.recv(&mut buffer) {
                break read;
            }
        };
        assert_eq!(&buffer[..read], b"found");
        assert!(said.recv().unwrap().contains("can be reached again; "));
    }

    #[test]
    fn datagrams_to_a_port_that_nobody_has_are_complained_of_once_and_again_when_somebody_has() {
        let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (courier, said) = courier(Destination::Udp("127.0.0.1".into(), port));
        // One message is enough: what is reported later is looked for.
        courier.send(vec![b"lost".to_vec()]);
        let told = said.recv().unwrap();
        let start =
            format!("Cannot reach the test server at udp://127.0.0.1:{port}: Connection refused");
        assert!(told.starts_with(&start), "{told}");
        courier.send(vec![b"lost".to_vec(), b"lost".to_vec()]);
        let socket = UdpSocket::bind(("127.0.0.1", port)).unwrap();
        let mut buffer = [0; 16];
        courier.send(vec![b"found".to_vec()]);
        let read = socket.recv(&mut buffer).unwrap();
        assert!(buffer[..read] == *b"found" || buffer[..read] == *b"lost");
        let found = said.recv().unwrap();
        assert!(found.contains("can be reached again; "), "{found}");
    }

    #[test]
    fn closing_sends_what_is_queued() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        let (courier, _said) = courier(Destination::Unix(path, None));
        courier.send(vec![b"last".to_vec()]);
        courier.close();
        socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 16];
        let read = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..read], b"last");
        courier.send(vec![b"nothing".to_vec()]);
        assert!(socket.recv(&mut buffer).is_err());
    }
}
