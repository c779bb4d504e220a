//! From descriptors to events: everything here reads what a worker wrote, and believes nothing.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;

use bytes::Bytes;
use indrik_ring::{Descriptor, Flags, Kind, ResponseHead};
use indrik_sys::packets::Received;

use super::super::ahead::Buffered;
use super::super::events::Interface;
use super::super::exchange::Event;
use super::Answers;
use super::link::Link;

/// In a `Failed` descriptor: the response ended short of its Content-Length.
const FAILED_SHORT: u64 = 4;
/// The first status that says that the server, or the application, failed.
const FIRST_SERVER_ERROR: u16 = 500;

/// What one look into a worker's ring gave.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Requests whose slot became free.
    pub(super) finished: usize,
    /// There is more in the ring.
    pub(super) more: bool,
    /// The worker wrote what cannot be; it must go.
    pub(super) broken: bool,
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
        Event::Body { bytes, .. } => bytes.len(),
        _ => 0,
    };
    (bytes > 0).then_some(bytes)
}

impl Link {
    /// Takes up to `most` descriptors and puts them into the inboxes they belong to.
    pub(super) fn deliver(
        &mut self,
        most: usize,
        wakers: &mut Vec<Waker>,
        buffered: &Arc<Buffered>,
    ) -> Batch {
        let mut batch = Batch::default();
        for _ in 0..most {
            match self.channel.responses.receive() {
                Ok(Some(descriptor)) => {
                    self.take(&descriptor, &mut batch, wakers, buffered);
                    if batch.broken {
                        return batch;
                    }
                }
                Ok(None) => break,
                Err(_) => {
                    batch.broken = true;
                    return batch;
                }
            }
        }
        let _ = self.channel.responses.release();
        self.after_room(wakers);
        match self.channel.responses.look() {
            Ok(more) => batch.more = more,
            Err(_) => batch.broken = true,
        }
        batch
    }

    fn take(
        &mut self,
        descriptor: &Descriptor,
        batch: &mut Batch,
        wakers: &mut Vec<Waker>,
        buffered: &Arc<Buffered>,
    ) {
        let (slot, generation) = (descriptor.slot, descriptor.generation);
        if descriptor.kind == Kind::Response
            && let Some(entry) = self.slots.get_mut(usize::from(slot))
        {
            entry.answered |= entry.generation == generation;
        }
        let Some(exchange) = self.exchange(slot, generation) else {
            // A request that is over: all that can still matter is a descriptor in the socket.
            if descriptor.kind == Kind::File {
                drop(self.receive_file(descriptor));
            }
            return;
        };
        let done = descriptor.flags.has(Flags::DONE);
        let abandoned = exchange.is_abandoned();
        let event = if abandoned { None } else { self.event(descriptor) };
        if self.on_trial
            && let Some(event) = &event
        {
            batch.answers.count(event);
        }
        let counted = event.as_ref().and_then(counted_bytes);
        let counted = counted.filter(|_| self.interface == Interface::Wsgi);
        let credit = counted.map(|bytes| exchange.receives(bytes, buffered));
        if event.is_some() || done {
            batch.broken |= !exchange.deliver(event, done, wakers);
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
            self.free_slot(slot);
            batch.finished += 1;
        }
    }

    /// Nobody wants the response, but the worker must not wait for credit.
    fn discard(&mut self, descriptor: &Descriptor) {
        if descriptor.kind == Kind::File {
            drop(self.receive_file(descriptor));
        }
        self.give_credit(descriptor.slot, descriptor.generation, u64::from(descriptor.len));
    }

    fn event(&self, descriptor: &Descriptor) -> Option<Event> {
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
            Kind::ResponseBody => Event::Body { bytes: self.payload(descriptor), end },
            Kind::Trailers => Event::Trailers { payload: self.payload(descriptor) },
            Kind::File => self.file(descriptor)?,
            Kind::Path => Event::Path { path: self.payload(descriptor) },
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
                short: descriptor.aux == FAILED_SHORT,
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

    fn file(&self, descriptor: &Descriptor) -> Option<Event> {
        let place = self.payload(descriptor);
        let number = |at: usize| {
            let bytes: [u8; 8] = place.get(at..at + 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        let (offset, len) = (number(0)?, number(8)?);
        let Some(fd) = self.receive_file(descriptor) else {
            let message = Bytes::from_static(b"the worker's file did not arrive");
            return Some(Event::Failed { message, short: false });
        };
        Some(Event::File { fd, offset, len })
    }

    /// The descriptor that was sent ahead of a `File`.
    fn receive_file(&self, descriptor: &Descriptor) -> Option<OwnedFd> {
        let Ok(Received::Message(message, mut fds)) = self.fds.receive() else { return None };
        let slot = u16::from_le_bytes([*message.first()?, *message.get(1)?]);
        let generation = u32::from_le_bytes(message.get(4..8)?.try_into().ok()?);
        let mine = slot == descriptor.slot && generation == descriptor.generation;
        if mine { fds.pop() } else { None }
    }
}
