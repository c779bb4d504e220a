//! From a worker's events to what hyper sends.

use std::fmt;
use std::fs::File;
use std::future::Future;
use std::io;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, SERVER};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::ext::ReasonPhrase;
use indrik_ring::{Headers, ResponseHead};
use rustix::fs::OFlags;

use super::access_log::Entry;
use super::exchange::{Event, Exchange};
use super::sweep::Watch;
use super::{Shared, upload};

/// Fields that the front adds to a response: Server, Connection.
const OWN_FIELDS: usize = 2;
/// Bytes read from a file at once.
const FILE_CHUNK_BYTES: usize = 128 * 1024;
const SERVER_NAME: HeaderValue = HeaderValue::from_static("indrik");
/// The `Server` header, if it is not [`SERVER_NAME`]; none inside for no such header.
static SERVER_HEADER: OnceLock<Option<HeaderValue>> = OnceLock::new();

/// Sends another `Server` header, or none when it is empty. Once, before the first response.
pub fn set_server_header(text: Option<&str>) {
    let Some(text) = text else { return };
    let value = HeaderValue::from_str(text).ok().filter(|value| !value.is_empty());
    // Set already by an earlier start in this process, which only tests have.
    let _ = SERVER_HEADER.set(value);
}

/// The body of a response.
pub(super) struct Body {
    kind: BodyKind,
    /// The process that answers; 0: the front does.
    worker_pid: u32,
    /// What happens when it is over; absent for answers that nobody waits behind.
    end: Option<End>,
}

enum BodyKind {
    Full(Option<Bytes>),
    Stream(Box<Stream>),
}

/// What happens when a response is over.
struct End {
    watch: Arc<Watch>,
    log: Option<Box<Entry>>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.watch.end();
        if let Some(log) = self.log.take() {
            log.write();
        }
    }
}

