//! The request's body on its way to the application.
//!
//! For WSGI the front takes the whole body first, so that a slow upload never holds a worker: small
//! ones travel in the channel, larger ones in memory (a memfd) up to `body_buffer_max`, then in an
//! unlinked spool file. For ASGI a larger body streams through the request window once the
//! application asks for it.

use std::fs::File;
use std::future::poll_fn;
use std::io::{self, Seek, Write};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body::Body as _;
use indrik_core::memory::account::Measure;
use indrik_core::settings::Config;
use tokio::time::timeout;

use super::RequestBody;
use crate::front::account::Charge;
use crate::front::context::RequestContext;
use crate::front::events::Interface;
use crate::front::refusal::Refusal;

/// A body up to this size travels beside the head.
pub(in crate::front) const INLINE_BYTES_MAX: usize = 64 * 1024;

/// A request's body, as far as the front has it.
pub(in crate::front) enum Upload {
    /// All of it.
    Inline(Bytes),
    /// All of it, in a file whose position is at the start, and how much of that lies in memory.
    File(OwnedFd, usize),
    /// To be sent when the application asks for it.
    Stream(Box<RequestBody>),
}

/// Takes the body, or leaves it to be streamed. Reading is what sends the `100 Continue` that a
/// client `expects`, so for ASGI that body is left until the application asks for it.
pub(in crate::front) async fn receive(
    context: &RequestContext,
    interface: Interface,
    expects: bool,
    body: RequestBody,
) -> Result<Upload, Refusal> {
    let known = body.size_hint().exact();
    let fits = known.is_some_and(|len| len <= INLINE_BYTES_MAX as u64);
    if interface == Interface::Asgi && (expects || !fits) {
        return Ok(Upload::Stream(Box::new(body)));
    }
    if !fits {
        wait_for_room(context).await?;
    }
    let mut store = Store::Memory(BytesMut::new());
    let mut charge = Charge::of(context.connection.watch.holder());
    let log = &context.services().log;
    let mut reader = Reader::new(context, body);
    while let Some(bytes) = reader.next().await? {
        store = store.add(bytes, &context.settings.config).await.map_err(|error| {
            log.error(&format!("a request body could not be stored: {error}"));
            Refusal::bad(StatusCode::INTERNAL_SERVER_ERROR, "the body could not be stored")
        })?;
        charge.set(store.memory());
    }
    store.finish().map_err(|error| {
        log.error(&format!("a request body could not be stored: {error}"));
        Refusal::bad(StatusCode::INTERNAL_SERVER_ERROR, "the body could not be stored")
    })
}

/// While the front's memory is short, a body stays with its client: the client waits as one for whom
/// no worker is free.
async fn wait_for_room(context: &RequestContext) -> Result<(), Refusal> {
    let account = &context.services().account;
    if account.measure() < Measure::Hold {
        return Ok(());
    }
    let limit = context.settings.config.queue_timeout;
    let has_room = account.has_room();
    if limit.is_zero() {
        has_room.await;
        return Ok(());
    }
    let message = "the server's memory is used up by others";
    let refusal = Refusal::failed(StatusCode::SERVICE_UNAVAILABLE, message);
    timeout(limit, has_room).await.map_err(|_| refusal)
}

/// Reads a body within its limits.
pub(super) struct Reader {
    body: RequestBody,
    pause_max: Duration,
    bytes_max: u64,
    bytes: u64,
}

impl Reader {
    pub(super) fn new(context: &RequestContext, body: RequestBody) -> Self {
        let config = &context.settings.config;
        let bytes_max = if config.body_size_max == 0 { u64::MAX } else { config.body_size_max };
        Self { body, pause_max: config.body_read_timeout, bytes_max, bytes: 0 }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let next = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx));
            let next = if self.pause_max.is_zero() {
                next.await
            } else {
                timeout(self.pause_max, next).await.map_err(|_| {
                    Refusal::bad(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time")
                })?
            };
            let Some(frame) = next else { return Ok(None) };
            let frame = frame
                .map_err(|_| Refusal::bad(StatusCode::BAD_REQUEST, "the body is cut or broken"))?;
            // Trailers are checked by the screen and, as in Gunicorn, not shown to the application.
            let Ok(bytes) = frame.into_data() else { continue };
            self.bytes += bytes.len() as u64;
            if self.bytes > self.bytes_max {
                return Err(Refusal::bad(StatusCode::PAYLOAD_TOO_LARGE, "the body is too large"));
            }
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }
}

/// Where a buffered body lies.
enum Store {
    Memory(BytesMut),
    /// A memfd and its length.
    Shared(File, usize),
    Disk(File),
}

impl Store {
    async fn add(self, bytes: Bytes, config: &Config) -> io::Result<Self> {
        match self {
            Self::Memory(mut memory) if memory.len() + bytes.len() <= INLINE_BYTES_MAX => {
                memory.extend_from_slice(&bytes);
                Ok(Self::Memory(memory))
            }
            Self::Memory(memory) => {
                let mut file = memfd()?;
                file.write_all(&memory)?;
                file.write_all(&bytes)?;
                Ok(Self::Shared(file, memory.len() + bytes.len()))
            }
            Self::Shared(mut file, len) if len + bytes.len() <= config.body_buffer_max => {
                file.write_all(&bytes)?;
                Ok(Self::Shared(file, len + bytes.len()))
            }
            Self::Shared(mut file, _) => {
                let directory = config.tmp_upload_dir.clone();
                blocking(move || {
                    file.rewind()?;
                    let mut disk = match directory {
                        Some(directory) => tempfile::tempfile_in(directory)?,
                        None => tempfile::tempfile()?,
                    };
                    io::copy(&mut file, &mut disk)?;
                    disk.write_all(&bytes)?;
                    Ok(Self::Disk(disk))
                })
                .await
            }
            Self::Disk(mut disk) => {
                blocking(move || {
                    disk.write_all(&bytes)?;
                    Ok(Self::Disk(disk))
                })
                .await
            }
        }
    }

    /// What it takes of memory, bytes.
    fn memory(&self) -> usize {
        match self {
            Self::Memory(memory) => memory.capacity(),
            Self::Shared(_, len) => *len,
            Self::Disk(_) => 0,
        }
    }

    fn finish(self) -> io::Result<Upload> {
        let bytes = self.memory();
        Ok(match self {
            Self::Memory(memory) => Upload::Inline(memory.freeze()),
            Self::Shared(mut file, _) | Self::Disk(mut file) => {
                file.rewind()?;
                Upload::File(file.into(), bytes)
            }
        })
    }
}

fn memfd() -> io::Result<File> {
    let fd = rustix::fs::memfd_create("indrik-body", rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(File::from(fd))
}

/// Runs what may wait for a disk elsewhere.
async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(act).await.map_err(io::Error::other)?
}
