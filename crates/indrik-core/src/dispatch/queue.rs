//! The central queue: bounded by the caller, ordered by arrival, each request with a deadline.

use std::collections::VecDeque;

use super::affinity::Key;
use crate::time::Micros;

/// A request as the shell names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) request: RequestId,
    /// What it has in common with others that go to the same worker.
    pub(super) key: Option<Key>,
    pub(super) arrived: Micros,
    pub(super) deadline: Micros,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Those that may have to go to a certain worker.
    with_key: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether some may have to go to a certain worker.
    pub(super) const fn has_keys(&self) -> bool {
        self.with_key != 0
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.with_key += usize::from(waiting.key.is_some());
        self.waiting.push_back(waiting);
    }

    /// Puts a request back to where it belongs: those that lost their worker together come back in
    /// any order, and the first in line must be the first to be due.
    pub(super) fn push_again(&mut self, waiting: Waiting) {
        let place = self.waiting.partition_point(|other| other.arrived < waiting.arrived);
        self.with_key += usize::from(waiting.key.is_some());
        self.waiting.insert(place, waiting);
    }

    /// The key of the request at this place.
    pub(super) fn key(&self, at: usize) -> Option<Key> {
        self.waiting.get(at)?.key
    }

    pub(super) fn take(&mut self, at: usize) -> Option<RequestId> {
        let waiting = if at == 0 { self.waiting.pop_front() } else { self.waiting.remove(at) }?;
        self.with_key -= usize::from(waiting.key.is_some());
        Some(waiting.request)
    }

    /// The first in line if its time is over. All have the same time limit and stand in the order
    /// of arrival, so whoever is first is due first.
    pub(super) fn pop_expired(&mut self, now: Micros) -> Option<RequestId> {
        let first = self.waiting.front()?;
        if first.deadline > now {
            return None;
        }
        self.take(0)
    }

    pub(super) fn remove(&mut self, request: RequestId) -> bool {
        let Some(place) = self.waiting.iter().position(|waiting| waiting.request == request) else {
            return false;
        };
        self.take(place).is_some()
    }
}