/// Why a body broke off; hyper closes the connection.
#[derive(Debug)]
pub(super) struct BrokenOff(&'static str);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BrokenOff {}

/// A response that is invalid; the reason is for the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid(pub(super) String);

impl Body {
    /// A body that is all there.
    pub(super) const fn full(bytes: Bytes) -> Self {
        Self { kind: BodyKind::Full(Some(bytes)), worker_pid: 0, end: None }
    }

    /// A body whose rest comes as events.
    pub(super) fn stream(stream: Stream) -> Self {
        Self { kind: BodyKind::Stream(Box::new(stream)), worker_pid: 0, end: None }
    }

    /// Notes which process it comes from.
    pub(super) const fn answered_by(mut self, pid: u32) -> Self {
        self.worker_pid = pid;
        self
    }

    /// The process it comes from; 0: the front itself.
    pub(super) const fn worker_pid(&self) -> u32 {
        self.worker_pid
    }

    /// Notes what to do when it is over.
    pub(super) fn ends(&mut self, watch: Arc<Watch>, log: Option<Box<Entry>>) {
        self.end = Some(End { watch, log });
    }
}

/// The head of a response, as the application gave it; `payload` holds it in its first bytes.
/// `map` is an empty one that may be used.
pub(super) fn head(
    payload: &Bytes,
    head_len: usize,
    body: Body,
    closes: bool,
    map: HeaderMap,
) -> Result<Response<Body>, Invalid> {
    let invalid = |what: &str| Invalid(format!("the worker sent a response with {what}"));
    let head = ResponseHead::decode(&payload[..head_len]).map_err(|_| invalid("a broken head"))?;
    let mut response = Response::new(body);
    *response.status_mut() = match StatusCode::from_u16(head.status) {
        Ok(status) if status.as_u16() >= 200 => status,
        Ok(_) | Err(_) => return Err(invalid(&format!("the status {}", head.status))),
    };
    *response.headers_mut() = map;
    copy_headers(payload, head.headers, response.headers_mut())?;
    if !head.reason.is_empty()
        && response.status().canonical_reason().map(str::as_bytes) != Some(head.reason)
    {
        let reason = ReasonPhrase::try_from(head.reason);
        let reason = reason.map_err(|_| invalid("an invalid reason phrase"))?;
        response.extensions_mut().insert(reason);
    }
    let headers = response.headers_mut();
    if !headers.contains_key(SERVER)
        && let Some(name) = SERVER_HEADER.get_or_init(|| Some(SERVER_NAME))
    {
        headers.insert(SERVER, name.clone());
    }
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

/// Makes a file the rest of a response's body, and its length the response's if the application
/// gave none.
pub(super) fn with_file(
    mut response: Response<Body>,
    mut file: FilePart,
) -> Result<Response<Body>, Invalid> {
    let len = file.left;
    match response.headers().get(CONTENT_LENGTH).map(|given| given.to_str().unwrap_or("").parse()) {
        None => {
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(len));
        }
        Some(Ok(given)) if given <= len => file.left = given,
        Some(_) => {
            let text = format!("the response's Content-Length is more than its file's {len} bytes");
            return Err(Invalid(text));
        }
    }
    if let BodyKind::Stream(stream) = &mut response.body_mut().kind {
        stream.file = Some(file);
    }
    Ok(response)
}

/// Copies fields; their values stay in `payload`.
pub(super) fn copy_headers(
    payload: &Bytes,
    fields: Headers<'_>,
    into: &mut HeaderMap,
) -> Result<(), Invalid> {
    into.reserve(fields.count() + OWN_FIELDS);
    for (name, value) in fields {
        let shown = String::from_utf8_lossy(name);
        let Ok(field) = HeaderName::from_bytes(name) else {
            return Err(Invalid(format!("the response has an invalid header name {shown:?}")));
        };
        let Ok(value) = HeaderValue::from_maybe_shared(payload.slice_ref(value)) else {
            let text = format!("the response's header {shown:?} has a control character");
            return Err(Invalid(text));
        };
        if field == CONTENT_LENGTH {
            check_length(&value, into)?;
        }
        into.append(field, value);
    }
    Ok(())
}

fn check_length(value: &HeaderValue, before: &HeaderMap) -> Result<(), Invalid> {
    let plain = !value.is_empty() && value.as_bytes().iter().all(u8::is_ascii_digit);
    if plain && !before.contains_key(CONTENT_LENGTH) {
        return Ok(());
    }
    Err(Invalid(format!("the response's Content-Length {value:?} is invalid or not the only one")))
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let this = &mut *self;
        let frame = match &mut this.kind {
            BodyKind::Full(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            BodyKind::Stream(stream) => ready!(stream.poll_frame(cx)),
        };
        if let (Some(End { log: Some(log), .. }), Some(Ok(frame))) = (&mut this.end, &frame)
            && let Some(data) = frame.data_ref()
        {
            log.sent(data.len());
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Full(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
            BodyKind::Stream(stream) => stream.is_over,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            BodyKind::Stream(stream) => stream.len.map_or_else(SizeHint::new, SizeHint::with_exact),
        }
    }
}

/// A body that the worker sends piece by piece.
pub(super) struct Stream {
    shared: Arc<Shared>,
    exchange: Arc<Exchange>,
    /// What came with the head.
    first: Bytes,
    file: Option<FilePart>,
    /// Its length, where it is known before the head is sent.
    len: Option<u64>,
    is_over: bool,
    /// Closes the rest of an upload when the response is over.
    _upload: Option<upload::Pump>,
}

impl Stream {
    pub(super) fn new(
        shared: &Arc<Shared>,
        exchange: &Arc<Exchange>,
        first: Bytes,
        upload: Option<upload::Pump>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            exchange: Arc::clone(exchange),
            first,
            file: None,
            len: None,
            is_over: false,
            _upload: upload,
        }
    }

    fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if !self.first.is_empty() {
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(Some(Ok(self.took(first))));
        }
        loop {
            if let Some(file) = &mut self.file {
                let chunk = ready!(file.poll_chunk(cx));
                return Poll::Ready(self.file_chunk(chunk));
            }
            match ready!(self.exchange.poll_next(cx)) {
                Event::Body { bytes, end } => {
                    if end {
                        self.over();
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(Some(Ok(self.took(bytes))));
                    }
                    if end {
                        return Poll::Ready(None);
                    }
                }
                Event::Trailers { payload } => return Poll::Ready(Some(self.trailers(&payload))),
                Event::File { fd, offset, len } => {
                    self.file = Some(FilePart::new(File::from(fd), offset, len));
                }
                Event::Path { path } => self.file = Some(FilePart::open(&path)),
                Event::Failed { message, .. } => {
                    if !message.is_empty() {
                        self.shared.log.error(&String::from_utf8_lossy(&message));
                    }
                    return Poll::Ready(Some(Err(self.broken("the application failed"))));
                }
                Event::Done => {
                    return Poll::Ready(Some(Err(self.broken("the response was not finished"))));
                }
                Event::WorkerLost { .. } => {
                    return Poll::Ready(Some(Err(self.broken("the worker is gone"))));
                }
                Event::UploadBroken(_) => {
                    return Poll::Ready(Some(Err(self.broken("the request's body broke off"))));
                }
                Event::TimedOut { .. } => {
                    return Poll::Ready(Some(Err(self.broken("the request ran too long"))));
                }
                // A second head and the like: the worker's library does not send it.
                Event::Response { .. }
                | Event::Informational { .. }
                | Event::WebSocketAccept { .. }
                | Event::WebSocketSend { .. }
                | Event::WebSocketClose { .. }
                | Event::BodyWanted
                | Event::Leaving
                | Event::QueueTimeout => {}
            }
        }
    }

    /// Bytes go to the client: the worker gets credit for as many.
    fn took(&self, bytes: Bytes) -> Frame<Bytes> {
        self.shared.pool.took(&self.exchange, bytes.len());
        Frame::data(bytes)
    }

    fn over(&mut self) {
        self.is_over = true;
    }

    fn broken(&mut self, why: &'static str) -> BrokenOff {
        self.is_over = true;
        BrokenOff(why)
    }

    fn trailers(&mut self, payload: &Bytes) -> Result<Frame<Bytes>, BrokenOff> {
        self.over();
        let mut trailers = HeaderMap::new();
        let fields = Headers::decode(payload).map_err(|_| BrokenOff("broken trailers"))?;
        copy_headers(payload, fields, &mut trailers).map_err(|_| BrokenOff("invalid trailers"))?;
        Ok(Frame::trailers(trailers))
    }

    fn file_chunk(
        &mut self,
        chunk: io::Result<Option<Bytes>>,
    ) -> Option<Result<Frame<Bytes>, BrokenOff>> {
        match chunk {
            Ok(Some(bytes)) => Some(Ok(Frame::data(bytes))),
            Ok(None) => {
                self.file = None;
                self.over();
                None
            }
            Err(error) => {
                self.file = None;
                self.shared.log.error(&format!("a file could not be sent: {error}"));
                Some(Err(self.broken("a file could not be read")))
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.is_over {
            self.exchange.leave();
        } else {
            self.shared.pool.abandon(&self.exchange);
        }
    }
}

/// A part of a file, read in a thread that may block.
pub(super) struct FilePart {
    file: Option<Arc<File>>,
    path: Option<Bytes>,
    offset: u64,
    left: u64,
    reading: Option<Reading>,
}

type Read = io::Result<(Arc<File>, Bytes, Option<u64>)>;
type Reading = Pin<Box<dyn Future<Output = Read> + Send>>;

impl FilePart {
    pub(super) fn new(file: File, offset: u64, len: u64) -> Self {
        Self { file: Some(Arc::new(file)), path: None, offset, left: len, reading: None }
    }

    /// A whole file, opened before anything is sent.
    pub(super) async fn open_now(path: &Bytes) -> io::Result<Self> {
        let path = path.clone();
        let task = tokio::task::spawn_blocking(move || open_regular(&path));
        let (file, len) = task.await.unwrap_or_else(|error| Err(io::Error::other(error)))?;
        Ok(Self::new(file, 0, len))
    }

    /// A whole file; its length is known when it is open.
    fn open(path: &Bytes) -> Self {
        Self { file: None, path: Some(path.clone()), offset: 0, left: u64::MAX, reading: None }
    }

    /// The next bytes; `None` at the end.
    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
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
