//! Looking for workers whose channel cannot be used any more.
//!
//! A worker can write every word of the memory, those too that only the front writes. What is read on a
//! request's way is checked there; here is looked, at every tick, for what nothing stumbles over: a worker
//! that hangs for a word of its own, a request that nobody can end any more.

use std::sync::Arc;
use std::task::Waker;

use indrik_core::time::Micros;
use indrik_ring::{Flags, SlotState, Violation};

use super::super::events::ChannelFault;
use super::super::exchange::{Event, Exchange};
use super::link::Link;
use super::placing::{Inner, Pool};

/// How often the slots of a worker are looked at.
const LOOK_PAUSE_US: Micros = 50_000;
/// A step of a coroutine that takes so long blocks the event loop.
const BLOCKED_MIN_US: Micros = 100_000;
/// One that is said to take longer is nonsense.
const BLOCKED_MAX_US: Micros = 24 * 3600 * 1_000_000;
/// How often those who wait for a worker are woken although it did not say that they may go on.
const NUDGE_PAUSE_US: Micros = 1_000_000;

impl Pool {
    /// Looks for what is wrong with the workers' memory, and helps those that wait for a word that may never
    /// come.
    pub(super) fn look_for_faults(&self, inner: &mut Inner, now: Micros) {
        let mut faults = Vec::new();
        let mut finished = Vec::new();
        let Inner { links, wakers, dispatch, .. } = &mut *inner;
        for (id, link) in links {
            if link.fault.is_some() {
                continue;
            }
            link.look_at_line(wakers);
            if link.wants_room {
                // Whether there is any now is seen when something is placed there.
                dispatch.makes_room(*id);
            }
            if let Err(fault) = link.look_at_memory(now) {
                faults.push((*id, fault));
                continue;
            }
            if link.last_look.slots_at != now {
                continue;
            }
            link.look_at_step();
            let unanswered = link.done_without_answer();
            link.tell_cleared(dispatch);
            if !unanswered.is_empty() {
                finished.push((*id, unanswered.len()));
            }
            for exchange in unanswered {
                let message = "the worker ended a request without an answer to it".into();
                let failed = Event::Failed { message, short: false };
                exchange.set_nowhere();
                wakers.extend(exchange.finish());
                wakers.extend(exchange.put(failed));
            }
            link.nudge(now, wakers);
        }
        for (id, count) in finished {
            inner.dispatch.finished(id, count, now);
            self.check_drained(inner, id);
        }
        for (id, fault) in faults {
            self.condemn(inner, id, fault, now);
        }
    }
}

impl Link {
    /// A coroutine that has taken one step for long blocks its event loop; code that keeps the interpreter's lock
    /// blocks all threads.
    fn look_at_step(&mut self) {
        let by = self.long_step().or_else(|| self.channel.control().blocked().by);
        if let Some(named) = by.and_then(|(slot, generation)| self.request_line(slot, generation)) {
            self.blocked_by = Some(named);
        }
    }

    /// The use of a slot whose request's coroutine has been on the event loop for long, without an await.
    pub(super) fn long_step(&self) -> Option<(u16, u32)> {
        let now_us = indrik_sys::clock::coarse_us();
        let step = self.channel.control().step().filter(|(_, since)| {
            (BLOCKED_MIN_US..BLOCKED_MAX_US).contains(&now_us.saturating_sub(*since))
        });
        step.map(|(of, _)| of)
    }

    /// Bodies that nobody sends any more, their answers being complete, hold up no others.
    fn look_at_line(&mut self, wakers: &mut Vec<Waker>) {
        if self.uploads.is_empty() {
            return;
        }
        for (slot, entry) in (0u16..).zip(&self.slots) {
            if entry.exchange.as_ref().is_none_or(|exchange| exchange.is_abandoned()) {
                self.uploads.leave(slot);
            }
        }
        self.call_uploads(wakers);
    }

    fn look_at_memory(&mut self, now: Micros) -> Result<(), ChannelFault> {
        if let Some(fault) = self.fault_found {
            return Err(fault);
        }
        self.channel.requests.check().map_err(ChannelFault::Memory)?;
        if now.saturating_sub(self.last_look.slots_at) < LOOK_PAUSE_US {
            return Ok(());
        }
        self.last_look.slots_at = now;
        let words = &self.channel.slots;
        for (slot, entry) in (0u16..).zip(&mut self.slots) {
            if entry.exchange.is_none() {
                continue;
            }
            let state = words.state(slot, entry.generation);
            let request_taken = words.request_taken(slot);
            let is_possible =
                matches!(state, SlotState::Queued | SlotState::Running | SlotState::Done)
                    && words.response_taken(slot) == entry.seen.response_taken
                    && (entry.seen.request_taken..=entry.seen.request_sent)
                        .contains(&request_taken);
            if !is_possible {
                return Err(ChannelFault::Memory(Violation::State));
            }
            entry.seen.request_taken = request_taken;
        }
        Ok(())
    }

    /// Takes out the requests that the worker says are over and whose answer is not there. An honest worker
    /// says it when the answer lies in the ring; so if that is empty, twice, none will come.
    fn done_without_answer(&mut self) -> Vec<Arc<Exchange>> {
        if self.in_use() == 0 || self.has_sent() {
            return Vec::new();
        }
        let mut over = Vec::new();
        for (slot, entry) in (0u16..).zip(&mut self.slots) {
            if entry.exchange.is_none() {
                continue;
            }
            let is_done = self.channel.slots.state(slot, entry.generation) == SlotState::Done;
            if std::mem::replace(&mut entry.seen.is_done, is_done) && is_done {
                over.push(slot);
            }
        }
        over.into_iter().filter_map(|slot| self.free_slot(slot)).collect()
    }

    /// Wakes a worker that leaves what is sent to it lying, whether or not it says that it sleeps; now and
    /// then also those who wait for it to take more of a body.
    fn nudge(&mut self, now: Micros, wakers: &mut Vec<Waker>) {
        let (taken, is_empty) = self.channel.requests.taken();
        if std::mem::replace(&mut self.last_look.taken, taken) == taken && !is_empty {
            let _ = self.channel.worker.ring();
        }
        if now.saturating_sub(self.last_look.nudged_at) < NUDGE_PAUSE_US {
            return;
        }
        self.last_look.nudged_at = now;
        self.after_room(wakers);
        let exchanges = self.slots.iter().filter_map(|slot| slot.exchange.as_ref());
        let streams = exchanges.filter(|exchange| {
            let flags = exchange.outgoing.flags;
            flags.has(Flags::BODY_STREAM) || flags.has(Flags::WEBSOCKET)
        });
        wakers.extend(streams.filter_map(|exchange| exchange.take_upload_waker()));
    }
}
