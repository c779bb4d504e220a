//! Listening sockets: TCP, Unix, inherited.

use std::ffi::OsString;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use indrik_core::settings::BindAddress;
use indrik_sys::files::{self, SocketPath};
use indrik_sys::rights;
use socket2::{Domain, SockAddr, Socket, Type};

use super::error::BootError;
use crate::front::Listener;

/// The socket file's permissions before the `umask` setting: a proxy run by another user can connect.
const UNIX_SOCKET_MODE: u32 = 0o777;

/// How sockets are opened.
#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Connections the kernel queues.
    pub backlog: u32,
    /// What a socket file's permissions lack.
    pub umask: u32,
    /// User and group that a socket file belongs to, if not this process's.
    pub owner: Option<(u32, u32)>,
    /// Other processes may listen on the same port (SO_REUSEPORT).
    pub reuse_port: bool,
}

/// A listening socket with what is left to do for it at the end.
#[derive(Debug)]
pub struct BoundSocket {
    /// For the front; non-blocking.
    pub listener: Listener,
    /// How users write it: `http://127.0.0.1:8000`, `unix:/run/app.sock`.
    pub shown: String,
    /// The socket file to remove, if this process made one.
    pub file: Option<SocketFile>,
}

/// A socket file; removed when dropped, unless somebody has put another one in its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// Takes responsibility for the socket file at `path`, if there is one.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        identity(path).map(|identity| Self { path: path.to_owned(), identity })
    }

    /// The path still leads to it, and not to what somebody else has put there.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }

    /// Leaves the file to another process.
    pub fn leave(self) {
        std::mem::forget(self);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_in_place() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Opens one address.
///
/// # Errors
/// When the address is taken, not this machine's, not permitted, or no socket.
pub fn bind(address: &BindAddress, manner: &Manner) -> Result<BoundSocket, BootError> {
    match address {
        BindAddress::Tcp { host, port } => bind_tcp(address, host, *port, manner),
        BindAddress::Unix { path } => bind_unix(path, manner),
        BindAddress::Fd { fd } => take_inherited(indrik_sys::process::inherited(*fd), *fd),
    }
}

/// Takes over a socket that was passed under a number to this process alone.
///
/// # Errors
/// When it is no listening socket.
pub fn take_over(number: i32) -> Result<BoundSocket, BootError> {
    take_inherited(indrik_sys::process::inherited_alone(number), number)
}

fn bind_tcp(
    address: &BindAddress,
    host: &str,
    port: u16,
    manner: &Manner,
) -> Result<BoundSocket, BootError> {
    let target = target_of(address, host, port)?;
    let socket = listen_tcp(target, manner).map_err(|error| tcp_error(address, &error))?;
    let bound = socket.local_addr().ok().and_then(|bound| bound.as_socket()).unwrap_or(target);
    Ok(BoundSocket {
        listener: Listener::Tcp(socket.into()),
        shown: format!("http://{bound}"),
        file: None,
    })
}

fn target_of(address: &BindAddress, host: &str, port: u16) -> Result<SocketAddr, BootError> {
    resolve(host, port).map_err(|error| BootError {
        message: format!("cannot resolve the host of {address}: {error}"),
        hint: "give an address of this machine, 127.0.0.1 or 0.0.0.0 for example",
        in_use: false,
    })
}

/// Whether a TCP address could be listened on: the steps of [`bind`] before the one that lets clients in. One that
/// somebody listens on could be.
///
/// # Errors
/// When the host is unknown, or the address is not this machine's or not permitted.
pub(crate) fn could_bind(address: &BindAddress) -> Result<(), BootError> {
    let BindAddress::Tcp { host, port } = address else { return Ok(()) };
    let target = target_of(address, host, *port)?;
    match bound_tcp(target, false).map_err(|error| tcp_error(address, &error)) {
        Err(error) if !error.in_use => Err(error),
        _ => Ok(()),
    }
}

/// IPv4 first: `localhost` means 127.0.0.1 to whoever writes it into a proxy's configuration.
pub(crate) fn resolve(host: &str, port: u16) -> io::Result<SocketAddr> {
    let all: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
    let v4 = all.iter().find(|address| address.is_ipv4());
    v4.or_else(|| all.first()).copied().ok_or_else(|| io::Error::other("the name has no address"))
}

/// At its address, where nobody can connect yet.
fn bound_tcp(target: SocketAddr, reuse_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
    // A restart must not wait for the last server's connections to time out.
    socket.set_reuse_address(true)?;
    if reuse_port {
        socket.set_reuse_port(true)?;
    }
    socket.bind(&target.into())?;
    Ok(socket)
}

fn listen_tcp(target: SocketAddr, manner: &Manner) -> io::Result<Socket> {
    let socket = bound_tcp(target, manner.reuse_port)?;
    socket.listen(length(manner.backlog))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn tcp_error(address: &BindAddress, error: &io::Error) -> BootError {
    let (what, hint) = match error.kind() {
        io::ErrorKind::AddrInUse => (
            format!("Connection in use: {address}"),
            "stop the process that listens there, or choose another --bind",
        ),
        io::ErrorKind::PermissionDenied => (
            format!("no permission to listen on {address}"),
            "ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher port or grant it",
        ),
        io::ErrorKind::AddrNotAvailable => (
            format!("cannot listen on {address}: it is not an address of this machine"),
            "use 0.0.0.0 or [::] for all addresses",
        ),
        _ => (format!("cannot listen on {address}: {error}"), "check --bind"),
    };
    BootError { message: what, hint, in_use: error.kind() == io::ErrorKind::AddrInUse }
}

fn length(backlog: u32) -> i32 {
    i32::try_from(backlog).unwrap_or(i32::MAX)
}

fn bind_unix(path: &Path, manner: &Manner) -> Result<BoundSocket, BootError> {
    let shown = show_unix(path);
    if is_abstract(path) {
        let socket = listen_abstract(path, manner).map_err(|error| unix_error(&shown, &error))?;
        let listener = Listener::Unix(socket.into(), path.display().to_string());
        return Ok(BoundSocket { listener, shown, file: None });
    }
    make_room(path, &shown)?;
    let socket = listen_unix(path, manner).map_err(|error| unix_error(&shown, &error))?;
    let listener = Listener::Unix(socket.into(), path.display().to_string());
    Ok(BoundSocket { listener, shown, file: SocketFile::of(path) })
}

/// A name that begins with NUL is in a space of its own, without files.
fn is_abstract(path: &Path) -> bool {
    path.as_os_str().as_encoded_bytes().first() == Some(&0)
}

/// The usual way to write an abstract name is with an `@`.
fn show_unix(path: &Path) -> String {
    match path.display().to_string() {
        name if is_abstract(path) => format!("unix:@{}", &name[1..]),
        name => format!("unix:{name}"),
    }
}

/// Removes a socket file nobody listens on; whatever else lies there is not ours.
fn make_room(path: &Path, shown: &str) -> Result<(), BootError> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        return Err(BootError {
            message: format!("cannot listen on {shown}: the path exists and is not a socket"),
            hint: "choose another path, or remove the file",
            in_use: false,
        });
    }
    if connects(path).is_some() {
        return Err(unix_error(shown, &io::ErrorKind::AddrInUse.into()));
    }
    std::fs::remove_file(path).map_err(|error| unix_error(shown, &error))
}

