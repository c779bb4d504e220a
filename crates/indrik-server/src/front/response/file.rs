//! A file as the body of a response.

use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::time::timeout;

use crate::front::body::upload::blocking;
use crate::front::descriptors::{CountedFile, none_left};
use crate::front::services::Services;

/// Bytes read from a file at once.
const FILE_CHUNK_BYTES: usize = 128 * 1024;

/// A file that an application has sent.
pub(crate) struct Sent {
    /// `None`: there was no place for it when it came.
    pub(crate) file: Option<CountedFile>,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Clients have all descriptors that they may have, and none was given back in time.
pub(crate) struct NoPlace;

impl NoPlace {
    /// What to say of it.
    pub(crate) fn describe(&self, services: &Services, for_what: &str) -> String {
        none_left(services.descriptors.share(), &format!("a file that is {for_what}"))
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
    /// Before anything of it is sent. For its place among the descriptors is waited as for a worker.
    pub(crate) async fn open(services: &Services, sent: Sent) -> Result<Self, NoPlace> {
        let limit = services.settings().config.queue_timeout;
        let mut file = sent.file.ok_or(NoPlace)?;
        let settled = services.settle(file.place());
        if limit.is_zero() {
            settled.await;
        } else {
            timeout(limit, settled).await.map_err(|_| NoPlace)?;
        }
        Ok(Self { file: Arc::new(file), offset: sent.offset, left: sent.len, reading: None })
    }

    /// Whether what comes next are bytes that nothing was done for yet.
    pub(super) const fn needs_room(&self) -> bool {
        self.left > 0 && self.reading.is_none()
    }

    /// The next bytes, `most` of them at most; `None` at the end.
    pub(super) fn poll_chunk(
        &mut self,
        most: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<Option<Bytes>>> {
        if self.left == 0 {
            return Poll::Ready(Ok(None));
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(most.min(FILE_CHUNK_BYTES));
        let offset = self.offset;
        let reading = self.reading.get_or_insert_with(|| {
            let file = Arc::clone(&self.file);
            Box::pin(blocking(move || read_chunk(&file, offset, most)))
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

/// Reads once. A worker's word that it is a file is not taken: reading anything else may wait for ever.
fn read_chunk(file: &File, offset: u64, most: usize) -> Read {
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    let mut buffer = vec![0; most];
    let read = file.read_at(&mut buffer, offset)?;
    buffer.truncate(read);
    Ok(Bytes::from(buffer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_wait_for_ever_is_not_read_as_a_file() {
        let counter = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
        let read = read_chunk(&File::from(counter), 0, 8);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_file_is_read_from_where_it_was_told_to_begin() {
        let file =
            File::from(rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        file.write_all_at(b"0123456789", 0).unwrap();
        assert_eq!(read_chunk(&file, 3, 4).unwrap(), "3456");
        assert_eq!(read_chunk(&file, 10, 4).unwrap(), "");
    }
}
