//! A file and its descriptor as one operation: reserve, hand over, commit.
//!
//! Files travel by a message socket beside the rings, each with the slot and generation it belongs to. The
//! sender reserves room in the ring first, then hands the file over, then commits the descriptor, which
//! cannot fail any more: so every descriptor that names a file finds it there, and no file is sent twice.
//! The receiver looks a file up by slot and generation, never by order; what belongs to nobody any more (a
//! request that was taken back, a sender that died before it committed) is closed.
//!
//! Neither side ever blocks in the socket: a full one is [`NotSent::FilesFull`].

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags,
    SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};

use crate::kept::{Close, KeptFd};
use crate::ring::{NotSent, Sender};
use crate::sync::step;
use crate::wire::{Descriptor, FileMark};

/// Files of other live requests that a receiver keeps while it looks for one. Sides that keep to the protocol
/// need one at most; above it the oldest is closed, and its request fails.
const FILES_KEPT_MAX: usize = 64;
/// Messages that are read in search of one file.
const FILES_LOOKED_AT_MAX: usize = 1024;
/// The kernel's limit of files in one message (`SCM_MAX_FD`).
const FILES_OF_MESSAGE_MAX: usize = 253;
/// How long a sender waits where the system, and not the socket, has no room for files in flight.
const SYSTEM_PAUSE: Duration = Duration::from_millis(1);

/// The two ends of a socket for files. Both close on exec.
///
/// # Errors
/// When the process is out of file descriptors.
pub fn files_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC;
    Ok(rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

/// Hands files over.
#[derive(Clone, Debug)]
pub struct FileSender(Arc<KeptFd>);

/// Takes files that were handed over.
#[derive(Debug)]
pub struct FileReceiver {
    socket: Arc<KeptFd>,
    kept: VecDeque<(FileMark, OwnedFd)>,
    close: Close,
}

/// Why a file is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileLost {
    /// The other side did not hand it over, or is gone.
    Missing,
    /// This process was out of file descriptors when it came.
    NoDescriptors,
    /// What came is no regular file.
    NoFile,
    /// This process has lost its end of the socket.
    Closed,
}

impl std::fmt::Display for FileLost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Missing => "a file that belongs to a request was not handed over",
            Self::NoDescriptors => {
                "a file was lost because this process is out of file descriptors: raise its limit \
                 (RLIMIT_NOFILE)"
            }
            Self::NoFile => "it is not a regular file",
            Self::Closed => "the socket that files come by was closed",
        })
    }
}

impl std::error::Error for FileLost {}

/// Both uses of one end of the socket.
pub(crate) fn both_ways(end: impl Into<KeptFd>, close: Close) -> (FileSender, FileReceiver) {
    let socket = Arc::new(end.into());
    (FileSender(Arc::clone(&socket)), FileReceiver { socket, kept: VecDeque::new(), close })
}

