//! What a server goes on sending on a control connection, until either side has enough.

use std::io::{self, Read as _};
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use indrik_sys::signal::Signal;
use indrik_sys::signals::SignalStream;
use rustix::event::{PollFd, PollFlags, poll};

use super::client::{Connection, Trouble, silent};

/// The longest piece taken.
const PIECE_BYTES_MAX: usize = 1024 * 1024;

impl Connection {
    /// Gives what the server sends to `take`, piece by piece, until the server has said all. An interrupt (Ctrl-C) or
    /// TERM says to the server that it is enough; a second one does not wait for its last words.
    ///
    /// # Errors
    /// When the connection breaks, or `take` fails.
    pub fn follow(self, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Trouble> {
        let stream = self.into_stream();
        follow(&stream, &mut take)
            .map_err(|error| silent(format!("the recording broke off: {error}"), ""))
    }
}

fn follow(stream: &UnixStream, take: &mut impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let signals = SignalStream::open(&[Signal::INT, Signal::TERM])?;
    let mut is_enough = false;
    loop {
        let mut fds = [
            PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(signals.as_fd(), PollFlags::IN),
        ];
        poll(&mut fds, None)?;
        let [from_server, signal] = fds.map(|fd| !fd.revents().is_empty());
        if signal && signals.next()?.is_some() {
            if is_enough {
                return Err(io::Error::other("interrupted"));
            }
            is_enough = true;
            stream.shutdown(Shutdown::Write)?;
        }
        if from_server {
            match read_piece(stream)? {
                Some(piece) => take(&piece)?,
                None => return Ok(()),
            }
        }
    }
}

fn read_piece(mut stream: &UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > PIECE_BYTES_MAX {
        let text = format!("a piece of {length} bytes is above the limit");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    let mut piece = vec![0; length];
    stream.read_exact(&mut piece)?;
    Ok(Some(piece))
}
