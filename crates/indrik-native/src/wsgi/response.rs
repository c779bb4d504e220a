//! Sending a response through the channel, piece by piece: framing, lengths and credit.

use std::time::{Duration, Instant};

use indrik_ring::{
    CHUNK_MAX, CreditWait, Descriptor, Failure, FilePart, Flags, Kind, RESPONSE_PIECE_MAX,
    RESPONSE_WINDOW, encode_response, headers_len, response_len,
};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::channel::Channel;
use crate::log::{self, Level};
use crate::routes::ChosenRoute;
use crate::wsgi::file::FileRange;
use crate::wsgi::head::Head;
use crate::wsgi::input::Input;

/// How long a response that has no credit sleeps before it looks again by itself.
const CREDIT_WAIT_MAX: Duration = Duration::from_secs(1);

/// How far a response is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ResponsePhase {
    /// No request is being handled.
    Idle,
    /// `start_response` was not called yet.
    Waiting,
    /// The head is there and was not sent, because there was no body yet.
    Ready,
    /// The head was sent.
    Streaming,
    /// All of the body was sent.
    Complete,
    /// The client has gone: nothing more is sent.
    Gone,
}

/// Why a piece was not sent.
#[derive(Debug)]
pub(crate) enum SendError {
    /// There is no head: `start_response` was not called.
    NotStarted,
    /// The client has gone.
    Gone,
    /// The body ended this many bytes short of its `Content-Length`.
    Short(u64),
    /// The channel is broken.
    Python(PyErr),
}

impl From<PyErr> for SendError {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// What follows a piece of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    /// Perhaps more.
    More,
    /// Nothing; the application may still be running.
    End,
    /// Nothing, and the application has returned.
    Done,
}

/// The response to one request.
pub(crate) struct Response {
    pub(crate) slot: u16,
    pub(crate) generation: u32,
    pub(crate) phase: ResponsePhase,
    /// Whether the request's method is HEAD.
    pub(crate) is_head: bool,
    /// Whether the client understands interim responses (HTTP/1.1).
    pub(crate) takes_interim: bool,
    pub(crate) head: Head,
    /// Bytes of the body that went into the channel.
    body_sent: u64,
    /// The head went into the channel.
    was_sent: bool,
    /// Whether the front was told that the application has returned.
    pub(crate) is_done: bool,
    /// When the application got the request.
    began: Instant,
    /// How long the application has waited for its client.
    waited: Duration,
    /// Whether the line about a body that is longer than it should be was written.
    surplus_told: bool,
    /// The request's body, if it lies where another one will lie when this is done.
    borrowed: Option<Py<Input>>,
    /// The application's route for the request.
    pub(crate) route: ChosenRoute,
}

impl Response {
    /// Nothing to respond to yet.
    pub(crate) fn new() -> Self {
        Self {
            slot: 0,
            generation: 0,
            phase: ResponsePhase::Idle,
            is_head: false,
            takes_interim: false,
            head: Head::default(),
            body_sent: 0,
            was_sent: false,
            is_done: true,
            began: Instant::now(),
            waited: Duration::ZERO,
            surplus_told: false,
            borrowed: None,
            route: ChosenRoute::default(),
        }
    }

    /// Begins the response to a request.
    pub(crate) fn begin(
        &mut self,
        request: &Descriptor,
        route: ChosenRoute,
        began: Instant,
        is_head: bool,
        takes_interim: bool,
    ) {
        self.route = route;
        self.slot = request.slot;
        self.generation = request.generation;
        self.phase = ResponsePhase::Waiting;
        self.is_head = is_head;
        self.takes_interim = takes_interim;
        self.body_sent = 0;
        self.was_sent = false;
        self.is_done = false;
        self.began = began;
        self.waited = Duration::ZERO;
        self.surplus_told = false;
    }

    /// Whether the client understands an interim response, and may still get one.
    pub(crate) fn takes_hints(&self) -> bool {
        self.takes_interim && matches!(self.phase, ResponsePhase::Waiting | ResponsePhase::Ready)
    }

