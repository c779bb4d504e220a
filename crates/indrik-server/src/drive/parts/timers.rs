//! The one table of what the loop has to do at a certain time.

use std::time::Instant;

/// What is done when its time has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The supervisor decides again.
    Supervisor,
    /// Signs of life are read.
    Life,
    /// What workers use of the machine is measured.
    Usage,
    /// The stacks that workers were asked for are there.
    Stacks,
    /// A worker that is looked into has had its time.
    Looks,
    /// It is looked at what the memory of workers grows with.
    Growth,
    /// Requests are counted, where that decides something.
    Requests,
    /// A log that could not be opened anew is tried again.
    Logs,
    /// The number of waiting requests is sent.
    Backlog,
    /// The service manager hears that this loop goes round.
    Watchdog,
    /// The server before this one hears that this one is on its way.
    Word,
    /// A client of the control socket has had its time.
    Control,
    /// What others see of the loop is shown anew.
    Look,
}

/// How many there are.
const TIMERS: usize = 13;

/// Their order: what is read comes before what is decided by it.
const ORDER: [Timer; TIMERS] = [
    Timer::Control,
    Timer::Life,
    Timer::Usage,
    Timer::Stacks,
    Timer::Looks,
    Timer::Growth,
    Timer::Requests,
    Timer::Watchdog,
    Timer::Word,
    Timer::Logs,
    Timer::Backlog,
    Timer::Supervisor,
    Timer::Look,
];

/// When each of them is due.
#[derive(Debug, Default)]
pub(crate) struct Timers([Option<Instant>; TIMERS]);

impl Timers {
    /// Sets the time, or that there is none.
    pub(crate) fn set(&mut self, timer: Timer, due: Option<Instant>) {
        self.0[timer as usize] = due;
    }

    /// When something is due next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.iter().copied().flatten().min()
    }

    /// Takes what is due at `now`, in the order in which it is to be done.
    pub(crate) fn take_due(&mut self, now: Instant) -> Vec<Timer> {
        let due = ORDER.into_iter();
        due.filter(|timer| self.0[*timer as usize].take_if(|due| *due <= now).is_some()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_due_is_taken_once_and_decided_last() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut timers = Timers::default();
        assert_eq!(timers.next(), None);
        timers.set(Timer::Supervisor, Some(at(1)));
        timers.set(Timer::Life, Some(at(2)));
        timers.set(Timer::Backlog, Some(at(3)));
        timers.set(Timer::Backlog, None);
        assert_eq!(timers.next(), Some(at(1)));
        assert_eq!(timers.take_due(start), []);
        assert_eq!(timers.take_due(at(5)), [Timer::Life, Timer::Supervisor]);
        assert_eq!(timers.take_due(at(5)), []);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn every_timer_has_its_place_in_the_order() {
        let mut places: Vec<usize> = ORDER.iter().map(|timer| *timer as usize).collect();
        places.sort_unstable();
        assert_eq!(places, (0..TIMERS).collect::<Vec<_>>());
    }
}
