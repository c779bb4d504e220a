//! The body of a response, whatever its source: bytes that are all here, or what a worker sends.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderValue;
use http::header::CONTENT_LENGTH;
use http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

use super::file::FilePart;
use super::invalid::Invalid;
use super::worker::{BrokenOff, Stream, Upcoming};
use crate::front::access_log::Entry;
use crate::front::conn::reaper::Watch;
use crate::front::metrics::Begun;
use crate::front::served::Served;

/// The body of a response.
pub(crate) struct Body {
    kind: BodyKind,
    /// Who answers, as far as is known when the head is; for a stream, its exchange knows more at the end.
    served: Served,
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
    /// What it counts as, and its status; a WebSocket counts when it is over.
    counted: Option<(Begun, StatusCode)>,
    /// Somebody has asked for it: the answer to a HEAD may end before.
    is_asked_for: bool,
}

impl Drop for Body {
    fn drop(&mut self) {
        let Some(End { watch, log, counted, is_asked_for }) = self.end.take() else { return };
        watch.end();
        let (served, is_whole) = match &self.kind {
            BodyKind::Full(_) => (self.served, true),
            BodyKind::Stream(stream) => (stream.served(), stream.is_over),
        };
        if let Some((begun, status)) = counted {
            let trace = |status, total| log.as_ref()?.traceable(status, total);
            begun.over(Some(status), &served, is_asked_for && !is_whole, trace);
        }
        if let Some(mut log) = log {
            log.served(served);
            log.write();
        }
    }
}

impl Body {
    /// A body that is all there.
    pub(crate) const fn full(bytes: Bytes) -> Self {
        Self { kind: BodyKind::Full(Some(bytes)), served: Served::NOBODY, end: None }
    }

    /// A body whose rest comes as events.
    pub(crate) fn stream(stream: Stream) -> Self {
        Self { kind: BodyKind::Stream(Box::new(stream)), served: Served::NOBODY, end: None }
    }

    /// Notes who answers.
    pub(crate) const fn answered_by(mut self, served: Served) -> Self {
        self.served = served;
        self
    }

    /// Who answers.
    pub(crate) const fn served(&self) -> Served {
        self.served
    }

    /// Bytes that it has itself, and are charged to nobody.
    pub(crate) fn at_hand(&self) -> usize {
        match &self.kind {
            BodyKind::Full(bytes) => bytes.as_ref().map_or(0, Bytes::len),
            BodyKind::Stream(stream) => stream.at_hand(),
        }
    }

    /// What comes next: bytes only if there is room for some. Of a file, no more than `room` are taken at once; a
    /// worker's piece comes whole.
    pub(crate) fn poll_next(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<Upcoming> {
        if let Some(end) = &mut self.end {
            end.is_asked_for = true;
        }
        let next = match &mut self.kind {
            BodyKind::Full(None) => Upcoming::End,
            BodyKind::Full(Some(_)) if room == 0 => Upcoming::NeedsRoom,
            BodyKind::Full(Some(bytes)) if bytes.len() > room => {
                Upcoming::Frame(Ok(Frame::data(bytes.split_to(room))))
            }
            BodyKind::Full(bytes) => {
                let bytes = bytes.take().unwrap_or_default();
                Upcoming::Frame(Ok(Frame::data(bytes)))
            }
            BodyKind::Stream(stream) => ready!(stream.poll_next(room, cx)),
        };
        if let (Some(End { log: Some(log), .. }), Upcoming::Frame(Ok(frame))) =
            (&mut self.end, &next)
            && let Some(data) = frame.data_ref()
        {
            log.sent(data.len());
        }
        Poll::Ready(next)
    }

    /// Notes what to do when it is over.
    pub(crate) fn ends(
        &mut self,
        watch: Arc<Watch>,
        log: Option<Box<Entry>>,
        counted: Option<(Begun, StatusCode)>,
    ) {
        self.end = Some(End { watch, log, counted, is_asked_for: false });
    }
}

/// Makes a file the rest of a response's body, and its length the response's if the application
/// gave none.
pub(crate) fn with_file(
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

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BrokenOff;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BrokenOff>>> {
        let frame = match ready!(self.poll_next(usize::MAX, cx)) {
            Upcoming::Frame(frame) => frame,
            // There is always room.
            Upcoming::NeedsRoom => return Poll::Pending,
            Upcoming::End => return Poll::Ready(None),
        };
        if let (Some(End { watch, .. }), Ok(frame)) = (&self.end, &frame)
            && let Some(data) = frame.data_ref()
        {
            watch.gives_out(data.len());
        }
        Poll::Ready(Some(frame))
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
