//! The front's end of one worker: its channel, and which request is in which slot.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Waker;

use indrik_core::dispatch::{Dispatch, Line, RequestId};
use indrik_core::ids::{Generation, WorkerId};
use indrik_core::lane::RouteId;
use indrik_core::overtime::{Intake, Overtime};
use indrik_core::time::Micros;
use indrik_ring::{
    BodyPlace, CreditWait, Descriptor, Flags, FrontChannel, Kind, NotSent, SlotState,
};

use super::super::ahead::Buffered;
use super::super::body::{INLINE_BYTES_MAX, Pieces, memfd};
use super::super::descriptors::Descriptors;
use super::super::events::ChannelFault;
use super::super::events::Interface;
use super::super::exchange::{Event, Exchange, Location, Outgoing};
use super::bodies::Carried;
use super::by_route::ByRoute;
use super::counts::{Load, Trial};
use super::new_worker::NewWorker;
use super::seen::{LastLook, Seen};

/// After so many requests a worker may have grown so much that its memory is looked at.
const SERVED_NEWS_MIN: u64 = 16;
/// Not more often than this: each time wakes the supervisor.
const SERVED_NEWS_PAUSE_US: Micros = 20_000;

/// Descriptors without payload that may wait for room, per slot: a credit, a disconnection and a stop, and
/// as many again of the slot's use before.
const LATE_PER_SLOT_MAX: usize = 8;
/// Pieces of WebSockets' messages that lie in a worker's ring at once: so many, and no more, are handled before a
/// request that comes now, however many clients send them.
const MESSAGES_AHEAD_MAX: usize = 128;

/// Of the memory for bodies, what an idle worker keeps: enough that one upload after another finds it warm.
const KEPT_BYTES: usize = 1024 * 1024;

pub(super) struct Link {
    pub(super) id: WorkerId,
    pid: u32,
    pub(super) channel: FrontChannel,
    pub(super) interface: Interface,
    pub(super) capacity: usize,
    pub(super) slots: Vec<Slot>,
    /// Requests that are not expected to end.
    given_up: usize,
    /// Whether it takes what is sent to it.
    pub(super) intake: Intake,
    /// Free slots; the one used last is on top, its memory is warm.
    free: Vec<u16>,
    /// Descriptors without payload that found the ring full; at most [`LATE_PER_SLOT_MAX`] per slot.
    late: Vec<Descriptor>,
    requests_max: Option<u64>,
    requests_left: Option<u64>,
    served: u64,
    /// For how long it had a request, as looks some times a second have found.
    busy_us: Micros,
    /// What it has served, by route, since it was added.
    pub(super) by_route: ByRoute,
    /// The request that kept it from going on for long, as it was seen last.
    pub(super) blocked_by: Option<String>,
    pub(super) generation: Generation,
    /// Its answers are counted.
    pub(super) on_trial: bool,
    /// What of that was not told, and when the rest was, if it is to be told.
    untold: Option<(u64, Micros)>,
    pub(super) draining: bool,
    pub(super) drained: bool,
    pub(super) drain_waker: Option<Waker>,
    /// Something found the ring full and waits for room.
    pub(super) wants_room: bool,
    /// The slots whose bodies wait for room in the ring.
    pub(super) uploads: Line<u16>,
    /// Which descriptors are pieces of WebSockets' messages, of those that the worker may not have taken.
    messages: VecDeque<u64>,
    /// The slot of the last one.
    last_message: u16,
    /// Why nothing of the channel is used any more.
    pub(super) fault: Option<ChannelFault>,
    /// The same, not yet acted upon.
    pub(super) fault_found: Option<ChannelFault>,
    pub(super) last_look: LastLook,
    /// What the front holds of responses.
    buffered: Arc<Buffered>,
    pub(super) descriptors: Arc<Descriptors>,
    /// The memory for bodies was in use since it was looked at last.
    had_bodies: bool,
    /// Whose responses may lie in the ring still.
    pub(super) untaken: Vec<Arc<Exchange>>,
    /// Suspects that need not be kept apart any more; the dispatcher has not been told.
    pub(super) cleared: Vec<RequestId>,
}

