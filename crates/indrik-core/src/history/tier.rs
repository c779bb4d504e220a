//! A ring of rows with one step of time.

use super::series::{COUNT, Fold, Row, Series, known};

/// The rows of the newest `len` steps. A step is named by its number since 1970.
#[derive(Clone, Debug)]
pub(super) struct Tier {
    step_ms: u64,
    len: usize,
    newest: Option<u64>,
    /// One ring for each series.
    cells: Vec<f32>,
    /// Numbers that the newest step's cell of each series stands for.
    folded: [u16; COUNT],
}

/// Equal in what they remember; a number that is missing equals one that is.
impl PartialEq for Tier {
    fn eq(&self, other: &Self) -> bool {
        let same = |(a, b): (&f32, &f32)| a == b || a.is_nan() && b.is_nan();
        (self.step_ms, self.len, self.newest) == (other.step_ms, other.len, other.newest)
            && self.cells.iter().zip(&other.cells).all(same)
    }
}

impl Tier {
    pub(super) fn new(step_ms: u64, len: usize) -> Self {
        Self { step_ms, len, newest: None, cells: vec![f32::NAN; len * COUNT], folded: [0; COUNT] }
    }

    pub(super) fn push(&mut self, at_ms: u64, row: &Row) {
        let step = at_ms / self.step_ms;
        self.move_to(step);
        for series in Series::ALL {
            let Some(value) = row.get(series) else { continue };
            let cell = self.cell(series, step);
            let before = self.cells[cell];
            let count = &mut self.folded[series as usize];
            *count = count.saturating_add(1);
            self.cells[cell] = match series.fold() {
                _ if before.is_nan() => value,
                Fold::Mean => before + (value - before) / f32::from((*count).max(2)),
                Fold::Peak => before.max(value),
                Fold::Low => before.min(value),
            };
        }
    }

    /// Makes this step the newest one; the steps between the last newest and it have no numbers.
    fn move_to(&mut self, step: u64) {
        let Some(newest) = self.newest.replace(step) else { return };
        if step == newest {
            return;
        }
        self.folded = [0; COUNT];
        // Ahead: what was skipped. Back: what the clock had been ahead.
        let between = if step > newest { newest + 1..step + 1 } else { step + 1..newest + 1 };
        if between.end - between.start >= self.len as u64 {
            self.cells.fill(f32::NAN);
            return;
        }
        for forgotten in between {
            for series in Series::ALL {
                let cell = self.cell(series, forgotten);
                self.cells[cell] = f32::NAN;
            }
        }
    }

    fn cell(&self, series: Series, step: u64) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "it is below `len`")]
        let at = (step % self.len as u64) as usize;
        series as usize * self.len + at
    }

    pub(super) fn step_ms(&self) -> u64 {
        self.step_ms
    }

    /// The numbers of a series for steps that begin in this span of time; missing is NaN.
    pub(super) fn column(&self, series: Series, from_ms: u64, until_ms: u64) -> Vec<f32> {
        let steps = from_ms.div_ceil(self.step_ms)..until_ms.div_ceil(self.step_ms);
        steps.map(|step| self.at(series, step)).collect()
    }

    fn at(&self, series: Series, step: u64) -> f32 {
        match self.newest {
            Some(newest) if step <= newest && newest - step < self.len as u64 => {
                self.cells[self.cell(series, step)]
            }
            Some(_) | None => f32::NAN,
        }
    }

    pub(super) fn peak(&self, series: Series) -> Option<f32> {
        let ring = &self.cells[series as usize * self.len..][..self.len];
        ring.iter().copied().filter(|value| !value.is_nan()).reduce(f32::max)
    }

    pub(super) fn bytes(&self) -> usize {
        self.cells.len() * size_of::<f32>()
    }

    /// Its newest step and what each series has, the ring as it lies.
    pub(super) fn parts(&self) -> (Option<u64>, impl Iterator<Item = (Series, &[f32])>) {
        let rings = Series::ALL.into_iter().zip(self.cells.chunks_exact(self.len));
        (self.newest, rings)
    }

    /// Sets what [`Self::parts`] gave. `ring` has this tier's length.
    pub(super) fn set_ring(
        &mut self,
        newest: Option<u64>,
        series: Series,
        ring: impl Iterator<Item = f32>,
    ) {
        self.newest = newest;
        let cells = &mut self.cells[series as usize * self.len..][..self.len];
        for (cell, value) in cells.iter_mut().zip(ring) {
            *cell = known(value);
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(tier: &mut Tier, at_ms: u64, value: f64) {
        let mut row = Row::default();
        for series in [Series::Requests, Series::P95, Series::WorkersReady] {
            row.set(series, value);
        }
        tier.push(at_ms, &row);
    }

    fn shown(tier: &Tier, series: Series, from: u64, until: u64) -> Vec<Option<f32>> {
        let column = tier.column(series, from, until);
        column.into_iter().map(|value| (!value.is_nan()).then_some(value)).collect()
    }

    #[test]
    fn numbers_of_one_step_become_mean_peak_or_low() {
        let mut tier = Tier::new(5_000, 4);
        for (at, value) in [(0, 1.0), (1_000, 2.0), (4_999, 6.0), (5_000, 4.0)] {
            push(&mut tier, at, value);
        }
        assert_eq!(shown(&tier, Series::Requests, 0, 10_000), [Some(3.0), Some(4.0)]);
        assert_eq!(shown(&tier, Series::P95, 0, 10_000), [Some(6.0), Some(4.0)]);
        assert_eq!(shown(&tier, Series::WorkersReady, 0, 10_000), [Some(1.0), Some(4.0)]);
        assert_eq!(shown(&tier, Series::Rss, 0, 10_000), [None, None]);
    }

    #[test]
    fn what_was_skipped_is_missing_and_the_oldest_goes() {
        let mut tier = Tier::new(1_000, 4);
        for (at, value) in [(10_000, 1.0), (11_000, 2.0), (13_000, 3.0)] {
            push(&mut tier, at, value);
        }
        let now = shown(&tier, Series::Requests, 9_000, 15_000);
        assert_eq!(now, [None, Some(1.0), Some(2.0), None, Some(3.0), None]);
        push(&mut tier, 14_000, 4.0);
        let now = shown(&tier, Series::Requests, 10_000, 15_000);
        assert_eq!(now, [None, Some(2.0), None, Some(3.0), Some(4.0)]);
        push(&mut tier, 1_000_000, 5.0);
        assert_eq!(shown(&tier, Series::Requests, 996_000, 1_001_000)[3..], [None, Some(5.0)]);
        assert_eq!(tier.peak(Series::Requests), Some(5.0));
    }

    #[test]
    fn a_clock_that_was_set_back_takes_its_lead_back() {
        let mut tier = Tier::new(1_000, 4);
        for (at, value) in [(10_000, 1.0), (12_000, 2.0), (11_000, 3.0)] {
            push(&mut tier, at, value);
        }
        let now = shown(&tier, Series::Requests, 10_000, 13_000);
        assert_eq!(now, [Some(1.0), Some(3.0), None]);
        push(&mut tier, 0, 4.0);
        assert_eq!(shown(&tier, Series::Requests, 0, 2_000), [Some(4.0), None]);
        assert_eq!(tier.peak(Series::Requests), Some(4.0));
        push(&mut tier, u64::MAX, 1.0);
        push(&mut tier, u64::MAX, 1.0);
    }
}
