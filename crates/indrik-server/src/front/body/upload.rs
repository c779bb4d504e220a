//! The request's body on its way to the application.
//!
//! For WSGI the front takes the whole body first, so that a slow upload never holds a worker: small
//! ones travel in the channel, larger ones in memory (a memfd) up to `body_buffer_max`, then in an
//! unlinked spool file. For ASGI a larger body streams through the request window once the
//! application asks for it.

use std::future::poll_fn;
use std::io::{self, Seek};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::request::Parts;
use http::{StatusCode, Version};
use http_body::Body as _;
use indrik_core::descriptors::Use;
use indrik_core::memory::account::Measure;
use indrik_core::refusal::Reason;
use indrik_core::supervise::Ailment;
use tokio::time::{Sleep, sleep, timeout};

use super::incoming::RequestBody;
use super::pieces::Pieces;
use super::size::{INLINE_BYTES_MAX, PLACED_BYTES_MAX, memfd};
use super::unnamed::{is_in_memory, unnamed_file};
use crate::front::account::Charge;
use crate::front::clock::{self, micros};
use crate::front::context::RequestContext;
use crate::front::descriptors::{CountedFile, Reserved, none_left};
use crate::front::events::Interface;
use crate::front::pipeline::target::target;
use crate::front::refusal::Refusal;
use crate::front::uploads::Stored;

/// Of a body for ASGI, what the front takes at most before the application is called, and what it holds for
/// another try.
pub(super) const HELD_BYTES_MAX: usize = 1024 * 1024;
/// How often it looks in a row for more of a body that it could take whole, letting others run in between. Its parts
/// would each wait for their turn again, behind bodies that come whole; where nobody else runs, no time passes.
const LOOKS_MAX: u32 = 4;
/// Bytes that are gathered for one write to a disk.
const SPOOL_WRITE_BYTES: usize = 1024 * 1024;
/// What a client is told of whom there was no place for.
pub(crate) const NO_DESCRIPTOR: &str = "the server's file descriptors are used up by others";

/// A request's body, as far as the front has it.
pub(crate) enum Upload {
    /// All of it, in memory.
    Memory(Pieces),
    /// All of it, in a file whose position is at the start; how much of that lies in memory.
    File(CountedFile, usize),
    /// The first part of it; the rest is to be sent when the application asks for it.
    Stream(Pieces, Box<Reader>),
}

/// Takes the body, or for ASGI what is here of it. Reading is what sends the `100 Continue` that a
/// client expects, so for ASGI that body is left until the application asks for it.
pub(crate) async fn receive(
    context: &RequestContext,
    interface: Interface,
    parts: &Parts,
    body: RequestBody,
) -> Result<Upload, Refusal> {
    let expects = parts.headers.contains_key(EXPECT) && parts.version >= Version::HTTP_11;
    let known = body.size_hint().exact();
    let fits = known.is_some_and(|len| len <= INLINE_BYTES_MAX as u64);
    let mut reader = Reader::new(context, body);
    if interface == Interface::Asgi {
        let is_short = !fits && context.services().account.measure() >= Measure::Hold;
        if expects || is_short {
            return Ok(Upload::Stream(Pieces::default(), Box::new(reader)));
        }
        let (pieces, is_whole) = reader.take_what_is_here(HELD_BYTES_MAX).await?;
        return Ok(match is_whole {
            true => Upload::Memory(pieces),
            false => {
                // From here on the request is charged for it.
                reader.holds(0);
                Upload::Stream(pieces, Box::new(reader))
            }
        });
    }
    if !fits {
        wait_for_room(context).await?;
    }
    store(&mut reader, context).await.map_err(|error| match error {
        Unstored::Refused(refusal) => refusal,
        Unstored::Failed(error) => {
            tell_unstored(context, &error, parts);
            Refusal::bad(StatusCode::INSUFFICIENT_STORAGE, "the body could not be stored")
        }
    })
}

