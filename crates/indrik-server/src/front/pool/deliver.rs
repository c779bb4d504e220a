//! From descriptors to events: everything here reads what a worker wrote, and believes nothing.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use indrik_core::lane::RouteId;
use indrik_core::time::Micros;
use indrik_ring::{Descriptor, Failure, FileLost, FilePart, Flags, Kind, ResponseHead};
use indrik_sys::rights;

use super::super::descriptors::CountedFile;
use super::super::events::ChannelFault;
use super::super::events::Interface;
use super::super::exchange::{Event, Exchange, Part};
use super::counts::Answers;
use super::link::Link;

/// The first status that says that the server, or the application, failed.
const FIRST_SERVER_ERROR: u16 = 500;
/// Pieces of bodies from this size on are written from where they lie, if the client takes them now.
const LEND_BYTES_MIN: usize = 32 * 1024;

/// What one look into a worker's ring gave.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Requests whose slot became free.
    pub(super) finished: usize,
    /// There is more in the ring.
    pub(super) more: bool,
    /// The worker wrote what cannot be; it must go.
    pub(super) fault: Option<ChannelFault>,
    /// What it answered, if its generation is on trial.
    pub(super) answers: Answers,
}

impl Answers {
    fn count(&mut self, event: &Event) {
        let failed = match event {
            Event::Response { payload, head_len, .. } => {
                ResponseHead::decode(&payload[..*head_len])
                    .is_ok_and(|head| head.status >= FIRST_SERVER_ERROR)
            }
            // Also when a response had begun: then it counts as an answer and as an error.
            Event::Failed { .. } => true,
            _ => return,
        };
        self.all += 1;
        self.errors += u64::from(failed);
    }
}

/// Bytes of the body that count for the window: all but those of a response in one piece.
fn counted_bytes(event: &Event) -> Option<usize> {
    let bytes = match event {
        Event::Response { payload, head_len, flags } if !flags.has(Flags::END) => {
            payload.len() - head_len
        }
        Event::Body { part, .. } => part.len(),
        _ => 0,
    };
    (bytes > 0).then_some(bytes)
}

impl Link {
    /// Takes up to `most` descriptors and puts them into the inboxes they belong to.
    pub(super) fn deliver(&mut self, most: usize, now: Micros, wakers: &mut Vec<Waker>) -> Batch {
        self.copy_out_untaken();
        let mut batch = Batch::default();
        for _ in 0..most {
            match self.channel.responses.receive() {
                Ok(Some(descriptor)) => {
                    self.take(&descriptor, now, &mut batch, wakers);
                    if batch.fault.is_some() {
                        return batch;
                    }
                }
                Ok(None) => break,
                Err(violation) => {
                    batch.fault = Some(ChannelFault::Memory(violation));
                    return batch;
                }
            }
        }
        let _ = self.channel.responses.release();
        self.after_room(wakers);
        match self.channel.responses.look() {
            Ok(more) => batch.more = more,
            Err(violation) => batch.fault = Some(ChannelFault::Memory(violation)),
        }
        batch
    }

    fn take(
        &mut self,
        descriptor: &Descriptor,
        now: Micros,
        batch: &mut Batch,
        wakers: &mut Vec<Waker>,
    ) {
        let (slot, generation) = (descriptor.slot, descriptor.generation);
        if matches!(descriptor.kind, Kind::Response | Kind::WebSocketAccept)
            && let Some(entry) = self.slots.get_mut(usize::from(slot))
            && entry.generation == generation
        {
            entry.answered |= descriptor.kind == Kind::Response;
            // What had ended a worker would have done it before. This may go on for as long as it likes.
            self.cleared.extend(entry.suspect.take());
        }
        // Taken whoever the descriptor is for: it must not stay in the socket.
        let file = (descriptor.kind == Kind::File).then(|| self.receive_file(descriptor));
        let Some(exchange) = self.exchange(slot, generation).map(Arc::clone) else { return };
        let done = descriptor.flags.has(Flags::DONE);
        if descriptor.time_us != 0 {
            exchange.times(descriptor.time_us, now);
        }
        if descriptor.route != 0 {
            exchange.set_route(RouteId::new(self.generation, descriptor.route));
        }
        let abandoned = exchange.is_abandoned();
        let lent = if abandoned { None } else { self.lend(descriptor, &exchange) };
        let event = match lent {
            _ if abandoned => None,
            Some(part) => {
                if let Some(head) = self.head(descriptor)
                    && !self.deliver_head(head, &exchange, batch, wakers)
                {
                    return;
                }
                Some(Event::Body { part, end: descriptor.flags.has(Flags::END) })
            }
            None => self.event(descriptor, file),
        };
        if self.on_trial
            && let Some(event) = &event
        {
            batch.answers.count(event);
        }
        let counted = event.as_ref().and_then(counted_bytes);
        let counted = counted.filter(|_| self.interface == Interface::Wsgi);
        let credit = counted.map(|bytes| exchange.receives(bytes, wakers));
        if (event.is_some() || done) && !exchange.deliver(event, done, wakers) {
            batch.fault = Some(ChannelFault::Flood);
        }
        if descriptor.kind == Kind::RequestCredit {
            wakers.extend(exchange.take_upload_waker());
        }
        if abandoned {
            self.discard(descriptor);
        }
        if let Some(credit) = credit {
            self.give_credit(slot, generation, credit);
        }
        if done {
            self.by_route.count(exchange.route().number());
            self.free_slot(slot);
            batch.finished += 1;
        }
    }

