//! Opening the control sockets.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use indrik_sys::files::{self, SocketPath};
use indrik_sys::rights;
use rustix::net::sockopt::socket_peercred;
use socket2::{Domain, SockAddr, Socket, Type};

use super::name;
use crate::boot::{SocketFile, connects};

/// Connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 16;
/// The permissions of a directory made for the socket: as Gunicorn's.
const DIRECTORY_MODE: u32 = 0o700;

/// A listening control socket.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) listener: UnixListener,
    /// How people write its address.
    pub(crate) shown: String,
    /// The socket file, if it has one; removed when dropped.
    pub(crate) file: Option<SocketFile>,
    /// Nothing but a look at the client's identity guards it.
    pub(crate) checks_user: bool,
}

impl Open {
    /// Clients find it under its address.
    pub(crate) fn is_in_place(&self) -> bool {
        self.file.as_ref().is_none_or(SocketFile::is_in_place)
    }
}

/// Opens the socket at `path` with these permissions, or this process's abstract one.
///
/// # Errors
/// When it cannot be had; the text says what was tried and what to do.
pub(crate) fn open(path: Option<(&Path, u32)>) -> io::Result<Open> {
    match path {
        None => open_abstract(),
        Some((path, mode)) => open_path(path, mode)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
    }
}

fn open_abstract() -> io::Result<Open> {
    let (user, pid) = (rustix::process::geteuid().as_raw(), std::process::id());
    let listener = UnixListener::bind_addr(&name::address(user, pid)?)?;
    listener.set_nonblocking(true)?;
    rights::refuse(&listener);
    Ok(Open { listener, shown: name::shown(user, pid), file: None, checks_user: true })
}

/// Opens the admin listener's socket for this process's own user; with how people write its address.
///
/// # Errors
/// When it cannot be had.
pub(crate) fn open_admin() -> io::Result<(UnixListener, String)> {
    let (user, pid) = (rustix::process::geteuid().as_raw(), std::process::id());
    let listener = UnixListener::bind_addr(&name::admin_address(user, pid)?)?;
    listener.set_nonblocking(true)?;
    rights::refuse(&listener);
    Ok((listener, name::admin_shown(user, pid)))
}

fn open_path(path: &Path, mode: u32) -> io::Result<Open> {
    files::check_way(path)?;
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    }
    make_room(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    let file = SocketFile::of(path);
    // Before `listen` nobody can connect, so there is no moment with other permissions.
    SocketPath::hold(path)?.set_mode(mode)?;
    rights::refuse(&socket);
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let shown = path.display().to_string();
    Ok(Open { listener: UnixListener::from(socket), shown, file, checks_user: false })
}

/// Removes a socket nobody listens on, or that the process listens on which this one succeeds.
fn make_room(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(()) };
    if !metadata.file_type().is_socket() {
        let text = "the path exists and is not a socket; remove it, or choose another one";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
    }
    if let Some(listener) = connects(path) {
        let Ok(other) = listener else {
            let text = "somebody listens there and does not answer; give each server a \
                        control_socket of its own";
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        };
        let owner = socket_peercred(&other)?.pid;
        if Some(owner) != rustix::process::getppid() {
            let text = format!(
                "process {} listens there; give each server a control_socket of its own",
                owner.as_raw_pid()
            );
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
    }
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_socket_file_has_the_permissions_asked_for_and_its_directory_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/here.ctl");
        let open = open(Some((&path, 0o620))).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o620, 0o700));
        drop(open);
        assert!(!path.exists());
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_living_one_or_a_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.ctl");
        drop(UnixListener::bind(&path).unwrap());
        let first = open(Some((&path, 0o600))).unwrap();
        let error = open(Some((&path, 0o600))).unwrap_err();
        assert!(error.to_string().contains("listens there"), "{error}");
        assert!(path.exists());
        drop(first);
        std::fs::write(&path, "data").unwrap();
        let error = open(Some((&path, 0o600))).unwrap_err();
        assert!(error.to_string().contains("not a socket"), "{error}");
    }
}