fn tell_unstored(context: &RequestContext, error: &io::Error, parts: &Parts) {
    let directory = context.settings.config.tmp_upload_dir.clone();
    let directory = directory.unwrap_or_else(std::env::temp_dir);
    let (method, address) = (&parts.method, &context.peer().address);
    let shown = format!("{method} {} (client {address})", target(parts));
    let services = context.services();
    services.log.ails(Ailment::BodiesUnstored, || {
        let directory = directory.display();
        format!(
            "bodies of requests cannot be written to {directory}, and are answered 507: {error}"
        )
    });
    if let Some(text) = services.uploads.failed(&directory, error, &shown, clock::now()) {
        services.log.error(&text);
    }
}

/// While the front's memory is short, a body stays with its client: the client waits as one for whom
/// no worker is free.
async fn wait_for_room(context: &RequestContext) -> Result<(), Refusal> {
    let account = &context.services().account;
    if account.measure() < Measure::Hold {
        return Ok(());
    }
    let refusal = Refusal::unserved(Reason::NoMemory, "the server's memory is used up by others");
    in_time(context, account.is_below(Measure::Hold), refusal).await
}

/// Takes so many places of files among the descriptors, as soon as there are any.
pub(crate) async fn file_places(
    context: &RequestContext,
    count: u64,
    for_what: &str,
) -> Result<Reserved, Refusal> {
    let services = context.services();
    let refusal = Refusal::unserved(Reason::NoDescriptor, NO_DESCRIPTOR);
    let places = in_time(context, services.reserve(Use::File, count), refusal).await;
    places.inspect_err(|_| {
        let text = none_left(services.descriptors.share(), for_what);
        services.log.error(&format!("{text} (client {})", context.peer().address));
    })
}

async fn file_place(context: &RequestContext) -> Result<Reserved, Unstored> {
    file_places(context, 1, "the body of a request").await.map_err(Unstored::Refused)
}

/// Waits as a request waits for a worker.
async fn in_time<T>(
    context: &RequestContext,
    wait: impl Future<Output = T>,
    refusal: Refusal,
) -> Result<T, Refusal> {
    let limit = context.settings.config.queue_timeout;
    if limit.is_zero() {
        return Ok(wait.await);
    }
    timeout(limit, wait).await.map_err(|_| refusal.after_waiting(micros(limit)))
}

/// Why a body is not here.
enum Unstored {
    Refused(Refusal),
    Failed(io::Error),
}

/// Reads all of a body: into memory as far as it may lie there, else into a file.
async fn store(reader: &mut Reader, context: &RequestContext) -> Result<Upload, Unstored> {
    let config = &context.settings.config;
    let mut pieces = Pieces::default();
    while let Some(bytes) = reader.next().await.map_err(Unstored::Refused)? {
        pieces.push(bytes);
        reader.charge.set(pieces.len());
        if pieces.len() > config.body_buffer_max.max(INLINE_BYTES_MAX) {
            let place = file_place(context).await?;
            return spool(reader, context, pieces, place).await;
        }
    }
    if pieces.len() <= PLACED_BYTES_MAX {
        return Ok(Upload::Memory(pieces));
    }
    let (place, bytes) = (file_place(context).await?, pieces.len());
    // Both are there until the one is written.
    reader.charge.set(2 * bytes);
    let written = blocking(move || Ok(CountedFile::new(memfd(&pieces)?, place))).await;
    written.map(|file| Upload::File(file, bytes)).map_err(Unstored::Failed)
}

/// Reads the rest of a body into a file without a name. Where that lies in memory, all such files may have as much as
/// the front may hold, beside that.
async fn spool(
    reader: &mut Reader,
    context: &RequestContext,
    mut pieces: Pieces,
    place: Reserved,
) -> Result<Upload, Unstored> {
    let services = context.services();
    let mut stored = Stored::begin(&services.uploads);
    let directory = context.settings.config.tmp_upload_dir.clone();
    let opened = blocking(move || {
        let file = unnamed_file(directory)?;
        let in_memory = is_in_memory(&file);
        Ok((CountedFile::new(file, place), in_memory))
    });
    let (mut file, in_memory) = opened.await.map_err(Unstored::Failed)?;
    let all_max = if in_memory { services.account.limits().total } else { u64::MAX };
    let mut at_end = false;
    while !at_end {
        while pieces.len() < SPOOL_WRITE_BYTES && !at_end {
            match reader.next().await.map_err(Unstored::Refused)? {
                Some(bytes) => pieces.push(bytes),
                None => at_end = true,
            }
            reader.charge.set(pieces.len());
        }
        let write = std::mem::take(&mut pieces);
        if !stored.reserve(write.len(), all_max) {
            let text = "it lies in memory, and bodies in files have all that front_memory_max is";
            return Err(Unstored::Failed(io::Error::new(io::ErrorKind::StorageFull, text)));
        }
        let written = blocking(move || {
            write.write_to(&mut &*file)?;
            if at_end {
                (&*file).rewind()?;
            }
            Ok(file)
        });
        file = written.await.map_err(Unstored::Failed)?;
    }
    Ok(Upload::File(file.stored(stored), 0))
}

