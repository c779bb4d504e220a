//! Pauses: while one lasts no request goes to a worker, and none has its waiting counted.

use std::collections::VecDeque;

use crate::time::Micros;

/// Pauses that are remembered. A request that waited through more is counted those for which the pause is forgotten.
const PAUSES_KEPT_MAX: usize = 8;

/// The pause that lasts, and those before it.
#[derive(Debug, Default)]
pub(super) struct Pauses {
    since: Option<Micros>,
    over: VecDeque<(Micros, Micros)>,
}

impl Pauses {
    pub(super) const fn is_on(&self) -> bool {
        self.since.is_some()
    }

    /// One begins, unless one lasts.
    pub(super) fn begin(&mut self, now: Micros) {
        self.since.get_or_insert(now);
    }

    /// It is over. False: none lasted.
    pub(super) fn end(&mut self, now: Micros) -> bool {
        let Some(since) = self.since.take() else { return false };
        if self.over.len() == PAUSES_KEPT_MAX {
            self.over.pop_front();
        }
        self.over.push_back((since, now.max(since)));
        true
    }

    /// How much of the time since then was in pauses that are over.
    pub(super) fn since(&self, arrived: Micros) -> Micros {
        let of = |(from, to): &(Micros, Micros)| to.saturating_sub(arrived.max(*from));
        self.over.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_of_a_pause_came_after_a_request_is_given_back_to_it() {
        let mut pauses = Pauses::default();
        pauses.begin(100);
        pauses.begin(150);
        assert!(pauses.is_on() && pauses.end(300) && !pauses.end(301));
        pauses.begin(400);
        assert!(pauses.end(450));
        for (arrived, held) in [(0, 250), (100, 250), (200, 150), (350, 50), (425, 25), (450, 0)] {
            assert_eq!(pauses.since(arrived), held, "{arrived}");
        }
    }

    #[test]
    fn no_more_pauses_are_remembered_than_may_be() {
        let mut pauses = Pauses::default();
        for at in 0..100 {
            pauses.begin(at * 10);
            pauses.end(at * 10 + 1);
        }
        assert_eq!(pauses.since(0), PAUSES_KEPT_MAX as Micros);
    }
}
