//! Handing the supervisor what happened, and doing what it decides about it.
//!
//! Whoever hears of something calls [`Drive::feed`]. What does something about it stands below, and leaves an event
//! behind instead (`Events::push`), which the supervisor gets when the effect before it has been performed.

use indrik_core::supervise::Event;

use super::parts::Drive;

impl Drive {
    /// Hands an event to the supervisor and performs everything that follows from it.
    pub(super) fn feed(&mut self, event: Event) {
        self.events.push(event);
        self.hand_on_events();
    }

    /// Hands on the events that performing something has left behind.
    pub(super) fn hand_on_events(&mut self) {
        while let Some(event) = self.events.pending.pop_front() {
            self.machine.handle(event, self.events.now());
            while let Some(effect) = self.machine.poll_effect() {
                self.perform(effect);
            }
        }
        self.show_standing();
        self.show_look_soon();
    }
}