/// A connection to whoever listens there; `Err` if somebody does, and is too busy to answer. Nobody is
/// waited for.
pub(crate) fn connects(path: &Path) -> Option<Result<UnixStream, ()>> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).ok()?;
    socket.set_nonblocking(true).ok()?;
    match socket.connect(&SockAddr::unix(path).ok()?) {
        Ok(()) => Some(Ok(socket.into())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Some(Err(())),
        Err(_) => None,
    }
}

fn listen_unix(path: &Path, manner: &Manner) -> io::Result<Socket> {
    files::check_way(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Nor do the connections that are accepted from it.
    rights::refuse(&socket);
    socket.bind(&SockAddr::unix(path)?)?;
    // Before `listen` nobody can connect, so there is no moment with other permissions.
    let file = SocketFile::of(path);
    let held = SocketPath::hold(path)?;
    held.set_mode(UNIX_SOCKET_MODE & !manner.umask)?;
    if let Some((user, group)) = manner.owner {
        held.give(user, group)?;
    }
    // Until here it goes when something fails.
    if let Some(file) = file {
        file.leave();
    }
    socket.listen(length(manner.backlog))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen_abstract(path: &Path, manner: &Manner) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // Nor do the connections that are accepted from it.
    rights::refuse(&socket);
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(length(manner.backlog))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn unix_error(shown: &str, error: &io::Error) -> BootError {
    if error.kind() == io::ErrorKind::AddrInUse {
        return BootError {
            message: format!("Connection in use: {shown}"),
            hint: "stop the process that listens there, or choose another --bind",
            in_use: true,
        };
    }
    let hint = match error.kind() {
        io::ErrorKind::NotFound => "its directory does not exist: make it first",
        io::ErrorKind::PermissionDenied => "its directory must be writable for this user",
        io::ErrorKind::InvalidInput => "a socket's path has at most 107 bytes",
        _ => "check --bind",
    };
    BootError { message: format!("cannot listen on {shown}: {error}"), hint, in_use: false }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()))
}

