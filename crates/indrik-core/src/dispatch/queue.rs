//! The central queue: bounded by the caller, ordered by arrival, each request with a deadline.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

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
    /// How many have each key: those that may have to go to a certain worker.
    by_key: BTreeMap<Key, usize>,
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

    /// How many with a key wait, and how many of them with this one.
    pub(super) fn with_key(&self, key: Key) -> (usize, usize) {
        (self.with_key, self.by_key.get(&key).copied().unwrap_or_default())
    }

    fn count(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.with_key += 1;
            *self.by_key.entry(key).or_default() += 1;
        }
    }

    fn discount(&mut self, key: Option<Key>) {
        let Some(key) = key else { return };
        self.with_key -= 1;
        if let Entry::Occupied(mut entry) = self.by_key.entry(key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.count(waiting.key);
        self.waiting.push_back(waiting);
    }

    /// Puts a request back to where it belongs: those that lost their worker together come back in
    /// any order, and the first in line must be the first to be due.
    pub(super) fn push_again(&mut self, waiting: Waiting) {
        let place = self.waiting.partition_point(|other| other.arrived < waiting.arrived);
        self.count(waiting.key);
        self.waiting.insert(place, waiting);
    }

    /// The key of the request at this place.
    pub(super) fn key(&self, at: usize) -> Option<Key> {
        self.waiting.get(at)?.key
    }

    pub(super) fn take(&mut self, at: usize) -> Option<RequestId> {
        let waiting = if at == 0 { self.waiting.pop_front() } else { self.waiting.remove(at) }?;
        self.discount(waiting.key);
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
