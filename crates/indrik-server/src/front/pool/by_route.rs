//! How many requests of each route a worker has answered.

use indrik_core::lane::OTHER;

/// Routes that are told apart; those with a larger number count as [`OTHER`].
const ROUTES_MAX: u16 = 1_024;

/// Counts by the route's number.
#[derive(Debug, Default)]
pub(super) struct ByRoute(Vec<u64>);

impl ByRoute {
    /// One more.
    pub(super) fn count(&mut self, route: u16) {
        let at = usize::from(if route < ROUTES_MAX { route } else { OTHER });
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        self.0[at] += 1;
    }

    /// Each route that has any.
    pub(super) fn all(&self) -> Vec<(u16, u64)> {
        (0u16..).zip(self.0.iter().copied()).filter(|(_, count)| *count > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_counted_by_their_numbers_and_there_are_not_too_many() {
        let mut counts = ByRoute::default();
        for route in [0, 7, 7, 1_023, 1_024, u16::MAX] {
            counts.count(route);
        }
        assert_eq!(counts.all(), [(0, 1), (1, 2), (7, 2), (1_023, 1)]);
    }
}
