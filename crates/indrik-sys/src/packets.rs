//! Message sockets between related processes: whole messages (SOCK_SEQPACKET), with file
//! descriptors alongside.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

/// The largest message either side sends; longer ones are cut by the sender.
pub const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// File descriptors that may travel with one message.
pub const MESSAGE_FDS_MAX: usize = 12;

/// One end of a message socket.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

/// What [`PacketSocket::receive`] found.
#[derive(Debug)]
pub enum Received {
    /// A message and the descriptors that came with it.
    Message(Vec<u8>, Vec<OwnedFd>),
    /// Nothing is waiting.
    Empty,
    /// The other side has gone and nothing more will come.
    Closed,
}

impl PacketSocket {
    /// Two connected ends. Both close on exec; only this process's end (the first) never blocks, and it takes
    /// no files where the kernel can refuse them.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        crate::rights::refuse(&ours);
        Ok((Self(ours), theirs))
    }

    /// Takes over an end that came from elsewhere.
    #[must_use]
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends one message with descriptors.
    ///
    /// # Errors
    /// `WouldBlock` when the other side does not read, `BrokenPipe` when it has gone, and
    /// `InvalidInput` above [`MESSAGE_BYTES_MAX`] or [`MESSAGE_FDS_MAX`].
    pub fn send(&self, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        if message.len() > MESSAGE_BYTES_MAX || fds.len() > MESSAGE_FDS_MAX {
            let text = format!("a message of {} bytes and {} fds", message.len(), fds.len());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FDS_MAX))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let parts = [IoSlice::new(message)];
        let flags = SendFlags::NOSIGNAL;
        rustix::io::retry_on_intr(|| rustix::net::sendmsg(&self.0, &parts, &mut control, flags))?;
        Ok(())
    }

    /// Receives one message.
    ///
    /// # Errors
    /// `InvalidData` for a message above the limits, else what the system says.
    pub fn receive(&self) -> io::Result<Received> {
        let mut buffer = vec![0u8; MESSAGE_BYTES_MAX];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MESSAGE_FDS_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let result = rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            rustix::net::recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)
        });
        let received = match result {
            Ok(received) => received,
            Err(rustix::io::Errno::AGAIN) => return Ok(Received::Empty),
            Err(rustix::io::Errno::CONNRESET) => return Ok(Received::Closed),
            Err(error) => return Err(error.into()),
        };
        let fds = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(fds) => Some(fds),
                _ => None,
            })
            .flatten()
            .collect();
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            let text = "a message is longer than the agreed limit";
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        if received.bytes == 0 {
            return Ok(Received::Closed);
        }
        buffer.truncate(received.bytes);
        Ok(Received::Message(buffer, fds))
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PacketSocket> for OwnedFd {
    fn from(socket: PacketSocket) -> Self {
        socket.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use super::*;

    #[test]
    fn messages_keep_their_borders_and_carry_descriptors() {
        let (ours, theirs) = PacketSocket::pair().unwrap();
        let theirs = PacketSocket::from_fd(theirs);
        let (mut read_end, mut write_end) = io::pipe().unwrap();
        ours.send(b"one", &[write_end.as_fd()]).unwrap();
        ours.send(b"two", &[]).unwrap();
        let Received::Message(text, mut fds) = theirs.receive().unwrap() else {
            panic!("a message")
        };
        assert_eq!((text.as_slice(), fds.len()), (&b"one"[..], 1));
        let mut passed = io::PipeWriter::from(fds.remove(0));
        passed.write_all(b"hi").unwrap();
        write_end.write_all(b"!").unwrap();
        drop((passed, write_end));
        let mut got = String::new();
        read_end.read_to_string(&mut got).unwrap();
        assert_eq!(got, "hi!");
        let Received::Message(text, fds) = theirs.receive().unwrap() else { panic!("a message") };
        assert_eq!((text.as_slice(), fds.len()), (&b"two"[..], 0));
    }

    #[test]
    fn an_empty_socket_does_not_block_and_a_closed_one_says_so() {
        let (ours, theirs) = PacketSocket::pair().unwrap();
        assert!(matches!(ours.receive().unwrap(), Received::Empty));
        drop(theirs);
        assert!(matches!(ours.receive().unwrap(), Received::Closed));
        assert_eq!(ours.send(b"x", &[]).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }

    #[test]
    fn too_long_a_message_is_refused_by_the_sender() {
        let (ours, _theirs) = PacketSocket::pair().unwrap();
        let error = ours.send(&vec![0; MESSAGE_BYTES_MAX + 1], &[]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
