//! The central queue: bounded by the caller, ordered by arrival, each request with a deadline.
//!
//! Suspects (see [`Standing`]) stand in a row of their own: few workers may take one, and nobody else
//! is to be looked for behind them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};

use super::affinity::Key;
use super::standing::Standing;
use crate::time::Micros;

/// A request as the shell names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u64);

#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    pub(super) request: RequestId,
    /// What it has in common with others that go to the same worker.
    pub(super) key: Option<Key>,
    pub(super) standing: Standing,
    pub(super) arrived: Micros,
    pub(super) deadline: Micros,
    /// Some worker took requests when it came.
    pub(super) had_worker: bool,
    /// How often a worker had begun to take requests then, when no other one did.
    pub(super) openings: u64,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    ordinary: VecDeque<Waiting>,
    suspects: VecDeque<Waiting>,
    /// How many have each key: those that may have to go to a certain worker.
    by_key: BTreeMap<Key, usize>,
    with_key: usize,
    /// How many of those are suspects.
    suspects_with_key: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.ordinary.len() + self.suspects.len()
    }

    /// Whether somebody who comes now may be placed past those who wait: each of them waits for certain
    /// workers only.
    pub(super) fn may_be_passed(&self) -> bool {
        self.ordinary.is_empty() || self.with_key > self.suspects_with_key
    }

    /// How many with a key wait, and how many of them with this one.
    pub(super) fn with_key(&self, key: Key) -> (usize, usize) {
        (self.with_key, self.by_key.get(&key).copied().unwrap_or_default())
    }

    fn count(&mut self, waiting: &Waiting) {
        let Some(key) = waiting.key else { return };
        self.with_key += 1;
        self.suspects_with_key += usize::from(waiting.standing == Standing::Suspect);
        *self.by_key.entry(key).or_default() += 1;
    }

    fn discount(&mut self, waiting: &Waiting) {
        let Some(key) = waiting.key else { return };
        self.with_key -= 1;
        self.suspects_with_key -= usize::from(waiting.standing == Standing::Suspect);
        if let Entry::Occupied(mut entry) = self.by_key.entry(key) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }

    fn row_mut(&mut self, of: Standing) -> &mut VecDeque<Waiting> {
        match of {
            Standing::Ordinary => &mut self.ordinary,
            Standing::Suspect => &mut self.suspects,
        }
    }

    /// A row, first in line first.
    pub(super) fn row(&self, of: Standing) -> &VecDeque<Waiting> {
        match of {
            Standing::Ordinary => &self.ordinary,
            Standing::Suspect => &self.suspects,
        }
    }

    /// All that wait.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Waiting> {
        self.ordinary.iter_mut().chain(&mut self.suspects)
    }

    /// Puts a request that has just arrived behind all others.
    pub(super) fn push(&mut self, waiting: Waiting) {
        self.count(&waiting);
        self.ordinary.push_back(waiting);
    }

    /// Puts a request back to where it belongs: those that lost their worker together come back in
    /// any order, and the first in line must be the first to be due.
    pub(super) fn push_again(&mut self, waiting: Waiting) {
        self.count(&waiting);
        let row = self.row_mut(waiting.standing);
        let place = row.partition_point(|other| other.arrived < waiting.arrived);
        row.insert(place, waiting);
    }

    pub(super) fn take(&mut self, of: Standing, at: usize) -> Option<Waiting> {
        let row = self.row_mut(of);
        let waiting = if at == 0 { row.pop_front() } else { row.remove(at) }?;
        self.discount(&waiting);
        Some(waiting)
    }

    /// The first in line if its time is over. All have the same time limit and stand in the order
    /// of arrival, so whoever is first is due first.
    pub(super) fn pop_expired(&mut self, now: Micros) -> Option<Waiting> {
        let is_due = |waiting: &Waiting| waiting.deadline <= now;
        let due = |of: &Standing| self.row(*of).front().is_some_and(is_due);
        let of = [Standing::Suspect, Standing::Ordinary].into_iter().find(due)?;
        self.take(of, 0)
    }

    pub(super) fn remove(&mut self, request: RequestId) -> bool {
        [Standing::Ordinary, Standing::Suspect].into_iter().any(|of| {
            let place = self.row(of).iter().position(|waiting| waiting.request == request);
            place.is_some_and(|place| self.take(of, place).is_some())
        })
    }
}
