//! A file as the body of a response.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustix::fs::OFlags;

use crate::front::descriptors::FilePlace;

/// Bytes read from a file at once.
const FILE_CHUNK_BYTES: usize = 128 * 1024;

/// A part of a file, read in a thread that may block.
pub(in crate::front) struct FilePart {
    file: Option<Arc<File>>,
    path: Option<Bytes>,
    offset: u64,
    pub(super) left: u64,
    reading: Option<Reading>,
    /// Its place among the descriptors, if it is open.
    place: Option<FilePlace>,
}

type Read = io::Result<(Arc<File>, Bytes, Option<u64>)>;
type Reading = Pin<Box<dyn Future<Output = Read> + Send>>;

impl FilePart {
    pub(in crate::front) fn new(file: File, offset: u64, len: u64) -> Self {
        Self {
            file: Some(Arc::new(file)),
            path: None,
            offset,
            left: len,
            reading: None,
            place: None,
        }
    }

    /// The same, counted as long as it is open.
    pub(in crate::front) fn counted(mut self, place: FilePlace) -> Self {
        self.place = Some(place);
        self
    }

    /// A whole file, opened before anything is sent.
    pub(in crate::front) async fn open_now(path: &Bytes) -> io::Result<Self> {
        let path = path.clone();
        let task = tokio::task::spawn_blocking(move || open_regular(&path));
        let (file, len) = task.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        Ok(Self::new(file, 0, len))
    }

    /// A whole file; its length is known when it is open.
    pub(super) fn open(path: &Bytes) -> Self {
        Self {
            file: None,
            path: Some(path.clone()),
            offset: 0,
            left: u64::MAX,
            reading: None,
            place: None,
        }
    }

    /// The next bytes; `None` at the end.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(Ok(None));
        }
        let (file, path, offset, left) = (&self.file, &self.path, self.offset, self.left);
        let reading = self.reading.get_or_insert_with(|| {
            let (file, path) = (file.clone(), path.clone());
            let task = tokio::task::spawn_blocking(move || read_chunk(file, path, offset, left));
            Box::pin(async move { task.await.unwrap_or_else(|error| Err(io::Error::other(error))) })
        });
        let result = ready!(reading.as_mut().poll(cx));
        self.reading = None;
        let (file, bytes, len) = result?;
        self.file = Some(file);
        if let Some(len) = len {
            self.left = len;
        }
        if bytes.is_empty() {
            if self.left != 0 && len.is_none() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            return Poll::Ready(Ok(None));
        }
        self.offset += bytes.len() as u64;
        self.left -= bytes.len() as u64;
        Poll::Ready(Ok(Some(bytes)))
    }
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

/// Reads once; opens the file first if need be and then says how long it is.
fn read_chunk(file: Option<Arc<File>>, path: Option<Bytes>, offset: u64, left: u64) -> Read {
    let (file, len) = match (file, path) {
        (Some(file), _) => (file, None),
        (None, Some(path)) => {
            let (file, len) = open_regular(&path)?;
            (Arc::new(file), Some(len))
        }
        (None, None) => return Err(io::ErrorKind::NotFound.into()),
    };
    let most = usize::try_from(len.unwrap_or(left)).unwrap_or(usize::MAX).min(FILE_CHUNK_BYTES);
    let mut buffer = vec![0; most];
    let read = file.read_at(&mut buffer, offset)?;
    buffer.truncate(read);
    Ok((file, Bytes::from(buffer), len))
}
