//! Whether a request that lost its worker may be run again.

/// How often a started request is given to another worker when its worker dies.
pub const REPLAYS_MAX: u32 = 1;

/// What becomes of a request that lost its worker before anything of its answer was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Fate {
    /// It waits for another worker, first in line.
    Again,
    /// It may have had an effect: 502.
    Failed,
    /// It was in two workers that ended, and may be what ended them. It is not run a third time: 503.
    Poison,
}

/// One request's chances.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    is_idempotent: bool,
    replays: u32,
}

impl Replay {
    /// Of a request whose method may be repeated without further effect (RFC 9110, section 9.2.2), or may not.
    #[must_use]
    pub const fn new(is_idempotent: bool) -> Self {
        Self { is_idempotent, replays: 0 }
    }

    /// Its worker is gone, or gave it back unstarted. `body_is_held`: all of its body is still here.
    pub const fn lost(&mut self, started: bool, body_is_held: bool) -> Fate {
        if !started {
            return Fate::Again;
        }
        if self.replays >= REPLAYS_MAX {
            return Fate::Poison;
        }
        if !self.is_idempotent || !body_is_held {
            return Fate::Failed;
        }
        self.replays += 1;
        Fate::Again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_started_request_is_run_again_once_if_it_is_idempotent_and_its_body_is_here() {
        let mut get = Replay::new(true);
        assert_eq!(get.lost(false, true), Fate::Again);
        assert_eq!(get.lost(true, true), Fate::Again);
        assert_eq!(get.lost(true, true), Fate::Poison);
        assert_eq!(get.lost(true, true), Fate::Poison, "never a third time");
        assert_eq!(Replay::new(true).lost(true, false), Fate::Failed);
    }

    #[test]
    fn any_other_one_is_run_again_only_as_long_as_nobody_has_started_it() {
        let mut post = Replay::new(false);
        for _ in 0..10 {
            assert_eq!(post.lost(false, true), Fate::Again);
        }
        assert_eq!(post.lost(true, true), Fate::Failed);
    }
}
