//! Where the server listens: what is open, what a generation in the making adds, and what goes when
//! it takes over.
//!
//! The supervisor keeps a handle on every socket of its own, to pass it to a successor; the front has
//! another one to accept from.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, RawFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indrik_core::settings::BindAddress;
use socket2::SockRef;

use crate::boot::{self, BootError, BoundSocket, Inheritance, Manner, SocketFile};
use crate::front::{Listener, Listening};
use crate::zygote::ListenerName;

/// Sockets that may be opened in the life of a server: workers tell them apart by a 16-bit number
/// that is never used again.
const SOCKETS_EVER_MAX: usize = u16::MAX as usize;

/// Whose socket it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Opened by this process.
    Own,
    /// The service manager's or the parent process's, for good.
    Given,
    /// The server's that this one is to replace.
    Partner,
}

#[derive(Debug)]
struct Open {
    number: u16,
    /// The address of the settings that it stands for, if there is one.
    address: Option<BindAddress>,
    listener: Listener,
    /// The front's own handle, until it is told. Made with the socket: a takeover must not depend on whether there
    /// are descriptors left.
    for_front: Option<Listener>,
    shown: String,
    file: Option<SocketFile>,
    shared: Arc<AtomicBool>,
    source: Source,
}

/// All listening sockets.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    open: Vec<Open>,
    /// Opened for a generation in the making.
    coming: Vec<Open>,
    /// What each socket there has been is called, by number.
    names: Vec<ListenerName>,
    servers: Vec<(String, Option<u16>)>,
    /// How many of them the front knows.
    known: usize,
    /// The addresses of the settings in use.
    bind: Vec<BindAddress>,
    /// A changed list that may be taken back yet.
    trial: Option<Trial>,
    /// The service manager decides where to listen, not the settings.
    pub(crate) given: bool,
}

/// What a changed list of addresses has added, and what it does not need any more.
#[derive(Debug)]
struct Trial {
    bind_before: Vec<BindAddress>,
    added: Vec<u16>,
    unwanted: Vec<u16>,
}

/// What the front has to open and to close.
pub(crate) type Change = (Vec<Listening>, Vec<u16>);

impl Listeners {
    /// Opens what the first generation needs. When that fails, nothing is open, and it can be tried
    /// again.
    pub(crate) fn open_first(
        &mut self,
        bind: &[BindAddress],
        inheritance: &Inheritance,
        manner: &Manner,
    ) -> Result<(), BootError> {
        let opened = self.open_all(bind, inheritance, manner);
        if opened.is_err() {
            self.forget();
        }
        opened
    }

    fn open_all(
        &mut self,
        bind: &[BindAddress],
        inheritance: &Inheritance,
        manner: &Manner,
    ) -> Result<(), BootError> {
        self.given = !inheritance.systemd.is_empty();
        for socket in &inheritance.systemd {
            let bound = boot::bind(&BindAddress::Fd { fd: socket.fd }, manner)?;
            self.add(bound, None, Source::Given)?;
        }
        // A server whose workers bind for themselves (Gunicorn's reuse_port) passes none.
        let partner = inheritance.partner.as_ref().filter(|partner| !partner.fds.is_empty());
        if let Some(partner) = partner.filter(|_| !self.given) {
            for fd in &partner.fds {
                let bound = boot::take_over(*fd)?;
                let address = bind.iter().find(|address| is_at(&bound.listener, address));
                self.add(bound, address.cloned(), Source::Partner)?;
            }
        } else if !self.given {
            for address in bind {
                self.add(boot::bind(address, manner)?, Some(address.clone()), source(address))?;
            }
        }
        Ok(())
    }

    /// Opens what a generation in the making needs and is not open yet.
    pub(crate) fn prepare(
        &mut self,
        bind: &[BindAddress],
        manner: &Manner,
    ) -> Result<(), BootError> {
        if self.given || bind == self.bind {
            return Ok(());
        }
        for address in bind {
            let is_open = |open: &Open| open.address.as_ref() == Some(address);
            if self.open.iter().chain(&self.coming).any(is_open) {
                continue;
            }
            let opened = boot::bind(address, manner)
                .or_else(|error| self.bind_beside(address, manner, error))
                .and_then(|bound| self.add(bound, Some(address.clone()), source(address)));
            if opened.is_err() {
                self.forget();
                return opened;
            }
        }
        Ok(())
    }