#[derive(Default)]
pub(super) struct Slot {
    pub(super) generation: u32,
    pub(super) exchange: Option<Arc<Exchange>>,
    /// Where the request's body lies, if that is in the channel's memory.
    pub(super) body: Option<BodyPlace>,
    /// When it was sent, or first seen running.
    pub(super) since: Micros,
    pub(super) seen_running: bool,
    /// When it was looked whether it runs too long.
    pub(super) looked_at: Micros,
    /// The request was answered 504 already.
    pub(super) stuck: bool,
    /// The response has begun.
    pub(super) answered: bool,
    pub(super) overtime: Overtime,
    /// How it was told to stop.
    pub(super) interrupt: Interrupt,
    /// Descriptors that had been sent to the worker before it.
    pub(super) sent: u64,
    /// It may have ended another worker, and is kept apart from others like it.
    pub(super) suspect: Option<RequestId>,
    /// What only the front may write, or may only grow; see [`super::fault`].
    pub(super) seen: Seen,
}

/// How a worker was told that a request shall stop: with it one sees whether it has heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Interrupt {
    /// The number of the interrupt.
    pub(super) number: u32,
    /// Descriptors that had been sent to the worker then.
    pub(super) sent: u64,
}

/// What became of a request that was to go to a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Push {
    Done,
    /// The worker has no room for it now: no slot, no space in the ring, or none for its body or file. All of
    /// that comes back with what the worker takes or finishes.
    NoRoom,
    /// It is larger than the channel ever takes.
    TooLarge,
    /// It was made ready for the other interface: a reload came between.
    Foreign,
    /// The channel cannot be used any more.
    Broken(ChannelFault),
}

impl Link {
    pub(super) fn new(
        id: WorkerId,
        worker: NewWorker,
        on_trial: bool,
        (buffered, descriptors): (&Arc<Buffered>, &Arc<Descriptors>),
    ) -> Self {
        let count = worker.channel.slots.count();
        Self {
            id,
            pid: worker.pid,
            channel: worker.channel,
            interface: worker.interface,
            capacity: worker.capacity,
            slots: (0..count).map(|_| Slot::default()).collect(),
            given_up: 0,
            intake: Intake::default(),
            free: (0..count).rev().collect(),
            late: Vec::new(),
            requests_max: (worker.requests_max != 0).then_some(worker.requests_max),
            requests_left: None,
            served: 0,
            busy_us: 0,
            by_route: ByRoute::default(),
            blocked_by: None,
            generation: worker.generation,
            on_trial,
            untold: worker.tells_served.then_some((0, 0)),
            draining: false,
            drained: false,
            drain_waker: None,
            wants_room: false,
            uploads: Line::default(),
            messages: VecDeque::new(),
            last_message: 0,
            fault: None,
            fault_found: None,
            last_look: LastLook::default(),
            buffered: Arc::clone(buffered),
            descriptors: Arc::clone(descriptors),
            had_bodies: false,
            untaken: Vec::new(),
            cleared: Vec::new(),
        }
    }

    /// Clients' requests come from now on; what it was warmed up with does not count.
    pub(super) fn open(&mut self) {
        self.requests_left = self.requests_max;
        self.served = 0;
    }

