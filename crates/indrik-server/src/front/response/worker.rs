//! A body that a worker sends, as events of its exchange.

use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use indrik_ring::Headers;

use super::file::FilePart;
use super::head::copy_headers;
use crate::front::body::upload;
use crate::front::exchange::{Event, Exchange};
use crate::front::services::Services;

/// Why a body broke off; hyper closes the connection.
#[derive(Debug)]
pub(in crate::front) struct BrokenOff(&'static str);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BrokenOff {}

/// A body that the worker sends piece by piece.
pub(in crate::front) struct Stream {
    services: Arc<Services>,
    exchange: Arc<Exchange>,
    /// What came with the head.
    first: Bytes,
    pub(super) file: Option<FilePart>,
    /// Its length, where it is known before the head is sent.
    pub(super) len: Option<u64>,
    pub(super) is_over: bool,
    /// Closes the rest of an upload when the response is over.
    _upload: Option<upload::Pump>,
}

impl Stream {
    pub(in crate::front) fn new(
        services: &Arc<Services>,
        exchange: &Arc<Exchange>,
        first: Bytes,
        upload: Option<upload::Pump>,
    ) -> Self {
        Self {
            services: Arc::clone(services),
            exchange: Arc::clone(exchange),
            first,
            file: None,
            len: None,
            is_over: false,
            _upload: upload,
        }
    }

    pub(super) fn poll_frame(
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
                        self.services.log.error(&String::from_utf8_lossy(&message));
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
                | Event::QueueTimeout
                | Event::TooLarge => {}
            }
        }
    }

    /// Bytes go to the client: the worker gets credit for as many.
    fn took(&self, bytes: Bytes) -> Frame<Bytes> {
        self.services.pool.took(&self.exchange, bytes.len());
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
                self.services.log.error(&format!("a file could not be sent: {error}"));
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
            self.services.pool.abandon(&self.exchange);
        }
    }
}