    /// The port may be taken by this server itself, under an address that goes with the change: then
    /// both are open for a while.
    fn bind_beside(
        &self,
        address: &BindAddress,
        manner: &Manner,
        error: BootError,
    ) -> Result<BoundSocket, BootError> {
        let BindAddress::Tcp { port, .. } = address else { return Err(error) };
        let own: Vec<&Listener> = self
            .open
            .iter()
            .map(|open| &open.listener)
            .filter(|listener| listener.server().1 == Some(*port))
            .collect();
        if !error.in_use || own.is_empty() {
            return Err(error);
        }
        for listener in own {
            // If that is refused, the address stays taken, which is what is said then.
            let _ = SockRef::from(&listener.as_fd()).set_reuse_port(true);
        }
        boot::bind(address, &Manner { reuse_port: true, ..*manner })
    }

    fn add(
        &mut self,
        bound: BoundSocket,
        address: Option<BindAddress>,
        source: Source,
    ) -> Result<(), BootError> {
        let number = u16::try_from(self.names.len()).ok();
        let number =
            number.filter(|_| self.names.len() < SOCKETS_EVER_MAX).ok_or_else(|| BootError {
                message: "the bind addresses have been changed too often".to_owned(),
                hint: "restart the server",
                in_use: false,
            })?;
        let for_front = bound.listener.try_clone().map_err(|error| BootError {
            message: format!("cannot pass {} on to the front: {error}", bound.shown),
            hint: "raise the limit of open files (ulimit -n, LimitNOFILE=)",
            in_use: false,
        })?;
        let server = bound.listener.server();
        self.names.push(match &server {
            (path, None) => (format!("unix:{path}"), None),
            name => name.clone(),
        });
        self.servers.push(server);
        self.coming.push(Open {
            number,
            address,
            listener: bound.listener,
            for_front: Some(for_front),
            shown: bound.shown,
            file: bound.file,
            shared: Arc::new(AtomicBool::new(source != Source::Own)),
            source,
        });
        Ok(())
    }

    /// The generation in the making takes over, with what was opened for it. Nothing here can fail: the supervisor
    /// counts on it.
    /// What the generation before has open stays open while that one may come back (`on_trial`).
    pub(crate) fn adopt(&mut self, bind: &[BindAddress], on_trial: bool) -> Change {
        let opens = |open: &mut Open| {
            let (socket, shared) = (open.for_front.take()?, Arc::clone(&open.shared));
            Some(Listening { socket, number: open.number, shared })
        };
        let opened: Vec<Listening> = self.coming.iter_mut().filter_map(opens).collect();
        let mut closed = Vec::new();
        if !self.given && bind != self.bind && self.known > 0 {
            let wanted =
                |open: &Open| open.address.as_ref().is_some_and(|address| bind.contains(address));
            let unwanted = self.open.iter().filter(|open| !wanted(open));
            let unwanted: Vec<u16> = unwanted.map(|open| open.number).collect();
            if on_trial {
                let added = opened.iter().map(|new| new.number).collect();
                self.trial = Some(Trial { bind_before: self.bind.clone(), unwanted, added });
            } else {
                closed = self.close_numbers(&unwanted);
            }
        }
        self.open.append(&mut self.coming);
        self.bind = bind.to_vec();
        self.known = self.names.len();
        (opened, closed)
    }