    /// Requests it has.
    pub(super) fn in_use(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Requests it has that are expected to end.
    pub(super) fn live(&self) -> usize {
        self.in_use().saturating_sub(self.given_up)
    }

    /// A request is not expected to end any more.
    pub(super) const fn count_given_up(&mut self) {
        self.given_up += 1;
    }

    /// Whether a slot is still at this use.
    pub(super) fn holds(&self, slot: u16, generation: u32) -> bool {
        self.slots
            .get(usize::from(slot))
            .is_some_and(|entry| entry.generation == generation && entry.exchange.is_some())
    }

    pub(super) fn exchange(&self, slot: u16, generation: u32) -> Option<&Arc<Exchange>> {
        let entry = self.slots.get(usize::from(slot))?;
        if entry.generation == generation { entry.exchange.as_ref() } else { None }
    }

    /// Sends a request, with the file that its body may lie in.
    pub(super) fn push_request(
        &mut self,
        exchange: &Arc<Exchange>,
        arrived: Micros,
        now: Micros,
    ) -> Push {
        let flags = exchange.outgoing.flags;
        let needs = match (flags.has(Flags::WEBSOCKET), flags.has(Flags::BODY_FILE)) {
            // Spoken by the application itself.
            (true, true) => Some(Interface::Wsgi),
            (true, false) => Some(Interface::Asgi),
            (false, _) => flags.has(Flags::BODY_STREAM).then_some(Interface::Asgi),
        };
        if needs.is_some_and(|needed| needed != self.interface) {
            return Push::Foreign;
        }
        if let Some(fault) = self.fault {
            return Push::Broken(fault);
        }
        let Some(slot) = self.free.pop() else {
            self.wants_room = true;
            return Push::NoRoom;
        };
        let generation = self.slots[usize::from(slot)].generation.wrapping_add(1);
        let sent = self.channel.requests.sent();
        let body = match self.send_request(&exchange.outgoing, slot, generation) {
            Ok(body) => body,
            Err(reason) => {
                self.free.push(slot);
                return match reason {
                    NotSent::TooLarge => Push::TooLarge,
                    reason => ChannelFault::of(reason).map_or(Push::NoRoom, Push::Broken),
                };
            }
        };
        // Of a body that streams, the first part has gone with the request.
        let streams = flags.has(Flags::BODY_STREAM);
        let first = if streams { exchange.outgoing.body.len() as u64 } else { 0 };
        self.slots[usize::from(slot)] = Slot {
            generation,
            exchange: Some(Arc::clone(exchange)),
            body,
            since: now,
            sent,
            suspect: exchange.suspect(),
            seen: Seen::sent(first),
            ..Slot::default()
        };
        let location = Location::Worker { id: self.id, slot, generation };
        let runs_ahead = self.interface == Interface::Wsgi && !flags.has(Flags::WEBSOCKET);
        let ahead = runs_ahead.then_some(&self.buffered);
        let advance = exchange.set_at_worker((arrived, now), location, self.pid, ahead);
        if advance != 0 {
            self.give_credit(slot, generation, advance);
        }
        Push::Done
    }

    /// Sends a request in a slot; returns where its body lies, if that is in the channel's memory.
    fn send_request(
        &mut self,
        outgoing: &Outgoing,
        slot: u16,
        generation: u32,
    ) -> Result<Option<BodyPlace>, NotSent> {
        let body = match self.carry(outgoing) {
            Ok(body) => body,
            Err(reason) => {
                if reason.is_for_now() {
                    self.wants_room = true;
                    let _ = self.channel.requests.starve();
                }
                return Err(reason);
            }
        };
        let sent = loop {
            let sent = self.send_carried(outgoing, &body, slot, generation);
            if !sent.is_err_and(NotSent::is_for_now) {
                break sent;
            }
            // The worker tells when it has taken something, so that waiting requests are placed then. If it
            // has done so before it could hear of this, there is room now.
            self.wants_room = true;
            if self.channel.requests.starve() || sent != Err(NotSent::NoSpace) {
                break sent;
            }
        };
        if let (Err(_), Some(place)) = (sent, body.place()) {
            self.channel.bodies.free(place);
        }
        sent.map(|()| body.place())
    }

    /// Puts a request's body where the worker can read it.
    fn carry<'a>(&mut self, outgoing: &'a Outgoing) -> Result<Carried<'a>, NotSent> {
        let body = &outgoing.body;
        if let Some(file) = &outgoing.file {
            // Let go of, it was answered: only a worker that breaks its channel can make it seem unstarted.
            return file.get().map(Carried::File).ok_or(NotSent::TooLarge);
        }
        if body.len() <= INLINE_BYTES_MAX {
            return Ok(Carried::Payload(body));
        }
        if let Some(place) = self.put(body) {
            return Ok(Carried::Placed(place));
        }
        // Only what the worker would begin at once is worth a file of its own; an event loop copies what it has.
        if self.interface == Interface::Asgi || self.in_use() > self.capacity {
            return Err(NotSent::NoSpace);
        }
        memfd(body).map(Carried::NewFile).map_err(|_| NotSent::NoSpace)
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