    /// Leaves a large piece of a body where it lies for now. A response that is all there is not lent: it has a
    /// length, so that its head must not go out without it.
    fn lend(&mut self, descriptor: &Descriptor, exchange: &Arc<Exchange>) -> Option<Part> {
        let head_len = match descriptor.kind {
            Kind::Response if descriptor.flags == Flags::NONE => {
                usize::try_from(descriptor.aux).ok()?
            }
            Kind::ResponseBody => 0,
            _ => return None,
        };
        if (descriptor.len as usize).checked_sub(head_len)? < LEND_BYTES_MIN {
            return None;
        }
        if !self.untaken.last().is_some_and(|last| Arc::ptr_eq(last, exchange)) {
            self.untaken.push(Arc::clone(exchange));
        }
        Some(Part::Lent(self.channel.responses.lend(descriptor, head_len)))
    }

    /// The head in front of a piece that was lent, if there is one: it is read, so it is copied.
    fn head(&self, descriptor: &Descriptor) -> Option<Event> {
        let head_len = usize::try_from(descriptor.aux).ok()?;
        (descriptor.kind == Kind::Response).then(|| {
            let mut shortened = *descriptor;
            shortened.len = head_len as u32;
            let payload = self.payload(&shortened);
            Event::Response { payload, head_len, flags: descriptor.flags }
        })
    }

    fn deliver_head(
        &self,
        head: Event,
        exchange: &Exchange,
        batch: &mut Batch,
        wakers: &mut Vec<Waker>,
    ) -> bool {
        if self.on_trial {
            batch.answers.count(&head);
        }
        let is_taken = exchange.deliver(Some(head), false, wakers);
        if !is_taken {
            batch.fault = Some(ChannelFault::Flood);
        }
        is_taken
    }

    /// What was lent is taken in the same turn, by a client that reads, or copied out: the worker waits for the space.
    pub(super) fn copy_out_untaken(&mut self) {
        self.untaken.drain(..).for_each(|exchange| exchange.copy_out());
    }

    /// Nobody wants the response, but the worker must not wait for credit.
    fn discard(&mut self, descriptor: &Descriptor) {
        self.give_credit(descriptor.slot, descriptor.generation, u64::from(descriptor.len));
    }

    fn event(
        &self,
        descriptor: &Descriptor,
        file: Option<Result<Option<CountedFile>, FileLost>>,
    ) -> Option<Event> {
        let flags = descriptor.flags;
        let end = flags.has(Flags::END);
        Some(match descriptor.kind {
            Kind::Response => {
                let payload = self.payload(descriptor);
                let head_len = usize::try_from(descriptor.aux).unwrap_or(usize::MAX);
                let head_len = head_len.min(payload.len());
                Event::Response { payload, head_len, flags }
            }
            Kind::Informational => Event::Informational { payload: self.payload(descriptor) },
            Kind::ResponseBody => Event::Body { part: Part::Own(self.payload(descriptor)), end },
            Kind::Trailers => Event::Trailers { payload: self.payload(descriptor) },
            Kind::File => self.file(descriptor, file?)?,
            Kind::WebSocketAccept => Event::WebSocketAccept { payload: self.payload(descriptor) },
            Kind::WebSocketSend => {
                let bytes = self.payload(descriptor);
                Event::WebSocketSend { bytes, text: flags.has(Flags::TEXT), end }
            }
            Kind::WebSocketClose => Event::WebSocketClose {
                code: u16::try_from(descriptor.aux).unwrap_or(1011),
                reason: self.payload(descriptor),
            },
            Kind::Failed => Event::Failed {
                message: self.payload(descriptor),
                short: Failure::from_aux(descriptor.aux) == Some(Failure::Short),
            },
            Kind::BodyWanted => Event::BodyWanted,
            Kind::Done | Kind::RequestCredit => return None,
            // The request direction's kinds have no meaning here.
            Kind::Request
            | Kind::RequestBody
            | Kind::WebSocketReceive
            | Kind::WebSocketClosed
            | Kind::Disconnect
            | Kind::Credit => return None,
        })
    }

    /// The payload, copied out.
    fn payload(&self, descriptor: &Descriptor) -> Bytes {
        let mut payload = Vec::new();
        self.channel.responses.copy_payload(descriptor, &mut payload);
        Bytes::from(payload)
    }

    fn file(
        &self,
        descriptor: &Descriptor,
        file: Result<Option<CountedFile>, FileLost>,
    ) -> Option<Event> {
        let FilePart { offset, len } = FilePart::decode(&self.payload(descriptor))?;
        Some(match file {
            Ok(file) => Event::File { file, offset, len },
            Err(lost) => {
                let message = format!("the file of a response: {lost}").into();
                Event::Failed { message, short: false }
            }
        })
    }

    /// The file that was handed over with a `File`; `None` if there is no place for it.
    fn receive_file(&mut self, descriptor: &Descriptor) -> Result<Option<CountedFile>, FileLost> {
        let Descriptor { slot, generation, .. } = *descriptor;
        let slots = &self.slots;
        let is_live = |slot: u16, generation| {
            let entry = slots.get(usize::from(slot));
            entry.is_some_and(|it| it.generation == generation && it.exchange.is_some())
        };
        let file = match self.channel.files_in.take(slot, generation, is_live) {
            Ok(file) => regular(file)?,
            Err(FileLost::NoDescriptors) => return Ok(None),
            Err(lost) => return Err(lost),
        };
        // Until here it had none; but that is one file at a time, under the pool's lock.
        let place = self.descriptors.reserve_for_sent();
        Ok(place.map(|place| CountedFile::new(file, place)))
    }
}

/// A worker's word that it is a file is not taken: to close anything else may wait.
fn regular(file: OwnedFd) -> Result<File, FileLost> {
    let file = File::from(file);
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return Ok(file);
    }
    rights::close_apart(file.into());
    Err(FileLost::NoFile)
}
