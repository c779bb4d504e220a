//! A file as the body of a response.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use indrik_core::descriptors::Use;
use rustix::fs::OFlags;
use tokio::time::timeout;

use crate::front::body::upload::blocking;
use crate::front::descriptors::{CountedFile, none_left};
use crate::front::exchange::Event;
use crate::front::services::Services;

/// Bytes read from a file at once.
const FILE_CHUNK_BYTES: usize = 128 * 1024;

/// A file that an application has sent, or named.
pub(crate) enum Sent {
    /// `None`: there was no place for it when it came.
    File {
        file: Option<CountedFile>,
        offset: u64,
        len: u64,
    },
    Path(Bytes),
}

impl Sent {
    pub(crate) fn of(event: Event) -> Option<Self> {
        match event {
            Event::File { file, offset, len } => Some(Self::File { file, offset, len }),
            Event::Path { path } => Some(Self::Path(path)),
            _ => None,
        }
    }
}

/// Why a file is not to be had.
pub(crate) enum Unopened {
    /// Clients have all descriptors that they may have, and none was given back in time.
    NoPlace,
    Failed {
        path: Bytes,
        error: io::Error,
    },
}

impl Unopened {
    /// What to say of it.
    pub(crate) fn describe(&self, services: &Services, for_what: &str) -> String {
        match self {
            Self::NoPlace => {
                none_left(services.descriptors.share(), &format!("a file that is {for_what}"))
            }
            Self::Failed { path, error } => {
                let file = String::from_utf8_lossy(path);
                format!("the file {file:?} cannot be sent as {for_what}: {error}")
            }
        }
    }
}

/// A part of a file, read in a thread that may block.
pub(crate) struct FilePart {
    file: Arc<CountedFile>,
    offset: u64,
    pub(super) left: u64,
    reading: Option<Reading>,
}

type Read = io::Result<Bytes>;
type Reading = Pin<Box<dyn Future<Output = Read> + Send>>;

impl FilePart {
    fn new(file: CountedFile, offset: u64, len: u64) -> Self {
        Self { file: Arc::new(file), offset, left: len, reading: None }
    }

    /// Opens it before anything of it is sent. For its place among the descriptors is waited as for a worker.
    pub(crate) async fn open(services: &Services, sent: Sent) -> Result<Self, Unopened> {
        let limit = services.settings().config.queue_timeout;
        match sent {
            Sent::File { file: None, .. } => Err(Unopened::NoPlace),
            Sent::File { file: Some(mut file), offset, len } => {
                in_time(limit, services.settle(file.place())).await?;
                Ok(Self::new(file, offset, len))
            }
            Sent::Path(path) => {
                let place = in_time(limit, services.reserve(Use::File, 1)).await?;
                let opened = path.clone();
                let opened = blocking(move || {
                    let (file, len) = open_regular(&opened)?;
                    Ok((CountedFile::new(file, place), len))
                });
                match opened.await {
                    Ok((file, len)) => Ok(Self::new(file, 0, len)),
                    Err(error) => Err(Unopened::Failed { path, error }),
                }
            }
        }
    }

    /// The next bytes; `None` at the end.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(Ok(None));
        }
        let (offset, left) = (self.offset, self.left);
        let reading = self.reading.get_or_insert_with(|| {
            let file = Arc::clone(&self.file);
            Box::pin(blocking(move || read_chunk(&file, offset, left)))
        });
        let result = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        let bytes = result?;
        if bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.offset += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Poll::Ready(Ok(Some(bytes)))
    }
}

/// Waits as a request waits for a worker.
async fn in_time<T>(limit: Duration, wait: impl Future<Output = T>) -> Result<T, Unopened> {
    if limit.is_zero() {
        return Ok(wait.await);
    }
    timeout(limit, wait).await.map_err(|_| Unopened::NoPlace)
}

/// A file and its length. Without waiting, because opening a pipe would wait for its writer.
fn open_regular(path: &Bytes) -> io::Result<(File, u64)> {
    use std::os::unix::ffi::OsStrExt;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let path = std::ffi::OsStr::from_bytes(path);
    let file = File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    Ok((file, meta.len()))
}

/// Reads once.
fn read_chunk(file: &File, offset: u64, left: u64) -> Read {
    let most = usize::try_from(left).unwrap_or(usize::MAX).min(FILE_CHUNK_BYTES);
    let mut buffer = vec![0; most];
    let read = file.read_at(&mut buffer, offset)?;
    buffer.truncate(read);
    Ok(Bytes::from(buffer))
}