    /// So many connections may wait in the kernel at each socket of our own; returns where that could not be
    /// changed, as users write it.
    pub(crate) fn set_backlog(&self, backlog: u32) -> Vec<(&str, io::Error)> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let own = self.open.iter().filter(|open| open.source == Source::Own);
        own.filter_map(|open| {
            let set = SockRef::from(&open.listener.as_fd()).listen(backlog);
            set.err().map(|error| (open.shown.as_str(), error))
        })
        .collect()
    }

    /// The generation on trial stays. What the front has to close is what it does not need.
    pub(crate) fn confirm(&mut self) -> Vec<u16> {
        self.trial.take().map_or_else(Vec::new, |trial| self.close_numbers(&trial.unwanted))
    }

    /// The generation before is back. What the front has to close is what was opened for the other.
    pub(crate) fn restore(&mut self) -> Vec<u16> {
        let Some(trial) = self.trial.take() else { return Vec::new() };
        self.bind = trial.bind_before;
        self.close_numbers(&trial.added)
    }

    /// Their handles and socket files go here; the front takes what is queued in them.
    fn close_numbers(&mut self, numbers: &[u16]) -> Vec<u16> {
        self.open.retain(|open| !numbers.contains(&open.number));
        numbers.to_vec()
    }

    /// The generation in the making is given up. The front has not heard of its sockets, so their
    /// numbers are free.
    pub(crate) fn forget(&mut self) {
        self.coming.clear();
        self.names.truncate(self.known);
        self.servers.truncate(self.known);
    }

    pub(crate) fn names(&self) -> &[ListenerName] {
        &self.names
    }

    pub(crate) fn servers(&self) -> Vec<(String, Option<u16>)> {
        self.servers.clone()
    }

    /// Where the server listens, as users write it.
    pub(crate) fn shown(&self) -> Vec<String> {
        self.open.iter().chain(&self.coming).map(|open| open.shown.clone()).collect()
    }

    /// Every socket with how users write it.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&str, &Listener)> {
        self.open.iter().map(|open| (open.shown.as_str(), &open.listener))
    }

    /// The descriptors a successor is to have.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        self.open.iter().map(|open| open.listener.as_fd().as_raw_fd()).collect()
    }

    /// Sockets among them are not this server's own: whoever handed them over has them too.
    pub(crate) fn has_handed_over(&self) -> bool {
        self.open.iter().chain(&self.coming).any(|open| open.source != Source::Own)
    }

    /// Another server has the sockets too, or no longer.
    pub(crate) fn share(&self, shared: bool) {
        for open in self.open.iter().filter(|open| open.source != Source::Given) {
            open.shared.store(shared, Ordering::SeqCst);
        }
    }

    /// The server that this one was to replace has gone: what it had is ours alone.
    pub(crate) fn inherit(&mut self) {
        for open in self.open.iter_mut().filter(|open| open.source == Source::Partner) {
            open.source = Source::Own;
            open.shared.store(false, Ordering::SeqCst);
            if let Listener::Unix(_, path) = &open.listener {
                open.file = SocketFile::of(Path::new(path));
            }
        }
    }

    /// Closes the supervisor's handles. The socket files go too, unless another server has them.
    pub(crate) fn close(&mut self, others: bool) {
        for open in self.open.drain(..).chain(self.coming.drain(..)) {
            if let (true, Some(file)) = (others, open.file) {
                file.leave();
            }
        }
    }
}

/// A socket of the parent process is the parent's business.
fn source(address: &BindAddress) -> Source {
    match address {
        BindAddress::Fd { .. } => Source::Given,
        BindAddress::Tcp { .. } | BindAddress::Unix { .. } => Source::Own,
    }
}