    /// Whether the application gave a head.
    pub(crate) fn has_begun(&self) -> bool {
        self.was_sent || self.phase == ResponsePhase::Ready
    }

    /// Whether the head was sent, also after the response is over.
    pub(crate) const fn was_sent(&self) -> bool {
        self.was_sent
    }

    /// Bytes of the body that were sent, also after the response is over.
    pub(crate) const fn body_sent(&self) -> u64 {
        self.body_sent
    }

    /// Sends a piece of the body, and the head before the first one.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) fn send(
        &mut self,
        py: Python<'_>,
        channel: &Channel,
        data: &[u8],
        then: Then,
    ) -> Result<(), SendError> {
        match self.phase {
            ResponsePhase::Idle | ResponsePhase::Waiting => return Err(SendError::NotStarted),
            ResponsePhase::Gone => return Err(SendError::Gone),
            ResponsePhase::Complete => {
                self.tell_surplus(data);
                return Ok(());
            }
            ResponsePhase::Ready | ResponsePhase::Streaming => {}
        }
        let (data, then) = self.fit(data, then)?;
        if then == Then::Done {
            self.give_body_back(py);
        }
        if self.phase == ResponsePhase::Ready && data.len() <= CHUNK_MAX && then != Then::More {
            return self.send_in_one(py, channel, data, then);
        }
        self.send_in_pieces(py, channel, data, then)
    }

    /// Cuts a piece to what may be sent, and completes the head.
    fn fit<'a>(&mut self, data: &'a [u8], then: Then) -> Result<(&'a [u8], Then), SendError> {
        let ended = if then == Then::Done { Then::Done } else { Then::End };
        if self.head.forbids_body() {
            if self.head.status == 204 {
                self.head.drop_content_length();
            }
            self.tell_surplus(data);
            return Ok((&[], ended));
        }
        if self.head.content_length.is_none()
            && self.phase == ResponsePhase::Ready
            && then != Then::More
        {
            // Of a HEAD request, no body does not mean that GET would have none.
            if !self.is_head || !data.is_empty() {
                self.head.set_content_length(data.len() as u64);
            }
        }
        if self.is_head {
            return Ok((&[], ended));
        }
        let Some(length) = self.head.content_length else {
            return Ok((data, then));
        };
        let left = length - self.body_sent;
        let given = data.len() as u64;
        if given > left {
            self.tell_surplus(data);
            return Ok((&data[..usize::try_from(left).unwrap_or(usize::MAX)], ended));
        }
        if given < left && then != Then::More {
            return Err(SendError::Short(left - given));
        }
        Ok((data, if given == left { ended } else { then }))
    }

    /// Says once that the application gave more than it announced.
    fn tell_surplus(&mut self, data: &[u8]) {
        if data.is_empty() || self.is_head || self.surplus_told {
            return;
        }
        self.surplus_told = true;
        let reason = match self.head.content_length {
            Some(length) if !self.head.forbids_body() => {
                format!("its Content-Length of {length} bytes; the rest is not sent")
            }
            _ => format!("status {} allows; the body is not sent", self.head.status),
        };
        log::line(Level::Warning, &format!("The application gave a longer body than {reason}"));
    }

    /// The whole response in one descriptor, which needs no credit.
    fn send_in_one(
        &mut self,
        py: Python<'_>,
        channel: &Channel,
        data: &[u8],
        then: Then,
    ) -> Result<(), SendError> {
        self.send_head(py, channel, Kind::Response, last_flags(then), data)?;
        self.body_sent += data.len() as u64;
        self.ended(channel, then);
        Ok(())
    }

    fn send_in_pieces(
        &mut self,
        py: Python<'_>,
        channel: &Channel,
        mut data: &[u8],
        then: Then,
    ) -> Result<(), SendError> {
        loop {
            let (piece, rest) = data.split_at(data.len().min(RESPONSE_PIECE_MAX));
            data = rest;
            self.wait_for_credit(py, channel, piece.len())?;
            let is_last = rest.is_empty() && then != Then::More;
            let flags = if is_last { last_flags(then) } else { Flags::NONE };
            if self.phase == ResponsePhase::Ready {
                self.send_head(py, channel, Kind::Response, flags, piece)?;
            } else if !piece.is_empty() || flags != Flags::NONE {
                let descriptor = self.descriptor(Kind::ResponseBody, flags, 0);
                channel.send(py, descriptor, piece.len(), |into| into.copy_from_slice(piece))?;
            }
            self.body_sent += piece.len() as u64;
            self.phase = ResponsePhase::Streaming;
            if is_last {
                self.ended(channel, then);
            }
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Whether the response to this request, with this status, has a body.
    pub(crate) fn can_have_body(&self) -> bool {
        !self.is_head && !self.head.forbids_body()
    }

    /// Whether a file is long enough for the `Content-Length`.
    ///
    /// # Errors
    /// [`SendError::Short`].
    pub(crate) fn check_length(&self, file: &FileRange) -> Result<(), SendError> {
        match self.head.content_length {
            Some(length) if length > file.len => Err(SendError::Short(length - file.len)),
            _ => Ok(()),
        }
    }

    /// Sends the rest of a file as the body; the worker need not wait until it is sent.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) fn send_file(
        &mut self,
        py: Python<'_>,
        channel: &Channel,
        file: &FileRange,
    ) -> Result<(), SendError> {
        use std::os::fd::AsFd;

        let length = match self.head.content_length {
            Some(length) => length,
            None => {
                self.head.set_content_length(file.len);
                file.len
            }
        };
        self.send_head(py, channel, Kind::Response, Flags::FILE, &[])?;
        self.phase = ResponsePhase::Streaming;
        let descriptor = self.descriptor(Kind::File, Flags::END, 0);
        let part = FilePart { offset: file.offset, len: length };
        channel.send_with_file(py, file.fd.as_fd(), descriptor, FilePart::LEN, |into| {
            part.encode(into);
        })?;
        self.phase = ResponsePhase::Complete;
        self.body_sent = length;
        Ok(())
    }

    /// Sends a head with the first bytes of the body behind it.
    #[inline]
    fn send_head(
        &mut self,
        py: Python<'_>,
        channel: &Channel,
        kind: Kind,
        flags: Flags,
        data: &[u8],
    ) -> PyResult<()> {
        send_head(py, channel, self.descriptor(kind, flags, 0), &self.head, data)?;
        self.was_sent = true;
        Ok(())
    }

    /// Sends an interim response.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(crate) fn send_interim(
        &self,
        py: Python<'_>,
        channel: &Channel,
        head: &Head,
    ) -> PyResult<()> {
        let descriptor = self.descriptor(Kind::Informational, Flags::NONE, 0);
        send_head(py, channel, descriptor, head, &[])
    }

    /// Ends the body after its last piece.
    ///
    /// # Errors
    /// [`SendError`].
    pub(crate) fn end(&mut self, py: Python<'_>, channel: &Channel) -> Result<(), SendError> {
        if self.phase == ResponsePhase::Complete {
            return Ok(());
        }
        self.send(py, channel, &[], Then::End)
    }

    /// Says that the application has returned, unless that was said.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(crate) fn finish(&mut self, py: Python<'_>, channel: &Channel) -> PyResult<()> {
        if !self.is_done {
            self.give_body_back(py);
            channel.send(py, self.descriptor(Kind::Done, Flags::DONE, 0), 0, |_| {})?;
            self.ended(channel, Then::Done);
        }
        self.phase = ResponsePhase::Idle;
        Ok(())
    }

    /// Says that the application failed; `line` is for the front's log.
    ///
    /// # Errors
    /// When the channel is broken.
    pub(crate) fn fail(
        &mut self,
        py: Python<'_>,
        channel: &Channel,
        how: Failure,
        line: &str,
    ) -> PyResult<()> {
        if !self.is_done {
            self.give_body_back(py);
            let line = &line.as_bytes()[..line.len().min(FAILURE_LINE_BYTES_MAX)];
            let descriptor = self.descriptor(Kind::Failed, Flags::DONE, how as u64);
            channel.send(py, descriptor, line.len(), |into| into.copy_from_slice(line))?;
            self.ended(channel, Then::Done);
        }
        self.phase = ResponsePhase::Idle;
        Ok(())
    }

    /// The last piece was sent: only now is it so. Had the send failed, the front could still be told.
    #[inline]
    fn ended(&mut self, channel: &Channel, then: Then) {
        self.phase = ResponsePhase::Complete;
        if then == Then::Done {
            self.is_done = true;
            channel.slots.finish(self.slot, self.generation);
        }
    }

    /// The request's body lies in the channel's memory until the front is told that it is over.
    pub(crate) fn borrow_body(&mut self, input: Py<Input>) {
        self.borrowed = Some(input);
    }

    /// Before the front is told that the request is over: whoever kept the input object reads from a copy
    /// from now on.
    fn give_body_back(&mut self, py: Python<'_>) {
        if let Some(input) = self.borrowed.take() {
            // SAFETY: a live object, and we have the interpreter's lock.
            let references = unsafe { ffi::Py_REFCNT(input.as_ptr()) };
            input.get().keep_what_is_left(references > 1);
            drop(input.into_bound(py));
        }
    }

    #[inline]
    fn descriptor(&self, kind: Kind, flags: Flags, aux: u64) -> Descriptor {
        let descriptor = Descriptor::new(kind, flags, self.slot, self.generation, aux)
            .on_route(self.route.number());
        if !descriptor.is_timed() {
            return descriptor;
        }
        descriptor.took(self.began.elapsed().saturating_sub(self.waited))
    }

    /// Waits until the client has taken enough that `len` more bytes fit the window: with the GIL
    /// released, or, where requests are greenlets, while the others run.
    fn wait_for_credit(
        &mut self,
        py: Python<'_>,
        channel: &Channel,
        len: usize,
    ) -> Result<(), SendError> {
        let slots = &channel.slots;
        let end = self.body_sent + len as u64;
        let fits = || end <= slots.response_taken(self.slot).saturating_add(RESPONSE_WINDOW);
        loop {
            if slots.is_gone(self.slot) {
                self.phase = ResponsePhase::Gone;
                return Err(SendError::Gone);
            }
            if fits() {
                return Ok(());
            }
            let has_greenlets = channel.has_greenlets();
            let ticket = slots.credit_ticket(self.slot);
            let wait = if has_greenlets { CreditWait::Descriptor } else { CreditWait::Thread };
            slots.want_credit(self.slot, wait);
            if fits() || slots.is_gone(self.slot) {
                continue;
            }
            channel.flush();
            let slept = Instant::now();
            if has_greenlets {
                channel.pause(py, self.slot)?;
            } else {
                channel.control.beat();
                py.detach(|| slots.sleep_for_credit(self.slot, ticket, CREDIT_WAIT_MAX));
                py.check_signals()?;
            }
            self.waited += slept.elapsed();
        }
    }
}

/// Bytes of a failure's log line; the rest is cut off.
const FAILURE_LINE_BYTES_MAX: usize = 4096;

/// The flags of the descriptor that ends the body.
const fn last_flags(then: Then) -> Flags {
    match then {
        Then::Done => Flags::END.with(Flags::DONE),
        Then::End | Then::More => Flags::END,
    }
}

#[inline]
fn send_head(
    py: Python<'_>,
    channel: &Channel,
    mut descriptor: Descriptor,
    head: &Head,
    data: &[u8],
) -> PyResult<()> {
    let head_len = response_len(head.reason(), headers_len(head.fields()));
    descriptor.aux = head_len as u64;
    channel.send(py, descriptor, head_len + data.len(), |into| {
        let (head_part, body_part) = into.split_at_mut(head_len);
        encode_response(head_part, head.status, head.reason(), head.field_count(), head.fields());
        body_part.copy_from_slice(data);
    })
}
