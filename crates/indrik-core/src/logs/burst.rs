//! Something that many may do at once, told of so many in a second; the others are counted.

use crate::time::Micros;

/// So many are told of in a second.
const TOLD_PER_SECOND_MAX: u32 = 10;
const SECOND: Micros = 1_000_000;

/// Something that many may do at once.
#[derive(Clone, Debug, Default)]
pub struct Burst {
    began: Micros,
    told: u32,
    left_out: u64,
}

impl Burst {
    /// One does it. Says whether to tell of it now.
    pub fn happens(&mut self, now: Micros) -> bool {
        if self.told == 0 || now.saturating_sub(self.began) >= SECOND {
            (self.began, self.told) = (now, 0);
        }
        if self.told >= TOLD_PER_SECOND_MAX {
            self.left_out += 1;
            return false;
        }
        self.told += 1;
        true
    }

    /// How many were left out, once their second is over; to be told then.
    pub fn take_left_out(&mut self, now: Micros) -> Option<u64> {
        let is_over = now.saturating_sub(self.began) >= SECOND;
        (is_over && self.left_out > 0).then(|| std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_are_told_of_in_a_second_and_then_how_many_were_not() {
        let mut burst = Burst::default();
        let told = (0..100).filter(|at| burst.happens(*at)).count();
        assert_eq!(told, TOLD_PER_SECOND_MAX as usize);
        assert_eq!(burst.take_left_out(SECOND - 1), None);
        assert_eq!(burst.take_left_out(SECOND), Some(90));
        assert_eq!(burst.take_left_out(SECOND), None);
        assert!(burst.happens(SECOND));
        assert_eq!(burst.take_left_out(5 * SECOND), None);
    }
}
