//! Adding up what stands in the tables of all processes, those that have ended included.
//!
//! What a process has counted is *folded* into a base when nobody can write to its table any more, and added anew to
//! that base at each look while it lives. So a total never goes back, whatever dies when.

use std::collections::{HashMap, HashSet};

use super::key::{family_shape, is_family, series_of};
use super::loss::{LOSSES, Loss};
use super::series::{Into, Series, Source};
use super::shape::Shape;
use super::shown;
use crate::metrics::Family;

/// Clashes that are told apart; beyond them they are not counted.
const CLASHES_MAX: usize = 1000;

/// A row of a table, as it was copied out.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The key.
    pub key: &'a [u8],
    /// What belongs to it.
    pub extra: &'a [u8],
    /// The bits of its values.
    pub cells: &'a [u64],
}

/// A family that is known.
struct Known {
    shape: Shape,
    generation: u64,
}

/// Everything the application has counted.
pub struct Totals {
    /// The label that tells processes apart.
    process: &'static str,
    series_max: usize,
    /// The newest generation that has the server for good.
    serving: u64,
    families: HashMap<Box<str>, Known>,
    series: HashMap<Box<[u8]>, Series>,
    clashes: HashSet<Box<str>>,
    /// For good.
    lost: [u64; LOSSES.len()],
    /// At this look.
    lost_now: [u64; LOSSES.len()],
}

impl Totals {
    /// Nothing yet; there will be at most so many series. `process` is the label that tells processes apart, where a
    /// metric is of each.
    #[must_use]
    pub fn new(series_max: usize, process: &'static str) -> Self {
        Self {
            process,
            series_max,
            serving: 0,
            families: HashMap::new(),
            series: HashMap::new(),
            clashes: HashSet::new(),
            lost: [0; LOSSES.len()],
            lost_now: [0; LOSSES.len()],
        }
    }

    /// From now on this generation says what a metric is. One that is newer may be given up yet: what it means by a name
    /// waits in its tables.
    pub fn serves(&mut self, generation: u64) {
        self.serving = self.serving.max(generation);
    }

    /// Whose word holds: that of the newest one that serves, and before any does, of the newest.
    const fn rank(&self, generation: u64) -> (bool, u64) {
        (generation <= self.serving, generation)
    }

    /// Changes the limit. What is there already stays.
    pub const fn limit(&mut self, series_max: usize) {
        self.series_max = series_max;
    }

    /// Begins a look: what lives will be added.
    pub fn begin(&mut self) {
        self.lost_now = [0; LOSSES.len()];
        for series in self.series.values_mut() {
            series.count.begin();
        }
    }

    /// Adds a living process to this look. Not `is_sound`: there was more, which made no sense.
    pub fn add(&mut self, source: Source, rows: &[Row<'_>], is_sound: bool) {
        self.take(source, rows, is_sound, Into::Now);
    }

    /// Keeps what a process has counted that nobody can change any more.
    pub fn fold(&mut self, source: Source, rows: &[Row<'_>], is_sound: bool) {
        self.take(source, rows, is_sound, Into::Base);
    }

    /// What could not be kept, as [`LOSSES`] are ordered.
    #[must_use]
    pub fn lost(&self) -> [u64; LOSSES.len()] {
        std::array::from_fn(|at| self.lost[at].saturating_add(self.lost_now[at]))
    }

    const fn lose(&mut self, loss: Loss, into: Into) {
        let lost = match into {
            Into::Base => &mut self.lost,
            Into::Now => &mut self.lost_now,
        };
        lost[loss as usize] = lost[loss as usize].saturating_add(1);
    }

    /// Ends a look: what there is, by name and labels.
    pub fn families(&mut self) -> Vec<Family> {
        self.series.retain(|_, series| series.count.is_there());
        let mut series: Vec<&Series> = self.series.values().collect();
        series.sort_unstable_by(|a, b| (&a.family, &a.labels).cmp(&(&b.family, &b.labels)));
        let groups = series.chunk_by(|a, b| a.family == b.family);
        let shown = groups.filter_map(|group| {
            let known = self.families.get(&group.first()?.family)?;
            Some(shown::family(&known.shape, self.process, group))
        });
        shown.filter(|family| !family.samples.is_empty()).collect()
    }

    fn take(&mut self, source: Source, rows: &[Row<'_>], is_sound: bool, into: Into) {
        if !is_sound {
            self.lose(Loss::Corrupt, into);
        }
        let refused = self.take_families(source, rows, into);
        for row in rows.iter().filter(|row| !is_family(row.key)) {
            if let Err(loss) = self.take_series(source, row, &refused, into) {
                self.lose(loss, into);
            }
        }
    }

    /// Returns the names that mean something else in this table.
    fn take_families(&mut self, source: Source, rows: &[Row<'_>], into: Into) -> Vec<Box<str>> {
        let mut refused = Vec::new();
        for row in rows.iter().filter(|row| is_family(row.key)) {
            let Some(shape) = family_shape(row.key, row.extra) else {
                self.lose(Loss::Corrupt, into);
                continue;
            };
            if let Err(name) = self.know(source, shape, into) {
                refused.push(name);
            }
        }
        refused
    }

    /// Takes a metric's definition; the newest generation's holds.
    fn know(&mut self, source: Source, shape: Shape, into: Into) -> Result<(), Box<str>> {
        let name: Box<str> = shape.name.as_str().into();
        let generation = source.generation;
        let is_full = self.families.len() >= self.series_max;
        let rank = self.rank(generation);
        let rank_before = self.families.get(&name).map(|known| self.rank(known.generation));
        let is_stronger = rank_before.is_none_or(|before| before < rank);
        match self.families.get_mut(&name) {
            Some(known) if known.shape.is_same(&shape) => {
                if is_stronger {
                    known.generation = generation;
                }
            }
            Some(known) if is_stronger => {
                // It starts again, as if the server had.
                *known = Known { shape, generation };
                self.series.retain(|_, series| series.family != name);
            }
            // It is no clash when this one is given up, and takes the name over when it serves.
            Some(_) if generation > self.serving => return Err(name),
            Some(_) => {
                if self.clashes.len() < CLASHES_MAX && self.clashes.insert(name.clone()) {
                    // Once, whoever has it.
                    self.lose(Loss::Clash, Into::Base);
                }
                return Err(name);
            }
            None if is_full => {
                self.lose(Loss::TooManySeries, into);
                return Err(name);
            }
            None => {
                self.families.insert(name, Known { shape, generation });
            }
        }
        Ok(())
    }

    fn take_series(
        &mut self,
        source: Source,
        row: &Row<'_>,
        refused: &[Box<str>],
        into: Into,
    ) -> Result<(), Loss> {
        if let Some(series) = self.series.get_mut(row.key) {
            // Counted as a clash.
            return if refused.contains(&series.family) {
                Ok(())
            } else {
                series.take(source, row.cells, into)
            };
        }
        let (name, part, labels) = series_of(row.key).ok_or(Loss::Corrupt)?;
        if refused.iter().any(|refused| **refused == *name) {
            return Ok(());
        }
        let known = self.families.get(name.as_str()).ok_or(Loss::Corrupt)?;
        let shape = &known.shape;
        if labels.len() != shape.labels.len() + part.more_labels() || !shape.has(part) {
            return Err(Loss::Corrupt);
        }
        if self.series.len() >= self.series_max {
            return Err(Loss::TooManySeries);
        }
        let mut series = Series::new(shape, part, labels);
        series.take(source, row.cells, into)?;
        self.series.insert(row.key.into(), series);
        Ok(())
    }
}
