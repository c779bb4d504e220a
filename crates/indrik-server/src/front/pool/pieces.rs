//! Bodies in pieces: those of requests on their way to a worker, and the credit for those of responses.

use std::task::{Context, Poll};

use indrik_core::memory::ahead::Room;
use indrik_core::upload::Taker;
use indrik_ring::{
    Descriptor, Flags, Kind, REQUEST_PIECE_MAX, REQUEST_WINDOW, REQUEST_WINDOW_MAX, Violation,
    websocket_piece_cost,
};

use super::super::account::Holder;
use super::super::events::ChannelFault;
use super::super::exchange::{Exchange, Location};
use super::placing::{Inner, Pool};

/// A piece of a request's body or of a WebSocket message.
pub(crate) struct Piece<'a> {
    pub(crate) kind: Kind,
    pub(crate) flags: Flags,
    pub(crate) aux: u64,
    pub(crate) bytes: &'a [u8],
}

impl Piece<'_> {
    /// What of the window it takes.
    fn cost(&self) -> u64 {
        match self.kind {
            Kind::WebSocketReceive => {
                websocket_piece_cost(self.bytes.len(), self.flags.has(Flags::END))
            }
            _ => self.bytes.len() as u64,
        }
    }
}

impl Pool {
    /// What may be granted ahead for a client.
    pub(crate) fn room(&self, holder: &Holder) -> Room {
        self.buffered.room(holder)
    }

    /// The client's side took `bytes` of the response's body.
    pub(crate) fn took(&self, exchange: &Exchange, bytes: usize) {
        let (Location::Worker { id, slot, generation }, credit @ 1..) = exchange.took(bytes) else {
            return;
        };
        let mut inner = self.inner.lock();
        let Some(link) = inner.links.get_mut(&id) else { return };
        if link.holds(slot, generation) {
            link.give_credit(slot, generation, credit);
        }
    }

    /// Sends a piece of the request's body (or of a WebSocket message) as soon as the worker has
    /// room: at most [`REQUEST_PIECE_MAX`] bytes. Ready with false when nobody wants it any more.
    pub(crate) fn poll_send_piece(
        &self,
        exchange: &Exchange,
        piece: &Piece<'_>,
        sent: u64,
        cx: &mut Context<'_>,
    ) -> Poll<bool> {
        debug_assert!(piece.bytes.len() <= REQUEST_PIECE_MAX);
        // Registered before anything is looked at, so that no wake-up is lost.
        exchange.wait_upload(cx);
        self.with(|inner| self.send_piece(inner, exchange, piece, sent))
    }

    fn send_piece(
        &self,
        inner: &mut Inner,
        exchange: &Exchange,
        piece: &Piece<'_>,
        sent: u64,
    ) -> Poll<bool> {
        let Inner { links, wakers, .. } = &mut *inner;
        let location = exchange.location();
        let Location::Worker { id, slot, generation } = location else {
            return without_worker(piece.kind, location.taker());
        };
        let lost = without_worker(piece.kind, Taker::NobodyYet);
        let Some(link) = links.get_mut(&id) else { return lost };
        if !link.holds(slot, generation) {
            return lost;
        }
        let slots = &link.channel.slots;
        let cost = piece.cost();
        let room = |taken: u64| sent + cost <= taken.saturating_add(window(piece.kind, taken));
        let taken = slots.request_taken(slot);
        let entry = &mut link.slots[usize::from(slot)];
        if taken > entry.seen.request_sent {
            link.fault_found = Some(ChannelFault::Memory(Violation::State));
            return lost;
        }
        if !room(taken) {
            slots.want_request_credit(slot);
            if !room(slots.request_taken(slot)) {
                return Poll::Pending;
            }
        }
        let is_body = piece.kind == Kind::RequestBody;
        if is_body && exchange.is_abandoned() {
            link.leave_line(slot, wakers);
            return Poll::Ready(false);
        }
        if is_body && !link.uploads.may_send(slot) {
            return Poll::Pending;
        }
        let descriptor = Descriptor::new(piece.kind, piece.flags, slot, generation, piece.aux);
        let pushed = match piece.kind {
            Kind::WebSocketReceive => link.push_message(descriptor, piece.bytes),
            _ => link.push(descriptor, piece.bytes),
        };
        match pushed {
            Ok(()) => {
                link.slots[usize::from(slot)].seen.request_sent += cost;
                if is_body {
                    link.had_turn(slot, wakers);
                }
                self.after_push(inner);
                Poll::Ready(true)
            }
            // The drain task wakes those who wait when the worker has made room.
            Err(reason) if reason.is_for_now() => {
                if is_body {
                    link.uploads.found_no_room(slot);
                }
                Poll::Pending
            }
            // The next tick finds what is wrong with the channel.
            Err(_) => lost,
        }
    }
}

/// What becomes of a piece that no worker takes. A body waits until whoever has the request has heard why;
/// another worker may have it then. A WebSocket's messages go to no other one.
fn without_worker(kind: Kind, taker: Taker) -> Poll<bool> {
    match (kind, taker) {
        (Kind::RequestBody, Taker::NobodyYet | Taker::Application) => Poll::Pending,
        _ => Poll::Ready(false),
    }
}

/// Bytes that may be under way to an application that has taken so many: of a body, more to one that keeps up.
fn window(kind: Kind, taken: u64) -> u64 {
    match kind {
        Kind::RequestBody => REQUEST_WINDOW.saturating_add(taken).min(REQUEST_WINDOW_MAX),
        _ => REQUEST_WINDOW,
    }
}
