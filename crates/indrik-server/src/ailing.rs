//! The way of what fails, while requests are served on, from whoever sees it to the loop: any thread says it, the
//! loop hears its bell and takes it. How long it is told is decided by `indrik_core::supervise`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use indrik_core::supervise::Ailment;
use indrik_sys::bell::Bell;
use parking_lot::Mutex;

/// The loop hears of the same thing at most so often, however often it fails.
const TELL_INTERVAL: Duration = Duration::from_secs(1);

/// What fails; shared by all who see something.
#[derive(Debug, Default)]
pub(crate) struct Ailing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    bell: Option<Arc<Bell>>,
    /// By number of the ailment.
    of: [Known; Ailment::ALL.len()],
}

#[derive(Debug, Default)]
struct Known {
    told_at: Option<Instant>,
    /// What the loop has not taken.
    why: Option<String>,
}

impl Ailing {
    /// Rings this bell from now on.
    pub(crate) fn wake(&self, bell: &Arc<Bell>) {
        let mut state = self.0.lock();
        state.bell = Some(Arc::clone(bell));
        if state.of.iter().any(|known| known.why.is_some()) {
            bell.ring();
        }
    }

    /// Something fails. `why` is made only if the loop is to hear of it.
    pub(crate) fn sees(&self, ailment: Ailment, why: impl FnOnce() -> String) {
        let (mut state, now) = (self.0.lock(), Instant::now());
        let known = &mut state.of[ailment as usize];
        if known.told_at.is_some_and(|at| now < at + TELL_INTERVAL) {
            return;
        }
        known.told_at = Some(now);
        known.why = Some(why());
        if let Some(bell) = &state.bell {
            bell.ring();
        }
    }

    /// What was seen since the last time: each ailment once at most.
    pub(crate) fn take(&self) -> Vec<(Ailment, String)> {
        let mut state = self.0.lock();
        let of = Ailment::ALL.into_iter().zip(&mut state.of);
        of.filter_map(|(ailment, known)| Some((ailment, known.why.take()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_hears_once_of_what_fails_a_thousand_times() {
        let ailing = Ailing::default();
        for number in 0..1_000 {
            ailing.sees(Ailment::LogLost, || format!("failure {number}"));
        }
        ailing.sees(Ailment::BodiesUnstored, || "no room".to_owned());
        let taken = ailing.take();
        assert_eq!(taken[0], (Ailment::BodiesUnstored, "no room".to_owned()));
        assert_eq!((taken.len(), taken[1].0), (2, Ailment::LogLost));
        assert!(ailing.take().is_empty());
    }
}