    fn send_carried(
        &mut self,
        outgoing: &Outgoing,
        body: &Carried<'_>,
        slot: u16,
        generation: u32,
    ) -> Result<(), NotSent> {
        let channel = &mut self.channel;
        channel.slots.begin(slot, generation);
        let (flags, head_len) = (outgoing.flags.with(body.flags()), outgoing.payload.len());
        let descriptor = Descriptor::new(Kind::Request, flags, slot, generation, head_len as u64);
        channel.requests.begin_batch();
        let len = head_len + body.len();
        let fill = |into: &mut [u8]| {
            let (head, rest) = into.split_at_mut(head_len);
            head.copy_from_slice(&outgoing.payload);
            body.fill(rest);
        };
        match body.file() {
            None => channel.requests.send(descriptor, len, fill),
            Some(file) => {
                let with = (&channel.files_out, file.as_fd());
                channel.requests.send_with_file(with, descriptor, len, fill)
            }
        }
    }

    /// Sends a piece of a WebSocket's message, if not too many of them wait for the worker.
    pub(super) fn push_message(
        &mut self,
        descriptor: Descriptor,
        payload: &[u8],
    ) -> Result<(), NotSent> {
        while self.messages_ahead() >= MESSAGES_AHEAD_MAX {
            self.wants_room = true;
            if self.channel.requests.starve() {
                return Err(NotSent::NoSpace);
            }
        }
        let number = self.channel.requests.sent();
        let sent = self.push(descriptor, payload);
        if sent.is_ok() {
            self.messages.push_back(number);
            self.last_message = descriptor.slot;
        }
        sent
    }

    /// Pieces of WebSockets' messages that the worker has not taken.
    fn messages_ahead(&mut self) -> usize {
        if self.messages.len() >= MESSAGES_AHEAD_MAX {
            let (taken, _) = self.channel.requests.taken();
            let left = self.messages.partition_point(|number| *number < taken);
            self.messages.drain(..left);
        }
        self.messages.len()
    }

    /// Sends a descriptor with a payload. What finds no room is woken when there is some.
    pub(super) fn push(&mut self, descriptor: Descriptor, payload: &[u8]) -> Result<(), NotSent> {
        let requests = &mut self.channel.requests;
        loop {
            let sent =
                requests.send(descriptor, payload.len(), |into| into.copy_from_slice(payload));
            match sent {
                Err(NotSent::NoSpace) if !requests.starve() => {}
                Err(NotSent::NoSpace) => {
                    self.wants_room = true;
                    return sent;
                }
                sent => return sent,
            }
        }
    }

    /// Sends a descriptor without payload, sooner or later.
    pub(super) fn control(&mut self, descriptor: Descriptor) {
        if !self.late.is_empty() || self.push(descriptor, &[]) == Err(NotSent::NoSpace) {
            self.late.push(descriptor);
        }
        if self.late.len() > LATE_PER_SLOT_MAX * self.slots.len() {
            // It asks for more credits than it can wait for.
            self.late.clear();
            self.fault_found = Some(ChannelFault::Flood);
        }
        self.channel.flush();
    }

    /// There may be room in the ring again.
    pub(super) fn after_room(&mut self, wakers: &mut Vec<Waker>) {
        if std::mem::take(&mut self.wants_room) {
            for descriptor in std::mem::take(&mut self.late) {
                self.control(descriptor);
            }
            // Behind whoever had the last turn, so that all get theirs.
            let turn = (usize::from(self.last_message) + 1).min(self.slots.len());
            let (before, behind) = self.slots.split_at(turn);
            let exchanges = behind.iter().chain(before).filter_map(|slot| slot.exchange.as_ref());
            let sockets =
                exchanges.filter(|exchange| exchange.outgoing.flags.has(Flags::WEBSOCKET));
            wakers.extend(sockets.filter_map(|exchange| exchange.take_upload_waker()));
        }
        self.call_uploads(wakers);
    }

    /// Wakes those whose turn it is to send a piece of a body, unless there is no room for any.
    pub(super) fn call_uploads(&mut self, wakers: &mut Vec<Waker>) {
        if self.uploads.is_empty() || self.wants_room {
            return;
        }
        let Self { uploads, slots, .. } = self;
        let exchanges =
            uploads.call().filter_map(|slot| slots[usize::from(slot)].exchange.as_ref());
        wakers.extend(exchanges.filter_map(|exchange| exchange.take_upload_waker()));
    }

