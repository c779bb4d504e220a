//! Something that may happen often, told at once and then at most so often.

use crate::time::Micros;

/// How often it is told.
const TELL_INTERVAL_US: Micros = 10_000_000;

/// Something that may happen often.
#[derive(Clone, Debug, Default)]
pub struct Repeat {
    told_at: Option<Micros>,
    untold: u64,
}

impl Repeat {
    /// It happens. Says whether to tell it now, with how often it has happened since it was told.
    pub fn happens(&mut self, now: Micros) -> Option<u64> {
        if self.told_at.is_some_and(|at| now.saturating_sub(at) < TELL_INTERVAL_US) {
            self.untold += 1;
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_next_one_with_the_number_of_those_between() {
        let mut repeat = Repeat::default();
        assert_eq!(repeat.happens(5), Some(0));
        for at in 6..106 {
            assert_eq!(repeat.happens(at), None);
        }
        assert_eq!(repeat.happens(5 + TELL_INTERVAL_US), Some(100));
        assert_eq!(repeat.happens(5 + 3 * TELL_INTERVAL_US), Some(0));
    }
}
