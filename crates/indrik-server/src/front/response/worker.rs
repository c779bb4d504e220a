//! A body that a worker sends, as events of its exchange.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use indrik_core::upload::{Step, Upload};
use indrik_ring::Headers;
use tokio::time::{Sleep, sleep};

use super::file::{FilePart, NoPlace, Sent};
use super::head::copy_headers;
use crate::front::body::pump::Pump;
use crate::front::body::upload::Reader;
use crate::front::context::{ConnectionContext, RequestContext};
use crate::front::exchange::{Event, Exchange, Next, SpoolReader};
use crate::front::served::Served;
use crate::front::services::Services;

/// Where nothing may be granted ahead, so much of a response is on its way to the socket.
pub(super) const TIGHT_BYTES: usize = 64 * 1024;

/// Why a body broke off; hyper closes the connection.
#[derive(Debug)]
pub(crate) struct BrokenOff(&'static str);

impl fmt::Display for BrokenOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for BrokenOff {}

type Opening = Pin<Box<dyn Future<Output = Result<FilePart, NoPlace>> + Send>>;
type Polled = Poll<Upcoming>;

/// What a body has next.
pub(crate) enum Upcoming {
    Frame(Result<Frame<Bytes>, BrokenOff>),
    /// Bytes, which are not taken while there is no room for them.
    NeedsRoom,
    End,
}

/// A body that the worker sends piece by piece.
pub(crate) struct Stream {
    services: Arc<Services>,
    exchange: Arc<Exchange>,
    /// Bytes that were given out and for which the worker has no credit.
    owed: usize,
    /// What came with the head.
    first: Bytes,
    pub(super) file: Option<FilePart>,
    /// The file is on its way.
    opening: Option<Opening>,
    /// What it runs ahead of its client.
    spool: Option<Box<dyn SpoolReader>>,
    /// Its length, where it is known before the head is sent.
    pub(super) len: Option<u64>,
    pub(super) is_over: bool,
    upload: Option<RestOfUpload>,
    connection: Arc<ConnectionContext>,
    /// It has a stream, which is reset by who writes it, behind what was given of the answer.
    is_on_stream: bool,
    cut: Option<Cut>,
}

/// The rest of the request's body while the application answers.
pub(crate) enum RestOfUpload {
    /// It goes to the application as that takes it.
    UnderWay { pump: Pump, upload: Upload },
    /// The client waits to be asked for it, which the application may still do.
    Unasked(Box<(RequestContext, Reader)>, Upload),
}

/// The answer breaks off as soon as what was given of it is written.
struct Cut {
    why: &'static str,
    /// How often the connection had written everything when that was known.
    flushes: u64,
    /// Of a client that takes nothing, the rest is not waited for.
    limit: Option<Pin<Box<Sleep>>>,
}

impl Stream {
    pub(crate) fn new(
        context: &RequestContext,
        exchange: &Arc<Exchange>,
        first: Bytes,
        upload: Option<RestOfUpload>,
    ) -> Self {
        Self {
            services: Arc::clone(context.services()),
            exchange: Arc::clone(exchange),
            owed: 0,
            first,
            file: None,
            opening: None,
            spool: None,
            len: None,
            is_over: false,
            upload,
            connection: Arc::clone(&context.connection),
            is_on_stream: context.stream.is_some(),
            cut: None,
        }
    }

    /// Bytes that it has itself, and are charged to nobody.
    pub(super) const fn at_hand(&self) -> usize {
        self.first.len()
    }

    /// What comes next: bytes only if there is room for some. Of a file, no more than `room` are taken at once.
    pub(super) fn poll_next(&mut self, room: usize, cx: &mut Context<'_>) -> Polled {
        if self.is_over {
            return Poll::Ready(Upcoming::End);
        }
        if self.cut.is_some() {
            return self.poll_cut(cx);
        }
        self.give_credit();
        if self.waits_for_writing(cx) {
            return Poll::Pending;
        }
        if !self.first.is_empty() {
            if room == 0 {
                return Poll::Ready(Upcoming::NeedsRoom);
            }
            let first = std::mem::take(&mut self.first);
            return Poll::Ready(self.took(first));
        }
        self.poll_source(room, cx)
    }

    /// The same of what comes behind the head: from the worker, or out of a file.
    fn poll_source(&mut self, room: usize, cx: &mut Context<'_>) -> Polled {
        loop {
            if let Err(why) = ready!(self.poll_opening(cx)) {
                return self.cut(why, cx);
            }
            if let Some(file) = &mut self.file {
                if room == 0 && file.needs_room() {
                    return Poll::Ready(Upcoming::NeedsRoom);
                }
                let chunk = ready!(file.poll_chunk(room, cx));
                return self.file_chunk(chunk, cx);
            }
            let event = match ready!(self.poll_event(room, cx)) {
                Ok(Next::Event(event)) => event,
                // The worker has had its credit when they were written.
                Ok(Next::Bytes(bytes)) => return Poll::Ready(data(bytes)),
                Ok(Next::NeedsRoom) => return Poll::Ready(Upcoming::NeedsRoom),
                Err(error) => {
                    let text = format!("a response could not be read from its file: {error}");
                    self.services.log.error(&text);
                    return self.cut("the response was lost", cx);
                }
            };
            match event {
                Event::Spooled(spool) => self.spool = Some(spool.reader()),
                Event::Body { part, end } => {
                    let bytes = self.connection.io.lending().on_its_way(part);
                    if end {
                        self.over();
                    }
                    if !bytes.is_empty() {
                        return Poll::Ready(self.took(bytes));
                    }
                    if end {
                        return Poll::Ready(Upcoming::End);
                    }
                }
                Event::Trailers { payload } => {
                    return Poll::Ready(Upcoming::Frame(self.trailers(&payload)));
                }
                Event::File { file, offset, len } => self.open(Sent { file, offset, len }),
                Event::Failed { message, .. } => {
                    if !message.is_empty() {
                        self.services.log.error(&String::from_utf8_lossy(&message));
                    }
                    return self.cut("the application failed", cx);
                }
                Event::Done => return self.cut("the response was not finished", cx),
                Event::WorkerLost { .. } => return self.cut("the worker is gone", cx),
                Event::UploadBroken(_) => return self.cut("the request's body broke off", cx),
                Event::TimedOut { .. } => return self.cut("the request ran too long", cx),
                Event::BodyWanted => self.ask_for_the_rest(),
                // A second head and the like: the worker's library does not send it.
                Event::Response { .. }
                | Event::Informational { .. }
                | Event::WebSocketAccept { .. }
                | Event::WebSocketSend { .. }
                | Event::WebSocketClose { .. }
                | Event::Leaving
                | Event::QueueTimeout { .. }
                | Event::InterfaceChanged
                | Event::TooLarge => {}
            }
        }
    }

    fn open(&mut self, sent: Sent) {
        let services = Arc::clone(&self.services);
        self.opening = Some(Box::pin(async move { FilePart::open(&services, sent).await }));
    }

    /// Waits for the file, if one is on its way.
    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        let Some(opening) = &mut self.opening else { return Poll::Ready(Ok(())) };
        let opened = ready!(opening.as_mut().poll(cx));
        self.opening = None;
        Poll::Ready(match opened {
            Ok(file) => {
                self.file = Some(file);
                Ok(())
            }
            Err(no_place) => {
                self.services.log.error(&no_place.describe(&self.services, "part of an answer"));
                Err("there was no place for a file")
            }
        })
    }

    fn ask_for_the_rest(&mut self) {
        if let Some(RestOfUpload::Unasked(_, upload)) = &mut self.upload
            && upload.wanted() == Step::SendOnce
            && let Some(RestOfUpload::Unasked(rest, upload)) = self.upload.take()
        {
            let (context, body) = *rest;
            let pump = Pump::start(&context, &self.exchange, body);
            pump.forget();
            self.upload = Some(RestOfUpload::UnderWay { pump, upload });
        }
    }

    /// What comes next, from the worker or from the file that holds what came before.
    fn poll_event(&mut self, room: usize, cx: &mut Context<'_>) -> Poll<io::Result<Next>> {
        match &mut self.spool {
            None => self
                .exchange
                .poll_next_for(room > 0, cx)
                .map(|event| Ok(event.map_or(Next::NeedsRoom, Next::Event))),
            Some(spool) => spool.poll_next(room, cx),
        }
    }

    /// Who answers, and for how long so far.
    pub(super) fn served(&self) -> Served {
        self.exchange.served()
    }

    /// Bytes go to the client: the worker gets credit for as many when they are written, so that what
    /// lies anywhere in the front is within the window.
    fn took(&mut self, bytes: Bytes) -> Upcoming {
        // In HTTP/2 nobody looks here when bytes have been written; and a response that runs ahead of its
        // client is not limited by the window.
        if self.connection.is_http2 || self.exchange.runs_ahead() {
            self.services.pool.took(&self.exchange, bytes.len());
        } else {
            self.owed += bytes.len();
        }
        data(bytes)
    }

    /// Where nothing may be granted ahead, little lies between here and the socket.
    fn waits_for_writing(&self, cx: &mut Context<'_>) -> bool {
        let (watch, io) = (&self.connection.watch, &self.connection.io);
        !self.is_on_stream
            && watch.unwritten() >= TIGHT_BYTES
            && !self.services.pool.room(watch.holder()).has(0)
            && io.poll_flushed(io.flushes(), cx).is_pending()
    }

    fn give_credit(&mut self) {
        let written = self.owed.saturating_sub(self.connection.watch.unwritten());
        if written != 0 {
            self.owed -= written;
            self.services.pool.took(&self.exchange, written);
        }
    }

    fn over(&mut self) {
        self.is_over = true;
    }

    /// Breaks the answer off, behind what was given of it: whoever writes the connection throws away
    /// what it holds when a body fails.
    fn cut(&mut self, why: &'static str, cx: &mut Context<'_>) -> Polled {
        if self.is_on_stream {
            self.over();
            return Poll::Ready(Upcoming::Frame(Err(BrokenOff(why))));
        }
        let limit = self.services.settings().config.write_timeout;
        let limit = (!limit.is_zero()).then(|| Box::pin(sleep(limit)));
        self.cut = Some(Cut { why, flushes: self.connection.io.flushes(), limit });
        // Also if it has nothing to write: then it says so.
        self.connection.watch.wake();
        self.poll_cut(cx)
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Polled {
        let Some(cut) = &mut self.cut else { return Poll::Ready(Upcoming::End) };
        let is_late = |limit: &mut Pin<Box<Sleep>>| limit.as_mut().poll(cx).is_ready();
        if !cut.limit.as_mut().is_some_and(is_late) {
            ready!(self.connection.io.poll_flushed(cut.flushes, cx));
        }
        let why = cut.why;
        self.is_over = true;
        Poll::Ready(Upcoming::Frame(Err(BrokenOff(why))))
    }

    fn trailers(&mut self, payload: &Bytes) -> Result<Frame<Bytes>, BrokenOff> {
        self.over();
        let mut trailers = HeaderMap::new();
        let fields = Headers::decode(payload).map_err(|_| BrokenOff("broken trailers"))?;
        copy_headers(payload, fields, &mut trailers).map_err(|_| BrokenOff("invalid trailers"))?;
        Ok(Frame::trailers(trailers))
    }

    fn file_chunk(&mut self, chunk: io::Result<Option<Bytes>>, cx: &mut Context<'_>) -> Polled {
        match chunk {
            Ok(Some(bytes)) => Poll::Ready(data(bytes)),
            Ok(None) => {
                self.file = None;
                self.over();
                Poll::Ready(Upcoming::End)
            }
            Err(error) => {
                self.file = None;
                self.services.log.error(&format!("a file could not be sent: {error}"));
                self.cut("a file could not be read", cx)
            }
        }
    }
}

fn data(bytes: Bytes) -> Upcoming {
    Upcoming::Frame(Ok(Frame::data(bytes)))
}

impl Drop for Stream {
    fn drop(&mut self) {
        if self.is_over {
            self.exchange.leave();
            let upload = self.upload.take();
            if let Some(RestOfUpload::UnderWay { pump, mut upload }) =
                upload.filter(|_| self.cut.is_none())
                && upload.answer_ends(true) == Step::Discard
            {
                pump.discard_rest();
            }
        } else {
            self.services.pool.abandon(&self.exchange);
        }
    }
}