    /// A piece of a body was sent: others may have room for theirs too.
    pub(super) fn had_turn(&mut self, slot: u16, wakers: &mut Vec<Waker>) {
        if !self.uploads.is_empty() {
            self.uploads.sent(slot);
            self.call_uploads(wakers);
        }
    }

    /// A body is not sent any more: nobody waits behind it.
    pub(super) fn leave_line(&mut self, slot: u16, wakers: &mut Vec<Waker>) {
        if !self.uploads.is_empty() {
            self.uploads.leave(slot);
            self.call_uploads(wakers);
        }
    }

    /// Tells the application that its client is gone.
    pub(super) fn tell_gone(&mut self, slot: u16, generation: u32) {
        let wait = self.channel.slots.set_gone(slot);
        let flags = Flags::NONE;
        if self.interface == Interface::Asgi {
            self.control(Descriptor::new(Kind::Disconnect, flags, slot, generation, 0));
        } else if wait == CreditWait::Descriptor {
            self.control(Descriptor::new(Kind::Credit, flags, slot, generation, 0));
        }
    }

    /// The client's side took `bytes` more of a response: who waits for that in an event loop or a
    /// hub is told.
    pub(super) fn give_credit(&mut self, slot: u16, generation: u32, bytes: u64) {
        if let Some(entry) = self.slots.get_mut(usize::from(slot)) {
            entry.seen.response_taken += bytes;
        }
        if self.channel.slots.response_took(slot, bytes) == CreditWait::Descriptor {
            let flags = Flags::NONE;
            self.control(Descriptor::new(Kind::Credit, flags, slot, generation, 0));
        }
    }

    /// Takes an unstarted request back and frees its slot.
    pub(super) fn reclaim(&mut self, slot: u16, generation: u32) -> bool {
        let reclaimed =
            self.holds(slot, generation) && self.channel.slots.reclaim(slot, generation);
        if reclaimed && let Some(exchange) = self.free_slot(slot) {
            exchange.set_nowhere();
        }
        reclaimed
    }

    /// Frees a slot. What becomes of its exchange is the caller's business.
    pub(super) fn free_slot(&mut self, slot: u16) -> Option<Arc<Exchange>> {
        let entry = &mut self.slots[usize::from(slot)];
        let exchange = entry.exchange.take()?;
        self.cleared.extend(entry.suspect.take());
        if let Some(place) = entry.body.take() {
            self.channel.bodies.free(place);
            self.had_bodies = true;
        }
        if entry.overtime.is_given_up() {
            self.given_up -= 1;
        }
        self.uploads.leave(slot);
        self.free.push(slot);
        Some(exchange)
    }

    /// Tells the dispatcher of suspects that need not be kept apart any more. Returns whether there were any.
    pub(super) fn tell_cleared(&mut self, dispatch: &mut Dispatch) -> bool {
        let has_any = !self.cleared.is_empty();
        let id = self.id;
        self.cleared.drain(..).for_each(|request| dispatch.cleared(id, request));
        has_any
    }

    /// Gives memory back that no body has needed since the last look.
    pub(super) fn trim_bodies(&mut self) {
        let bodies = &mut self.channel.bodies;
        if bodies.used() == 0 && !std::mem::take(&mut self.had_bodies) {
            bodies.give_back(KEPT_BYTES);
        }
    }

    /// Takes back up to `most` unstarted requests, the one sent last first.
    pub(super) fn take_back(&mut self, most: usize) -> Vec<Arc<Exchange>> {
        let mut queued: Vec<(Micros, u16, u32)> = (0u16..)
            .zip(&self.slots)
            .filter(|(slot, entry)| {
                entry.exchange.is_some()
                    && self.channel.slots.state(*slot, entry.generation) == SlotState::Queued
            })
            .map(|(slot, entry)| (entry.since, slot, entry.generation))
            .collect();
        queued.sort_unstable();
        let mut taken = Vec::new();
        for (_, slot, generation) in queued.into_iter().rev().take(most) {
            if self.channel.slots.reclaim(slot, generation)
                && let Some(exchange) = self.free_slot(slot)
            {
                exchange.set_lost();
                taken.push(exchange);
            }
        }
        taken
    }

