//! An operator's pause, as the front makes it.

use indrik_core::ids::WorkerId;
use indrik_core::time::Micros;

use super::Front;

impl Front {
    pub(crate) fn is_held(&self) -> bool {
        self.pauses.last().is_some_and(|(_, end)| end.is_none())
    }

    /// Nothing is begun any more: what lies unstarted in rings comes back.
    pub(crate) fn hold_all(&mut self) {
        self.pauses.push((self.now, None));
        self.dispatch.hold(self.now);
        let ids: Vec<WorkerId> = self.workers.keys().copied().collect();
        ids.into_iter().for_each(|id| self.take_back(id, usize::MAX));
    }

    pub(crate) fn release_all(&mut self) {
        if let Some((_, end @ None)) = self.pauses.last_mut() {
            *end = Some(self.now);
            self.dispatch.release(self.now);
            self.place_waiting();
        }
    }

    /// How much of the time since then nothing was begun.
    pub(crate) fn held_since(&self, arrived: Micros) -> Micros {
        let of = |(from, to): &(Micros, Option<Micros>)| {
            to.unwrap_or(self.now).saturating_sub(arrived.max(*from))
        };
        self.pauses.iter().map(of).sum()
    }
}
