//! How a request's body gets to its worker: behind the head, in memory that the worker has mapped already, or
//! in a file.

use std::os::fd::OwnedFd;

use indrik_ring::{BodyPlace, Flags};

use super::super::body::{INLINE_BYTES_MAX, Pieces, memfd};
use super::super::events::Interface;
use super::super::exchange::Outgoing;
use super::link::Link;

/// Of the memory for bodies, what an idle worker keeps: enough that one upload after another finds it warm.
const KEPT_BYTES: usize = 1024 * 1024;

/// Where a body lies while its request is sent.
pub(super) enum Carried<'a> {
    Payload(&'a Pieces),
    Placed(BodyPlace),
    File(&'a OwnedFd),
    NewFile(OwnedFd),
}

impl Carried<'_> {
    /// Bytes behind the head.
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Payload(body) => body.len(),
            Self::Placed(_) => BodyPlace::LEN,
            Self::File(_) | Self::NewFile(_) => 0,
        }
    }

    /// Writes what stands behind the head.
    pub(super) fn fill(&self, into: &mut [u8]) {
        match self {
            Self::Payload(body) => body.copy_to(into),
            Self::Placed(place) => place.encode(into),
            Self::File(_) | Self::NewFile(_) => {}
        }
    }

    pub(super) const fn flags(&self) -> Flags {
        match self {
            Self::Payload(_) => Flags::NONE,
            Self::Placed(_) => Flags::BODY_PLACED,
            Self::File(_) | Self::NewFile(_) => Flags::BODY_FILE,
        }
    }

    pub(super) const fn file(&self) -> Option<&OwnedFd> {
        match self {
            Self::File(file) => Some(file),
            Self::NewFile(file) => Some(file),
            Self::Payload(_) | Self::Placed(_) => None,
        }
    }

    pub(super) const fn place(&self) -> Option<BodyPlace> {
        match self {
            Self::Placed(place) => Some(*place),
            _ => None,
        }
    }
}

impl Link {
    /// Puts a request's body where the worker can read it. `None`: there is no room for it now, and the
    /// worker is busy anyway.
    pub(super) fn carry<'a>(&mut self, outgoing: &'a Outgoing) -> Option<Carried<'a>> {
        let body = &outgoing.body;
        if let Some(file) = &outgoing.file {
            return Some(Carried::File(file));
        }
        if body.len() <= INLINE_BYTES_MAX {
            return Some(Carried::Payload(body));
        }
        if let Some(place) = self.put(body) {
            return Some(Carried::Placed(place));
        }
        // Only what the worker would begin at once is worth a file of its own; an event loop copies what it has.
        if self.interface == Interface::Asgi || self.in_use() > self.capacity {
            return None;
        }
        memfd(body).ok().map(Carried::NewFile)
    }

    fn put(&mut self, body: &Pieces) -> Option<BodyPlace> {
        let put = |link: &mut Self| link.channel.bodies.put(body.len(), |into| body.copy_to(into));
        put(self).or_else(|| {
            self.free_released();
            put(self)
        })
    }

    /// Frees the parts that the worker has copied.
    fn free_released(&mut self) {
        for (slot, entry) in (0u16..).zip(&mut self.slots) {
            if entry.body.is_some() && self.channel.slots.has_released_body(slot) {
                let place = entry.body.take();
                place.into_iter().for_each(|place| self.channel.bodies.free(place));
                self.had_bodies = true;
            }
        }
    }

    /// Gives memory back that no body has needed since the last look.
    pub(super) fn trim_bodies(&mut self) {
        let bodies = &mut self.channel.bodies;
        if bodies.used() == 0 && !std::mem::take(&mut self.had_bodies) {
            bodies.give_back(KEPT_BYTES);
        }
    }
}
