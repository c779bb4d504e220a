//! The central queue: bounded by the caller, ordered by arrival, each request with a deadline.

use std::collections::VecDeque;

use super::Micros;

/// A request as the shell names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) request: RequestId,
    pub(super) arrived: Micros,
    pub(super) deadline: Micros,
}

#[derive(Debug, Default)]
pub(super) struct Queue(VecDeque<Waiting>);

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.0.push_back(waiting);
    }

    /// Puts a request back to where it belongs: those that lost their worker together come back in
    /// any order, and the first in line must be the first to be due.
    pub(super) fn push_again(&mut self, waiting: Waiting) {
        let place = self.0.partition_point(|other| other.arrived < waiting.arrived);
        self.0.insert(place, waiting);
    }

    pub(super) fn pop(&mut self) -> Option<RequestId> {
        self.0.pop_front().map(|waiting| waiting.request)
    }

    /// The first in line if its time is over. All have the same time limit and stand in the order
    /// of arrival, so whoever is first is due first.
    pub(super) fn pop_expired(&mut self, now: Micros) -> Option<RequestId> {
        let first = self.0.front()?;
        if first.deadline > now {
            return None;
        }
        self.pop()
    }

    pub(super) fn remove(&mut self, request: RequestId) -> bool {
        let Some(place) = self.0.iter().position(|waiting| waiting.request == request) else {
            return false;
        };
        self.0.remove(place);
        true
    }
}