impl Sender {
    /// Sends a descriptor with a file and a payload: both go, or neither.
    ///
    /// # Errors
    /// [`NotSent`].
    pub fn send_with_file(
        &mut self,
        (files, file): (&FileSender, BorrowedFd<'_>),
        descriptor: Descriptor,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Result<(), NotSent> {
        let place = self.reserve(len)?;
        let Descriptor { slot, generation, .. } = descriptor;
        files.hand_over(FileMark { slot, generation }, file)?;
        step();
        place.commit(descriptor, fill);
        Ok(())
    }
}

impl FileSender {
    fn hand_over(&self, mark: FileMark, file: BorrowedFd<'_>) -> Result<(), NotSent> {
        step();
        let files = [file];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&files));
        let message = mark.encode();
        let parts = [IoSlice::new(&message)];
        let flags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
        let socket = self.0.ours().ok_or(NotSent::FilesClosed)?;
        let send = || rustix::net::sendmsg(socket, &parts, &mut control, flags);
        match rustix::io::retry_on_intr(send) {
            Ok(_) => Ok(()),
            Err(Errno::AGAIN | Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => {
                Err(NotSent::FilesFull)
            }
            Err(_) => Err(NotSent::FilesClosed),
        }
    }

    /// Waits until one more file may be handed over, at most `limit`.
    pub fn wait(&self, limit: Duration) {
        let limit = Timespec {
            tv_sec: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(limit.subsec_nanos()),
        };
        let has_room = |limit| {
            let mut polled = [PollFd::new(&*self.0, PollFlags::OUT)];
            rustix::event::poll(&mut polled, Some(limit)).is_ok_and(|ready| ready != 0)
        };
        if has_room(&Timespec { tv_sec: 0, tv_nsec: 0 }) {
            std::thread::sleep(SYSTEM_PAUSE);
        } else {
            has_room(&limit);
        }
    }
}

impl FileReceiver {
    /// Takes the file of one use of a slot; of the others that are found on the way those are kept that
    /// `is_live` still knows.
    ///
    /// # Errors
    /// [`FileLost`].
    pub fn take(
        &mut self,
        slot: u16,
        generation: u32,
        is_live: impl Fn(u16, u32) -> bool,
    ) -> Result<OwnedFd, FileLost> {
        let wanted = FileMark { slot, generation };
        if let Some(at) = self.kept.iter().position(|(mark, _)| *mark == wanted)
            && let Some((_, file)) = self.kept.remove(at)
        {
            return Ok(file);
        }
        for _ in 0..FILES_LOOKED_AT_MAX {
            step();
            let (mark, file) = self.next()?;
            match file {
                Some(file) if mark == Some(wanted) => return Ok(file),
                None if mark == Some(wanted) => return Err(FileLost::NoDescriptors),
                Some(file) => self.keep(mark, file, &is_live),
                None => {}
            }
        }
        Err(FileLost::Missing)
    }

    /// The next message: whose file, if it can be read, and the file, if this process had room for it.
    fn next(&self) -> Result<(Option<FileMark>, Option<OwnedFd>), FileLost> {
        let socket = self.socket.ours().ok_or(FileLost::Closed)?;
        let mut bytes = [0; FileMark::LEN];
        // Room for all that may come: what has none is closed by the kernel, in this thread.
        let mut space =
            [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FILES_OF_MESSAGE_MAX))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC.union(RecvFlags::DONTWAIT);
        let received = rustix::io::retry_on_intr(|| {
            let mut parts = [IoSliceMut::new(&mut bytes)];
            rustix::net::recvmsg(socket, &mut parts, &mut control, flags)
        });
        let received = match received {
            Ok(received) => received,
            Err(Errno::BADF | Errno::NOTSOCK) => return Err(FileLost::Closed),
            Err(_) => return Err(FileLost::Missing),
        };
        let files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let mut files = files.flatten();
        let file = files.next();
        files.for_each(self.close);
        if received.bytes == 0 {
            if let Some(file) = file {
                (self.close)(file);
            }
            return Err(FileLost::Missing);
        }
        let is_whole = !received.flags.contains(ReturnFlags::TRUNC);
        let mark = bytes.get(..received.bytes).filter(|_| is_whole).and_then(FileMark::decode);
        Ok((mark, file))
    }

    fn keep(&mut self, mark: Option<FileMark>, file: OwnedFd, is_live: &impl Fn(u16, u32) -> bool) {
        let Some(mark) = mark.filter(|mark| is_live(mark.slot, mark.generation)) else {
            return (self.close)(file);
        };
        if self.kept.len() >= FILES_KEPT_MAX {
            let (live, gone) = std::mem::take(&mut self.kept)
                .into_iter()
                .partition(|(mark, _)| is_live(mark.slot, mark.generation));
            self.kept = live;
            self.close_all(gone);
        }
        if self.kept.len() >= FILES_KEPT_MAX
            && let Some((_, oldest)) = self.kept.pop_front()
        {
            (self.close)(oldest);
        }
        self.kept.push_back((mark, file));
    }
}

impl FileReceiver {
    fn close_all(&self, files: VecDeque<(FileMark, OwnedFd)>) {
        files.into_iter().for_each(|(_, file)| (self.close)(file));
    }
}

impl Drop for FileReceiver {
    fn drop(&mut self) {
        let kept = std::mem::take(&mut self.kept);
        self.close_all(kept);
    }
}

impl AsFd for FileSender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
