//! The body of a request as it comes from the client, whatever version of HTTP carries it.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// The body of a request.
#[derive(Debug)]
pub(in crate::front) enum RequestBody {
    /// As hyper reads it.
    Hyper(Incoming),
}

impl From<Incoming> for RequestBody {
    fn from(body: Incoming) -> Self {
        Self::Hyper(body)
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
            Self::Hyper(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|_| Broken))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Hyper(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Hyper(body) => body.size_hint(),
        }
    }
}

/// A body that is cut or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::front) struct Broken;
