//! How much may be said on a lane, or to the supervisor: so many messages a second, and as many at once after a pause.

use crate::time::Micros;

/// What a worker may say in a second.
const PER_SECOND: u64 = 10_000;
/// A message of more bytes than this counts as several.
const UNIT_BYTES: u64 = 1024;
const SECOND_US: u64 = 1_000_000;

/// A bucket of messages that fills as time goes by.
#[derive(Clone, Copy, Debug)]
pub struct Allowance {
    per_second: u64,
    /// What is left, in millionths of a message.
    left: u64,
    at: Micros,
}

impl Allowance {
    /// What the front takes from a worker. More is a flood.
    #[must_use]
    pub const fn of_front(now: Micros) -> Self {
        Self { per_second: PER_SECOND, left: PER_SECOND * SECOND_US, at: now }
    }

    /// What the supervisor hears of a process: less, since it reads JSON, and does more with it.
    #[must_use]
    pub const fn of_supervisor(now: Micros) -> Self {
        let per_second = PER_SECOND / 5;
        Self { per_second, left: per_second * SECOND_US, at: now }
    }

    /// What a worker sends: half as much, so that an honest one is never taken for another.
    #[must_use]
    pub const fn of_worker(now: Micros) -> Self {
        let per_second = PER_SECOND / 2;
        Self { per_second, left: per_second * SECOND_US, at: now }
    }

    /// Takes a message of so many bytes off. False: it is too much.
    pub fn take(&mut self, bytes: usize, now: Micros) -> bool {
        let passed = now.saturating_sub(self.at).min(SECOND_US);
        self.at = self.at.max(now);
        self.left = (self.left + passed * self.per_second).min(self.per_second * SECOND_US);
        let cost = (1 + bytes as u64 / UNIT_BYTES) * SECOND_US;
        let is_enough = self.left >= cost;
        if is_enough {
            self.left -= cost;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    fn taken(allowance: &mut Allowance, bytes: usize, now: Micros) -> u64 {
        let mut taken = 0;
        while allowance.take(bytes, now) {
            taken += 1;
        }
        taken
    }

    #[test]
    fn a_second_gives_as_much_again_and_a_longer_pause_no_more() {
        let mut allowance = Allowance::of_front(5);
        assert_eq!(taken(&mut allowance, 16, 5), PER_SECOND);
        assert_eq!(taken(&mut allowance, 16, 5 + SECOND_US / 10), PER_SECOND / 10);
        assert_eq!(taken(&mut allowance, 16, 5 + 100 * SECOND_US), PER_SECOND);
        // A clock that goes back gives nothing.
        assert_eq!(taken(&mut allowance, 16, 0), 0);
    }

    #[test]
    fn large_messages_count_as_several() {
        let mut allowance = Allowance::of_front(0);
        let large = 64 * 1024;
        assert_eq!(taken(&mut allowance, large, 0), PER_SECOND / 65);
    }

    /// Messages that a lane's socket holds, more than the kernel's buffer does of the smallest.
    const SOCKET_MESSAGES_MAX: usize = 1024;

    proptest! {
        /// The front stands still for as long as it likes, and hears then what lies in the socket; the worker
        /// sends as much as it allows itself, and waits while there is no room.
        #[test]
        fn an_honest_worker_is_no_flood_after_any_pause_of_the_front(
            steps in prop::collection::vec((0u64..3 * SECOND_US, 0usize..6_000, 0usize..4096), 1..60),
        ) {
            let (mut worker, mut front) = (Allowance::of_worker(0), Allowance::of_front(0));
            let (mut socket, mut now) = (VecDeque::new(), 0);
            for (pause, messages, bytes) in steps {
                now += pause;
                for _ in 0..messages {
                    if socket.len() == SOCKET_MESSAGES_MAX {
                        for bytes in socket.drain(..) {
                            prop_assert!(front.take(bytes, now));
                        }
                    }
                    if !worker.take(bytes, now) {
                        break;
                    }
                    socket.push_back(bytes);
                }
            }
            for bytes in socket {
                prop_assert!(front.take(bytes, now));
            }
        }
    }

    #[test]
    fn what_a_worker_allows_itself_never_floods_the_front() {
        let (mut worker, mut front) = (Allowance::of_worker(0), Allowance::of_front(0));
        for step in 0..200_000u64 {
            let (sent, seen) = (step * 50, step * 50 + step % 7 * 10_000);
            if worker.take(200, sent) {
                assert!(front.take(200, seen), "at {sent} us");
            }
        }
    }
}
