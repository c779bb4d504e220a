//! What the dispatcher knows of one worker.

use super::limits::DispatchLimits;
use super::queue::RequestId;
use super::standing::Standing;
use crate::time::Micros;

/// A new measurement weighs one part in so many.
const SERVICE_WEIGHT: u64 = 8;

#[derive(Debug)]
pub(super) struct Worker {
    /// Requests it can run at once.
    capacity: usize,
    /// Requests its ring has room for.
    slots: usize,
    /// Requests it has, running or queued ahead.
    pub(super) in_flight: usize,
    /// Moving average of the time it takes for a request, in sixteenths of a microsecond. `None`
    /// until the first one is done.
    service: Option<u64>,
    /// When it last finished something, or began to work.
    pub(super) progress_at: Micros,
    used: u64,
    /// It was reported as overdue since it last finished something.
    reported: bool,
    pub(super) draining: bool,
    /// Since when it does not take what is sent to it.
    pub(super) stalled: Option<Micros>,
    /// Its channel had no room for a request.
    pub(super) full: bool,
    /// The suspect that it has.
    pub(super) apart: Apart,
}

impl Worker {
    pub(super) const fn new(capacity: usize, slots: usize) -> Self {
        Self {
            capacity,
            slots,
            in_flight: 0,
            service: None,
            progress_at: 0,
            used: 0,
            reported: false,
            draining: false,
            stalled: None,
            full: false,
            apart: Apart::NONE,
        }
    }

    /// Requests queued ahead: those beyond what it can run at once.
    pub(super) const fn ahead(&self) -> usize {
        self.in_flight.saturating_sub(self.capacity)
    }

    /// Whether it may be given one more, when `ahead_us` of its work may be queued ahead.
    pub(super) fn takes(&self, of: Standing, limits: &DispatchLimits, ahead_us: Micros) -> bool {
        !self.draining
            && self.stalled.is_none()
            && !self.full
            && self.in_flight < self.slots
            && self.in_flight < self.capacity + self.depth(limits, ahead_us)
            && (of == Standing::Ordinary || self.keeps_apart())
    }

    /// Whether a suspect that it is given now is run beside no other one.
    const fn keeps_apart(&self) -> bool {
        self.capacity <= 1 || self.apart.is_free()
    }

    /// How many requests may be queued ahead at it.
    fn depth(&self, limits: &DispatchLimits, ahead_us: Micros) -> usize {
        let Some(service) = self.service else { return 0 };
        let depth = ahead_us * 16 / service.max(1);
        usize::try_from(depth).unwrap_or(usize::MAX).min(limits.queue_ahead_requests_max)
    }

    /// Whether it is the better choice: a lower share of its capacity in flight, then the one used
    /// last.
    pub(super) const fn before(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.in_flight * other.capacity, other.in_flight * self.capacity);
        mine < theirs || (mine == theirs && self.used > other.used)
    }

    pub(super) const fn assign(&mut self, now: Micros, use_number: u64) {
        if self.in_flight == 0 {
            self.progress_at = now;
        }
        self.in_flight += 1;
        self.used = use_number;
    }

    pub(super) fn finished(&mut self, count: usize, now: Micros) {
        if count == 0 {
            return;
        }
        // Requests run at most `capacity` at a time, so a batch took that many times its share.
        let at_once = self.in_flight.min(self.capacity).max(1) as u64;
        let took = now.saturating_sub(self.progress_at) * 16 * at_once / count as u64;
        self.service = Some(match self.service {
            None => took,
            Some(before) => {
                // A batch counts as often as it has requests, up to replacing the average.
                let weight = (count as u64).min(SERVICE_WEIGHT);
                (before * (SERVICE_WEIGHT - weight) + took * weight) / SERVICE_WEIGHT
            }
        });
        self.in_flight = self.in_flight.saturating_sub(count);
        self.progress_at = now;
        self.reported = false;
        self.stalled = None;
        self.full = false;
    }

    /// Whether it could run one more request at once, or finished one of late.
    pub(super) const fn moves(&self, now: Micros, within_us: Micros) -> bool {
        let recent = now.saturating_sub(self.progress_at) < within_us;
        !self.draining && (self.in_flight < self.capacity || recent)
    }

    /// Whether requests are queued ahead at it that should not wait for it any longer.
    pub(super) const fn is_overdue(&self, now: Micros, after_us: Micros) -> bool {
        !self.reported && self.ahead() != 0 && now.saturating_sub(self.progress_at) >= after_us
    }

    /// Takes the worker as slow.
    pub(super) fn turn_slow(&mut self, at_least_us: Micros) {
        self.reported = true;
        let slow = at_least_us * 16;
        self.service = Some(self.service.unwrap_or(0).max(slow));
    }
}

/// The suspect that a worker has, if any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Apart(Option<RequestId>);

impl Apart {
    pub(super) const NONE: Self = Self(None);

    pub(super) const fn is_free(self) -> bool {
        self.0.is_none()
    }

    pub(super) const fn begins(&mut self, request: RequestId) {
        self.0 = Some(request);
    }

    /// That request is at the worker no longer, or is no suspect any more.
    pub(super) fn ends(&mut self, request: RequestId) {
        self.0.take_if(|suspect| *suspect == request);
    }
}