fn take_inherited(fd: io::Result<OwnedFd>, number: i32) -> Result<BoundSocket, BootError> {
    let fail = |what: String| BootError {
        message: format!("cannot listen on fd://{number}: {what}"),
        hint: "the parent process must pass a listening stream socket under that number",
        in_use: false,
    };
    let socket = Socket::from(fd.map_err(|error| fail(error.to_string()))?);
    match socket.is_listener() {
        Ok(true) => {}
        Ok(false) => return Err(fail("the socket does not listen".into())),
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOTSOCK.raw_os_error()) => {
            return Err(fail("it is not a socket".into()));
        }
        Err(error) => return Err(fail(error.to_string())),
    }
    socket.set_nonblocking(true).map_err(|error| fail(error.to_string()))?;
    let local = socket.local_addr().map_err(|error| fail(error.to_string()))?;
    let (listener, shown) = if let Some(address) = local.as_socket() {
        (Listener::Tcp(socket.into()), format!("http://{address}"))
    } else {
        rights::refuse(&socket);
        let path = unix_path(&local);
        let shown = show_unix(&path);
        (Listener::Unix(socket.into(), path.display().to_string()), shown)
    };
    Ok(BoundSocket { listener, shown, file: None })
}

/// Where a socket is bound; abstract names with their NUL in front.
fn unix_path(address: &SockAddr) -> PathBuf {
    if let Some(name) = address.as_abstract_namespace() {
        let mut bytes = vec![0];
        bytes.extend_from_slice(name);
        return PathBuf::from(OsString::from_vec(bytes));
    }
    address.as_pathname().map_or_else(PathBuf::new, Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const MANNER: Manner = Manner { backlog: 16, umask: 0, owner: None, reuse_port: false };

    fn tcp(port: u16) -> BindAddress {
        BindAddress::Tcp { host: "127.0.0.1".into(), port }
    }

    #[test]
    fn port_zero_shows_the_port_the_kernel_chose_and_a_second_bind_says_who_is_in_the_way() {
        let first = bind(&tcp(0), &MANNER).unwrap();
        let Listener::Tcp(listener) = &first.listener else { panic!("TCP") };
        let port = listener.local_addr().unwrap().port();
        assert_eq!(first.shown, format!("http://127.0.0.1:{port}"));
        let error = bind(&tcp(port), &MANNER).unwrap_err();
        assert_eq!(error.message, format!("Connection in use: 127.0.0.1:{port}"));
    }

    #[test]
    fn a_foreign_address_and_an_unknown_host_are_named() {
        let foreign = BindAddress::Tcp { host: "192.0.2.1".into(), port: 0 };
        assert!(
            bind(&foreign, &MANNER).unwrap_err().message.contains("not an address of this machine")
        );
        assert_eq!(could_bind(&foreign), bind(&foreign, &MANNER).map(drop));
    }

    #[test]
    fn an_address_that_somebody_listens_on_could_be_bound_and_stays_his() {
        let first = bind(&tcp(0), &MANNER).unwrap();
        let Listener::Tcp(listener) = &first.listener else { panic!("TCP") };
        let address = listener.local_addr().unwrap();
        assert_eq!(could_bind(&tcp(address.port())), Ok(()));
        std::net::TcpStream::connect(address).unwrap();
    }

    #[test]
    fn a_stale_socket_file_is_replaced_a_living_one_and_a_plain_file_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let address = BindAddress::Unix { path: path.clone() };
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let first = bind(&address, &MANNER).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o777);
        assert!(bind(&address, &MANNER).unwrap_err().message.contains("Connection in use"));
        drop(first);
        assert!(!path.exists());
        std::fs::write(&path, "data").unwrap();
        assert!(bind(&address, &MANNER).unwrap_err().message.contains("not a socket"));
        assert!(path.exists());
    }

    #[test]
    fn a_socket_file_that_another_server_made_meanwhile_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let first = bind(&BindAddress::Unix { path: path.clone() }, &MANNER).unwrap();
        std::fs::remove_file(&path).unwrap();
        // Keeps the removed file's number from being used again at once.
        std::fs::write(directory.path().join("other"), "").unwrap();
        let second = bind(&BindAddress::Unix { path: path.clone() }, &MANNER).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
    }

    #[test]
    fn an_inherited_number_must_be_a_listening_socket() {
        let error = bind(&BindAddress::Fd { fd: 9_999 }, &MANNER).unwrap_err();
        assert!(error.message.contains("fd://9999"), "{error}");
        let file = tempfile::tempfile().unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file);
        let error = bind(&BindAddress::Fd { fd: number }, &MANNER).unwrap_err();
        assert!(error.message.contains("not a socket"), "{error}");
    }

    #[test]
    fn the_umask_takes_permissions_from_the_socket_file_and_the_owner_is_set() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.sock");
        let owner = Some(indrik_sys::users::current());
        let manner = Manner { umask: 0o027, owner, ..MANNER };
        let _socket = bind(&BindAddress::Unix { path: path.clone() }, &manner).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o750);
    }

    #[test]
    fn an_abstract_socket_is_shown_with_an_at_sign_and_leaves_no_file() {
        let name = format!("\0indrik-test-{}", std::process::id());
        let address = BindAddress::Unix { path: name.clone().into() };
        let socket = bind(&address, &MANNER).unwrap();
        assert_eq!(socket.shown, format!("unix:@{}", &name[1..]));
        assert!(socket.file.is_none());
        assert!(bind(&address, &MANNER).unwrap_err().in_use);
    }

    #[test]
    fn two_sockets_share_a_port_if_both_want_to() {
        let shared = Manner { reuse_port: true, ..MANNER };
        let first = bind(&tcp(0), &shared).unwrap();
        let Listener::Tcp(listener) = &first.listener else { panic!("TCP") };
        let port = listener.local_addr().unwrap().port();
        assert!(bind(&tcp(port), &shared).is_ok());
        assert!(bind(&tcp(port), &MANNER).unwrap_err().in_use);
    }

    #[test]
    fn somebody_who_listens_and_accepts_nobody_is_seen_without_a_wait() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        assert!(connects(&path).is_none());
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::unix(&path).unwrap()).unwrap();
        socket.listen(0).unwrap();
        let mut made = Vec::new();
        let busy =
            std::iter::from_fn(|| connects(&path)).take(16).any(|connected| match connected {
                Ok(stream) => {
                    made.push(stream);
                    false
                }
                Err(()) => true,
            });
        assert!(busy, "its queue is full");
        assert!(make_room(&path, "s").unwrap_err().in_use);
    }
}