/// Reads a body within its limits.
pub(crate) struct Reader {
    body: RequestBody,
    pause_max: Duration,
    /// Runs while a byte is waited for.
    pause: Option<Pin<Box<Sleep>>>,
    bytes_max: u64,
    bytes: u64,
    /// For what was read and is not on its way to a worker yet.
    charge: Charge,
}

impl Reader {
    pub(super) fn new(context: &RequestContext, body: RequestBody) -> Self {
        let config = &context.settings.config;
        let bytes_max = if config.body_size_max == 0 { u64::MAX } else { config.body_size_max };
        let charge = Charge::of(context.connection.watch.holder());
        Self { body, pause_max: config.body_read_timeout, pause: None, bytes_max, bytes: 0, charge }
    }

    /// The next bytes; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// What is held of it from now on is so much.
    pub(super) fn holds(&mut self, bytes: usize) {
        self.charge.set(bytes);
    }

    /// What is left of it, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next bytes; `None` at the end.
    pub(super) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Refusal>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
                return self.poll_pause(cx).map(Err);
            };
            self.pause = None;
            let Some(frame) = frame else { return Poll::Ready(Ok(None)) };
            let Ok(frame) = frame else {
                let message = "the body is cut or broken";
                return Poll::Ready(Err(Refusal::bad(StatusCode::BAD_REQUEST, message)));
            };
            // Trailers are checked by the screen and, as in Gunicorn, not shown to the application.
            let Ok(bytes) = frame.into_data() else { continue };
            self.bytes += bytes.len() as u64;
            if self.bytes > self.bytes_max {
                let message = "the body is too large";
                return Poll::Ready(Err(Refusal::bad(StatusCode::PAYLOAD_TOO_LARGE, message)));
            }
            if !bytes.is_empty() {
                return Poll::Ready(Ok(Some(bytes)));
            }
        }
    }

    /// Ready when the client has sent nothing for too long. A timer is set only once it has to be waited for.
    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Refusal> {
        if self.pause_max.is_zero() {
            return Poll::Pending;
        }
        let pause = self.pause.get_or_insert_with(|| Box::pin(sleep(self.pause_max)));
        ready!(pause.as_mut().poll(cx));
        let message = "the body did not arrive in time";
        Poll::Ready(Refusal::bad(StatusCode::REQUEST_TIMEOUT, message))
    }

    /// Takes what the client has sent already, up to about `most` bytes, and says whether it is all.
    async fn take_what_is_here(&mut self, most: usize) -> Result<(Pieces, bool), Refusal> {
        let mut pieces = Pieces::default();
        let could_be_whole = self.left().is_some_and(|left| left <= most as u64);
        let looks_max = if could_be_whole { LOOKS_MAX } else { 1 };
        let mut looks = 0;
        while pieces.len() < most {
            match poll_fn(|cx| Poll::Ready(self.poll_next(cx))).await {
                Poll::Ready(next) => match next? {
                    Some(bytes) => {
                        pieces.push(bytes);
                        self.charge.set(pieces.len());
                    }
                    None => return Ok((pieces, true)),
                },
                // The connection reads what has come before this goes on.
                Poll::Pending if looks < looks_max => {
                    looks += 1;
                    tokio::task::yield_now().await;
                    continue;
                }
                Poll::Pending => break,
            }
            looks = 0;
        }
        let is_whole = self.body.is_end_stream();
        Ok((pieces, is_whole))
    }
}

/// Runs what may wait for a disk elsewhere.
pub(crate) async fn blocking<T: Send + 'static>(
    act: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(act).await.map_err(io::Error::other)?
}