/// Whether the socket is what opening the address would give.
fn is_at(listener: &Listener, address: &BindAddress) -> bool {
    match (listener, address) {
        (Listener::Tcp(socket), BindAddress::Tcp { host, port }) => {
            let (wanted, bound) = (boot::resolve(host, *port), socket.local_addr());
            matches!((wanted, bound), (Ok(wanted), Ok(bound)) if wanted == bound)
        }
        (Listener::Unix(_, bound), BindAddress::Unix { path }) => Path::new(bound) == path,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    const MANNER: Manner = Manner { backlog: 16, umask: 0, owner: None, reuse_port: false };

    fn addresses(texts: &[String]) -> Vec<BindAddress> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn port(listeners: &Listeners, at: usize) -> u16 {
        listeners.open[at].listener.server().1.unwrap()
    }

    fn opened(texts: &[String]) -> Listeners {
        let mut listeners = Listeners::default();
        let bind = addresses(texts);
        listeners.open_first(&bind, &Inheritance::default(), &MANNER).unwrap();
        let (opened, closed) = listeners.adopt(&bind, false);
        assert_eq!((opened.len(), closed.len()), (texts.len(), 0));
        listeners
    }

    #[test]
    fn a_changed_list_opens_what_is_new_keeps_what_stays_and_closes_the_rest() {
        let directory = tempfile::tempdir().unwrap();
        let unix = |name: &str| format!("unix:{}", directory.path().join(name).display());
        let mut listeners = opened(&[unix("a"), unix("b")]);
        let bind = addresses(&[unix("b"), unix("c")]);
        listeners.prepare(&bind, &MANNER).unwrap();
        assert!(directory.path().join("a").exists(), "the old one serves meanwhile");
        let (opened, closed) = listeners.adopt(&bind, false);
        assert_eq!(opened.iter().map(|new| new.number).collect::<Vec<_>>(), [2]);
        assert_eq!(closed, [0]);
        assert!(!directory.path().join("a").exists());
        assert_eq!(listeners.names().len(), 3);
    }

    #[test]
    fn a_change_that_is_given_up_or_cannot_be_made_leaves_everything_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let unix = |name: &str| format!("unix:{}", directory.path().join(name).display());
        let mut listeners = opened(&[unix("a")]);
        listeners.prepare(&addresses(&[unix("b")]), &MANNER).unwrap();
        listeners.forget();
        assert!(!directory.path().join("b").exists());
        std::fs::write(directory.path().join("d"), "data").unwrap();
        assert!(listeners.prepare(&addresses(&[unix("c"), unix("d")]), &MANNER).is_err());
        assert!(!directory.path().join("c").exists() && directory.path().join("a").exists());
        assert_eq!(listeners.names().len(), 1);
    }

    /// Needs a process of its own, as nextest gives it.
    #[test]
    fn a_socket_that_the_front_cannot_have_is_not_opened_and_a_takeover_needs_no_descriptor() {
        let mut listeners = opened(&["127.0.0.1:0".to_owned()]);
        let bind = addresses(&["127.0.0.1:0".to_owned(), "127.0.0.2:0".to_owned()]);
        let limit = getrlimit(Resource::Nofile);
        let with_free = |free: u64| {
            let lowest = std::fs::File::open("/dev/null").unwrap().as_raw_fd();
            let current = Some(u64::try_from(lowest).unwrap() + free);
            setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
        };
        with_free(1);
        let refused = listeners.prepare(&bind, &MANNER).unwrap_err();
        setrlimit(Resource::Nofile, limit).unwrap();
        assert!(refused.message.contains("cannot pass"), "{refused}");
        assert_eq!((listeners.coming.len(), listeners.names.len()), (0, 1));
        listeners.prepare(&bind, &MANNER).unwrap();
        with_free(0);
        let (opened, closed) = listeners.adopt(&bind, false);
        let unchanged = listeners.set_backlog(32).len();
        setrlimit(Resource::Nofile, limit).unwrap();
        assert_eq!((opened.len(), closed.len(), unchanged), (1, 0, 0));
    }

    #[test]
    fn a_change_on_trial_has_both_lists_open_and_ends_with_either() {
        for stays in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let path = |name: &str| directory.path().join(name);
            let unix = |name: &str| format!("unix:{}", path(name).display());
            let mut listeners = opened(&[unix("a"), unix("b")]);
            let bind = addresses(&[unix("b"), unix("c")]);
            listeners.prepare(&bind, &MANNER).unwrap();
            let (opened, closed) = listeners.adopt(&bind, true);
            assert_eq!((opened.len(), closed.len()), (1, 0));
            assert!(["a", "b", "c"].iter().all(|name| path(name).exists()));
            let closed = if stays { listeners.confirm() } else { listeners.restore() };
            assert_eq!(closed, [if stays { 0 } else { 2 }]);
            assert_eq!((path("a").exists(), path("c").exists()), (!stays, stays));
            assert!(path("b").exists());
            listeners.prepare(&addresses(&[unix("a"), unix("b")]), &MANNER).unwrap();
            listeners.forget();
            assert_eq!(path("a").exists(), !stays);
        }
    }

    #[test]
    fn a_port_moves_from_one_address_to_all_without_a_moment_of_being_closed() {
        let mut listeners = opened(&["127.0.0.1:0".to_owned()]);
        let port = port(&listeners, 0);
        let bind = addresses(&[format!("0.0.0.0:{port}")]);
        listeners.prepare(&bind, &MANNER).unwrap();
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        let (opened, closed) = listeners.adopt(&bind, false);
        assert_eq!((opened.len(), closed.len()), (1, 1));
        assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    }
}
