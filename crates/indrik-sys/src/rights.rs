//! Files that come by a Unix socket (`SCM_RIGHTS`), and that nobody asked for.
//!
//! Whoever reads the message closes them, and a close may wait: a TCP socket that lingers has it wait for its
//! peer, a file of FUSE for its daemon. So a socket that is to bring no files takes none ([`refuse`]), and what came
//! by one that may is closed where nobody waits for it ([`close_apart`]).

use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::sync::mpsc::{SyncSender, channel, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread;

/// Files that wait to be closed; whoever brings one more waits for a place. None of them waits for what its close
/// waits for.
const WAITING_MAX: usize = 1024;

/// Since Linux 6.16; `libc` does not have it yet.
const SO_PASSRIGHTS: libc::c_int = 83;

/// From now on whoever sends files to this socket, or to those accepted from it, is told that it may not
/// (`EPERM`). False: the kernel cannot do that, or it is no Unix socket.
pub fn refuse(socket: impl AsFd) -> bool {
    let no: libc::c_int = 0;
    let size = libc::socklen_t::try_from(size_of_val(&no)).unwrap_or_default();
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the value outlives the call, which reads as many bytes of it as it has.
    unsafe {
        libc::setsockopt(fd, libc::SOL_SOCKET, SO_PASSRIGHTS, std::ptr::from_ref(&no).cast(), size)
            == 0
    }
}

/// Closes a file that somebody else chose, and does not wait for that.
pub fn close_apart(file: OwnedFd) {
    let left = match closer() {
        Some(sender) => sender.send(file).map_err(|error| error.0),
        None => Err(file),
    };
    // There are no threads to be had: this one does it.
    drop(left);
}

fn closer() -> Option<SyncSender<OwnedFd>> {
    static CLOSER: OnceLock<Option<Mutex<SyncSender<OwnedFd>>>> = OnceLock::new();
    let started = CLOSER.get_or_init(|| {
        let (sender, files) = sync_channel::<OwnedFd>(WAITING_MAX);
        let run = move || files.into_iter().for_each(close_by_a_thread);
        let thread = thread::Builder::new().name("indrik-closer".to_owned()).spawn(run);
        thread.ok().map(|_| Mutex::new(sender))
    });
    started.as_ref().map(|sender| sender.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Has a thread of its own be the last that has the file. It keeps nothing else, and ends: the kernel does not
/// linger for one that ends, and if the close waits all the same, it is the only one that does.
fn close_by_a_thread(file: OwnedFd) {
    let number = file.as_raw_fd().cast_unsigned();
    let (keeps, kept) = channel::<()>();
    let (gives_up, given_up) = channel::<()>();
    let run = move || {
        keep_only(number);
        drop(keeps);
        // If it ended before, the caller would be the last.
        let _ = given_up.recv();
    };
    if thread::Builder::new().name("indrik-close".to_owned()).spawn(run).is_ok() {
        // It ends when the thread has a table of descriptors of its own.
        let _ = kept.recv();
    }
    drop(file);
    drop(gives_up);
}

/// Gives this thread a table of descriptors of its own, with this one in it.
fn keep_only(number: libc::c_uint) {
    let unshare = libc::CLOSE_RANGE_UNSHARE;
    let close = |first: libc::c_uint, last: libc::c_uint, flags: libc::c_uint| {
        // SAFETY: with the flag the table is this thread's own, which uses no other descriptor from here on.
        unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) == 0 }
    };
    if close(number + 1, libc::c_uint::MAX, unshare) && number > 0 {
        close(0, number - 1, 0);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    use rustix::net::sockopt::set_socket_linger;

    use super::*;
    use crate::packets::PacketSocket;

    /// Longer than the test may take.
    const LINGER: Duration = Duration::from_secs(60);

    /// A connection whose close waits: its peer takes nothing.
    fn lingering(listener: &TcpListener) -> OwnedFd {
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        stream.set_nonblocking(true).unwrap();
        while stream.write(&[0; 65536]).is_ok() {}
        set_socket_linger(&stream, Some(LINGER)).unwrap();
        stream.into()
    }

    #[test]
    fn a_socket_that_refuses_files_has_their_sender_told() {
        let (ours, theirs) = PacketSocket::pair().unwrap();
        let theirs = PacketSocket::from_fd(theirs);
        if !refuse(&ours) {
            return;
        }
        let error = theirs.send(b"x", &[theirs.as_fd()]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        theirs.send(b"x", &[]).unwrap();
    }

    #[test]
    fn the_close_of_a_file_that_lingers_is_waited_for_by_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let before = Instant::now();
        // One alone, and one in a socket that nobody reads.
        close_apart(lingering(&listener));
        let (one, other) = PacketSocket::pair().unwrap();
        let file = lingering(&listener);
        one.send(b"x", &[file.as_fd()]).unwrap();
        close_apart(file);
        drop(one);
        close_apart(other);
        // What comes after them is closed too: so none has held the closer.
        let (mut read, write) = std::io::pipe().unwrap();
        close_apart(write.into());
        assert_eq!(std::io::Read::read(&mut read, &mut [0]).unwrap(), 0);
        assert!(before.elapsed() < LINGER / 2);
    }
}