    /// Takes out the requests that the worker has not even taken from the ring, and whose state says nothing
    /// any more.
    pub(super) fn untaken(&mut self) -> Vec<Arc<Exchange>> {
        if self.channel.requests.check().is_err() {
            return Vec::new();
        }
        let (taken, _) = self.channel.requests.taken();
        let is_lost = |(slot, entry): &(u16, &Slot)| {
            let state = self.channel.slots.state(*slot, entry.generation);
            entry.exchange.is_some()
                && entry.sent >= taken
                && !matches!(state, SlotState::Running | SlotState::Done)
        };
        let lost: Vec<u16> =
            (0u16..).zip(&self.slots).filter(is_lost).map(|(slot, _)| slot).collect();
        lost.into_iter().filter_map(|slot| self.free_slot(slot)).collect()
    }

    /// So many of its requests got a `504` instead of an answer.
    pub(super) fn counts_as_error(&self, trial: &mut Option<Trial>, requests: u64) {
        if let (true, Some(trial)) = (self.on_trial, trial) {
            trial.answers.all += requests;
            trial.answers.errors += requests;
        }
    }

    /// Its WebSockets, those included that are being opened.
    pub(super) fn sockets(&self) -> Vec<Arc<Exchange>> {
        let exchanges = self.slots.iter().filter_map(|slot| slot.exchange.as_ref());
        let is_socket = |exchange: &&Arc<Exchange>| exchange.outgoing.flags.has(Flags::WEBSOCKET);
        exchanges.filter(is_socket).cloned().collect()
    }

    /// It is looked at again after this time: what it does now it is taken to have done since.
    pub(super) fn was_seen(&mut self, since: Micros) {
        if self.in_use() > 0 {
            self.busy_us = self.busy_us.saturating_add(since);
        }
    }

    pub(super) fn load(&self) -> Load {
        Load {
            served: self.served,
            busy_us: self.busy_us,
            in_flight: self.in_use(),
            capacity: self.capacity,
            blocked: self.channel.control().blocked(),
            is_asgi: self.interface == Interface::Asgi,
        }
    }

    /// Counts finished requests; true once, when the last allowed one is reached.
    pub(super) fn count_requests(&mut self, finished: u64) -> bool {
        self.served += finished;
        let Some(left) = &mut self.requests_left else { return false };
        let used_up = *left <= finished;
        *left = left.saturating_sub(finished);
        if used_up {
            self.requests_left = None;
        }
        used_up
    }

    /// How many requests it has served, if that is wanted and news.
    pub(super) fn news_of_served(&mut self, finished: u64, now: Micros) -> Option<u64> {
        let (untold, told_at) = self.untold.as_mut()?;
        *untold += finished;
        if *untold < SERVED_NEWS_MIN || now.saturating_sub(*told_at) < SERVED_NEWS_PAUSE_US {
            return None;
        }
        (*untold, *told_at) = (0, now);
        Some(self.served)
    }

    /// The worker has ended: what it had not begun is told so; what it had begun is returned, for others to tell.
    pub(super) fn close(&mut self, now: Micros, wakers: &mut Vec<Waker>) -> Vec<Arc<Exchange>> {
        let mut lost = Vec::new();
        for slot in 0..self.channel.slots.count() {
            let generation = self.slots[usize::from(slot)].generation;
            let state = self.channel.slots.state(slot, generation);
            let since = self.slots[usize::from(slot)].since;
            let route = self.channel.slots.route(slot, generation);
            let Some(exchange) = self.free_slot(slot) else { continue };
            if route != 0 {
                exchange.set_route(RouteId::new(self.generation, route));
            }
            exchange.set_lost();
            if state == SlotState::Queued {
                wakers.extend(exchange.put(Event::WorkerLost { started: false }));
            } else {
                exchange.was_run_for(now.saturating_sub(since), now);
                lost.push(exchange);
            }
        }
        wakers.extend(self.drain_waker.take());
        lost
    }

    /// Whether something of the worker waits to be taken.
    pub(super) fn has_sent(&mut self) -> bool {
        !matches!(self.channel.responses.look(), Ok(false))
    }

    /// Says to the worker that the front sleeps; true if there is something to take first.
    pub(super) fn must_look(&mut self) -> bool {
        !matches!(self.channel.responses.prepare_sleep(), Ok(true))
    }
}
