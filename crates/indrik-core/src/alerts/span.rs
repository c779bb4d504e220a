//! Looks of the last so many seconds, few and evenly spread: the first one is what the newest is compared with.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use super::counted::Counted;

/// Steps of a window; so many looks and two are kept.
const STEPS: u32 = 30;

/// The looks of one window.
#[derive(Clone, Debug)]
pub(super) struct Span {
    window: Duration,
    looks: VecDeque<(Duration, Arc<Counted>)>,
}

impl Span {
    pub(super) fn new(window: Duration) -> Self {
        Self { window, looks: VecDeque::new() }
    }

    pub(super) fn window(&self) -> Duration {
        self.window
    }

    /// Takes the newest look, and forgets those that are too old.
    pub(super) fn push(&mut self, at: Duration, now: &Arc<Counted>) {
        if self.looks.back().is_some_and(|(_, before)| now.is_behind(before)) {
            self.looks.clear();
        }
        let step = self.window / STEPS;
        if self.looks.back().is_none_or(|(last, _)| at >= *last + step) {
            self.looks.push_back((at, Arc::clone(now)));
        }
        // The first one is to be as old as the window, or as old as there are looks.
        while self.looks.get(1).is_some_and(|(second, _)| *second + self.window <= at) {
            self.looks.pop_front();
        }
    }

    /// The look to compare with, and how long it is ago; `None`: there is none yet.
    pub(super) fn first(&self, at: Duration) -> Option<(&Counted, f64)> {
        let (then, first) = self.looks.front()?;
        let seconds = at.saturating_sub(*then).as_secs_f64();
        (seconds > 0.0).then_some((first, seconds))
    }

    /// By how much a value has grown each second, by least squares; `None`: that cannot be told.
    pub(super) fn slope(&self, of: impl Fn(&Counted) -> Option<f64>) -> Option<f64> {
        let point = |(at, look): &(Duration, Arc<Counted>)| Some((at.as_secs_f64(), of(look)?));
        let points: Vec<(f64, f64)> = self.looks.iter().filter_map(point).collect();
        let count = points.len() as f64;
        let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
        let (at, value) = (mean(|it| it.0), mean(|it| it.1));
        let along: f64 = points.iter().map(|it| (it.0 - at).powi(2)).sum();
        let both: f64 = points.iter().map(|it| (it.0 - at) * (it.1 - value)).sum();
        (along > 0.0).then(|| both / along)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.looks.len()
    }
}
