//! The body of a request as it comes from the client, whatever version of HTTP carries it.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::sleep;

use crate::front::conn::h2::receiver::Receiver;
use crate::front::conn::h2::streams::StreamContext;
use crate::front::tap::Tap;

/// How long the rest of a body is read behind an answer that came before its end.
const LINGER_MAX: Duration = Duration::from_secs(10);
/// The same once the server ends.
const LINGER_LEAVING_MAX: Duration = Duration::from_secs(1);
/// How many bytes of it are read.
const LINGER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The body of a request.
pub(crate) enum RequestBody {
    /// None at all.
    Empty,
    /// As hyper reads it.
    Hyper(Incoming),
    /// As a stream of HTTP/2 brings it.
    Http2(Box<Http2Body>),
    /// One that is recorded.
    Tapped(Box<(Self, Arc<Tap>)>),
}

/// What a stream brings. Its window is given back with the bytes, so that a client is as fast as whoever takes them.
pub(crate) struct Http2Body {
    /// Gone with the body's own end.
    receive: Option<Receiver>,
    /// Its length, where the head says so.
    len: Option<u64>,
    /// Bytes that were taken out last; who asks for more is done with them.
    taken: usize,
    /// The client waits to be told to go on.
    waits: bool,
    stream: Arc<StreamContext>,
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        Self::Hyper(body)
    }
}

impl RequestBody {
    /// The body of a stream, to whose request these fields belong.
    pub(crate) fn http2(
        receive: RecvStream,
        headers: &HeaderMap,
        stream: &Arc<StreamContext>,
    ) -> Self {
        if receive.is_end_stream() {
            return Self::Empty;
        }
        let len = headers.get(CONTENT_LENGTH).map(HeaderValue::to_str);
        let len = len.and_then(|len| len.ok()?.parse().ok());
        let (waits, stream) = (headers.contains_key(EXPECT), Arc::clone(stream));
        let receive = Receiver::new(receive, stream.streams().held());
        Self::Http2(Box::new(Http2Body { receive: Some(receive), len, taken: 0, waits, stream }))
    }
}

impl RequestBody {
    /// The same, which shows what is read of it.
    pub(crate) fn tapped(self, tap: &Arc<Tap>) -> Self {
        Self::Tapped(Box::new((self, Arc::clone(tap))))
    }
}

impl Http2Body {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let taken = std::mem::take(&mut self.taken);
        let Some(receive) = &mut self.receive else { return Poll::Ready(Some(Err(Broken))) };
        if receive.release(taken).is_err() {
            return Poll::Ready(Some(Err(Broken)));
        }
        // Trailers are not shown to the application, so the body ends with its data.
        let data = receive.poll_data(cx);
        if std::mem::take(&mut self.waits) && data.is_pending() {
            self.stream.send_interim(StatusCode::CONTINUE, HeaderMap::new());
        }
        Poll::Ready(match ready!(data) {
            None => None,
            Some(Ok(bytes)) => {
                self.taken = bytes.len();
                receive.took(bytes.len());
                Some(Ok(Frame::data(bytes)))
            }
            Some(Err(_)) => {
                self.receive = None;
                Some(Err(Broken))
            }
        })
    }

    /// Whether all of it has been taken.
    fn is_over(&self) -> bool {
        self.receive.as_ref().is_none_or(Receiver::is_end_stream)
    }
}

/// A body that nobody reads any more is thrown away for a while. To let go of its stream resets it, and many
/// clients then drop the answer that says why (RFC 9113 section 8.1 allows the reset, not the loss).
impl Drop for Http2Body {
    fn drop(&mut self) {
        let runtime = Handle::try_current().ok().filter(|_| !self.is_over());
        if let (Some(runtime), Some(receive)) = (runtime, self.receive.take()) {
            runtime.spawn(linger(receive, self.taken, Arc::clone(&self.stream)));
        }
    }
}

/// Throws the rest of a body away, up to the limits.
async fn linger(mut receive: Receiver, mut taken: usize, stream: Arc<StreamContext>) {
    let rest = async {
        let mut bytes = 0;
        while bytes <= LINGER_BYTES_MAX {
            if receive.release(taken).is_err() {
                return;
            }
            let next = poll_fn(|cx| receive.poll_data(cx)).await;
            let Some(Ok(data)) = next else { return };
            taken = data.len();
            bytes += taken;
            receive.took(taken);
        }
    };
    let leaving = async {
        stream.streams().leaving().await;
        sleep(LINGER_LEAVING_MAX).await;
    };
    tokio::select! {
        () = rest => {}
        () = sleep(LINGER_MAX) => {}
        () = leaving => {}
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    /// Why it broke off is the connection's to say.
    type Error = Broken;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Empty => Poll::Ready(None),
            Self::Hyper(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_| Broken))),
            Self::Http2(body) => body.poll_frame(cx),
            Self::Tapped(tapped) => {
                let (body, tap) = &mut **tapped;
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if let Some(data) = frame.as_ref().and_then(|it| it.as_ref().ok()?.data_ref()) {
                    tap.sees(data);
                }
                Poll::Ready(frame)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Hyper(body) => body.is_end_stream(),
            Self::Http2(body) => body.is_over(),
            Self::Tapped(tapped) => tapped.0.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Hyper(body) => body.size_hint(),
            Self::Http2(body) => body.len.map_or_else(SizeHint::new, SizeHint::with_exact),
            Self::Tapped(tapped) => tapped.0.size_hint(),
        }
    }
}

/// A body that is cut or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;
