//! The application's metrics, as `indrik.metrics` and the drop-in for prometheus_client see them.
//!
//! An addition is one atomic operation on the process' table (`indrik_ring::Table`): no lock, no system call, no object
//! of Python's. What cannot be kept is counted there and told of once; nothing of it is the application's problem.

mod current;

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use indrik_core::app_metrics::{
    Across, AppKind, LOSSES, Loss, Part, Shape, family_key, family_shape, series_key,
};
use indrik_ring::{Table, TableError};
use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;

use self::current::{Current, current, lose};

pub(crate) use self::current::leave;

/// Uses the table behind a descriptor from now on, and closes it.
///
/// # Errors
/// `OSError` when it is none, or there is no memory.
#[pyfunction]
pub(crate) fn attach_metrics(fd: RawFd) -> PyResult<()> {
    if fd < 0 {
        return Err(PyOSError::new_err(format!("{fd} is no file descriptor")));
    }
    // SAFETY: the caller hands it over.
    let memory = unsafe { OwnedFd::from_raw_fd(fd) };
    current::attach(&memory)
        .map_err(|error| PyOSError::new_err(format!("cannot use the table of metrics: {error}")))
}

/// `report(reason, text)` is called with the first loss of each kind; None: nobody is told.
#[pyfunction]
#[pyo3(signature = (report))]
pub(crate) fn report_lost_metrics(report: Option<Py<PyAny>>) {
    current::report_to(report);
}

/// Counts a metric that could not even be made, for a reason (`name`).
#[pyfunction]
pub(crate) fn lose_metric(py: Python<'_>, reason: &str, metric: &str) {
    let loss = LOSSES.into_iter().find(|loss| loss.name() == reason);
    lose(py, loss.unwrap_or(Loss::Name), metric);
}

/// A metric: what its series have in common.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Metric {
    shape: Shape,
    key: Vec<u8>,
    extra: Vec<u8>,
    /// The number of the table that knows it, above whether that table has another one of this name.
    known: AtomicU64,
}

/// In [`Metric::known`], above the table's number: 0, or one more than the [`Loss`] for which it is refused there.
const REFUSED_SHIFT: u32 = 32;

#[pymethods]
impl Metric {
    /// A metric of a kind (`counter`, `gauge`, `histogram`, `summary`, `info`); `across` (`sum`, `min`, `max`, `last`,
    /// `each`) and `of_living` say how a gauge's processes are one.
    #[new]
    #[pyo3(signature = (kind, name, help, labels, across="sum", of_living=true, bounds=Vec::new()))]
    fn new(
        kind: &str,
        name: String,
        help: String,
        labels: Vec<String>,
        across: &str,
        of_living: bool,
        bounds: Vec<f64>,
    ) -> PyResult<Self> {
        let no = |what: &str| PyValueError::new_err(format!("metric {name:?}: there is no {what}"));
        let kind = AppKind::named(kind).ok_or_else(|| no(kind))?;
        let across = Across::named(across).ok_or_else(|| no(across))?;
        let shape = Shape { name, kind, across, of_living, labels, bounds, help };
        if let Err(unfit) = shape.check() {
            return Err(PyValueError::new_err(format!(
                "metric {:?}: {}",
                shape.name,
                unfit.text()
            )));
        }
        let (key, extra) = family_key(&shape);
        Ok(Self { shape, key, extra, known: AtomicU64::new(0) })
    }

    /// The series of some labels' values. `part` (`whole`, `bucket`, `sum`, `count`) where one metric is several.
    ///
    /// # Errors
    /// `ValueError` for another number of values than the metric has labels.
    #[pyo3(signature = (values, part="whole"))]
    fn series(slf: Bound<'_, Self>, values: Vec<String>, part: &str) -> PyResult<Series> {
        let part = match part {
            "whole" => Part::Whole,
            "bucket" => Part::Bucket,
            "sum" => Part::Sum,
            "count" => Part::Count,
            _ => return Err(PyValueError::new_err(format!("a metric has no part {part:?}"))),
        };
        let metric = slf.get();
        let shape = &metric.shape;
        let wanted = shape.labels.len() + part.more_labels();
        if values.len() != wanted || !shape.has(part) {
            let text = format!(
                "metric {:?} has {wanted} labels, and was given {} values",
                shape.name,
                values.len()
            );
            return Err(PyValueError::new_err(text));
        }
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let (key, was_cut) = series_key(&shape.name, part, &values);
        if was_cut {
            lose(slf.py(), Loss::LabelCut, &shape.name);
        }
        let cells = shape.cells(part);
        let series = Series { key, part, cells, place: AtomicU64::new(0), metric: slf.unbind() };
        Ok(series)
    }
}

impl Metric {
    /// Writes it into a table, once. An error: why it is not there.
    fn know(&self, py: Python<'_>, current: &Current) -> Result<(), Loss> {
        let known = self.known.load(Ordering::Relaxed);
        if known as u32 == current.number {
            let refused = (known >> REFUSED_SHIFT) as usize;
            return match refused.checked_sub(1).and_then(|at| LOSSES.get(at)) {
                Some(loss) => Err(*loss),
                None => Ok(()),
            };
        }
        let result = self.define(&current.table);
        if let Err(loss) = result {
            lose(py, loss, &self.shape.name);
        }
        let refused = result.map_or_else(|loss| loss as u64 + 1, |()| 0);
        let known = u64::from(current.number) | (refused << REFUSED_SHIFT);
        self.known.store(known, Ordering::Relaxed);
        result
    }

    fn define(&self, table: &Table) -> Result<(), Loss> {
        let entry = table.entry(&self.key, &self.extra, 0).map_err(loss_of)?;
        let there = table.extra(entry);
        if there == self.extra {
            return Ok(());
        }
        let there = family_shape(&self.key, &there).ok_or(Loss::Corrupt)?;
        if there.is_same(&self.shape) { Ok(()) } else { Err(Loss::Clash) }
    }
}

const fn loss_of(error: TableError) -> Loss {
    match error {
        TableError::Full => Loss::TableFull,
        TableError::TooLong => Loss::Name,
        TableError::Corrupt => Loss::Corrupt,
    }
}

/// Where a series is in a table, in 32 bits. A table is too small for the highest bit to be one of a cell's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Its first cell.
    Cell(u32),
    /// It has none, for this reason.
    Refused(usize),
}

impl Place {
    const REFUSED: u32 = 1 << 31;

    const fn written(self) -> u32 {
        match self {
            Self::Cell(cell) => cell,
            Self::Refused(reason) => Self::REFUSED | reason as u32,
        }
    }

    const fn read(written: u32) -> Self {
        match written & Self::REFUSED {
            0 => Self::Cell(written),
            _ => Self::Refused((written & !Self::REFUSED) as usize),
        }
    }
}

/// One series of a metric: what is added to.
#[pyclass(frozen, module = "indrik._native")]
pub(crate) struct Series {
    key: Vec<u8>,
    part: Part,
    cells: usize,
    /// The number of the table that it was looked up in, above its place there ([`Place`]).
    place: AtomicU64,
    metric: Py<Metric>,
}

#[pymethods]
impl Series {
    /// Adds to a counter, or a part of another metric.
    ///
    /// # Errors
    /// `ValueError` for less than nothing.
    #[pyo3(signature = (amount=1.0))]
    fn count(&self, py: Python<'_>, amount: f64) -> PyResult<()> {
        if amount < 0.0 {
            return Err(PyValueError::new_err("a counter only grows: it cannot count less than 0"));
        }
        self.add(py, amount);
        Ok(())
    }

    /// Adds to it, whatever it is.
    #[pyo3(signature = (amount=1.0))]
    fn add(&self, py: Python<'_>, amount: f64) {
        if let Some((table, cell)) = self.find(py)
            && amount.is_finite()
        {
            table.add(cell, amount);
            self.stamp(table, cell);
        }
    }

    /// Takes away from a gauge.
    #[pyo3(signature = (amount=1.0))]
    fn subtract(&self, py: Python<'_>, amount: f64) {
        self.add(py, -amount);
    }

    /// Sets it; `timestamp` is when, in seconds since 1970, if not now.
    #[pyo3(signature = (value, timestamp=None))]
    fn set(&self, py: Python<'_>, value: f64, timestamp: Option<f64>) {
        if let Some((table, cell)) = self.find(py) {
            table.set(cell, value);
            match timestamp {
                Some(at) if self.cells == 2 => table.set(cell + 1, at),
                _ => self.stamp(table, cell),
            }
        }
    }

    /// Observes a value of a histogram that is one series.
    fn observe(&self, py: Python<'_>, value: f64) {
        let bounds = &self.metric.get().shape.bounds;
        if value.is_nan() || self.cells != bounds.len() + 2 {
            return;
        }
        if let Some((table, cell)) = self.find(py) {
            let bucket = bounds.partition_point(|bound| *bound < value);
            if value.is_finite() {
                table.add(cell, value);
            }
            table.add(cell + 1 + bucket as u32, 1.0);
        }
    }

    /// What this process has: the value, or of a histogram the sum.
    fn get(&self, py: Python<'_>) -> f64 {
        self.find(py).map_or(0.0, |(table, cell)| table.get(cell))
    }

    /// Its cells in this process.
    fn values(&self, py: Python<'_>) -> Vec<f64> {
        let Some((table, first)) = self.find(py) else { return vec![0.0; self.cells] };
        (first..).take(self.cells).map(|cell| table.get(cell)).collect()
    }

    /// Whether what is added to it counts.
    #[getter]
    fn is_kept(&self, py: Python<'_>) -> bool {
        let before = self.place.load(Ordering::Relaxed);
        // No entry begins with the first cell of a table: 0 is a series that nobody has looked up.
        let has_cell = matches!(Place::read(before as u32), Place::Cell(cell) if cell != 0);
        has_cell || self.look_up(py).is_some()
    }
}

impl Series {
    /// The table, and the first cell in it. None: it has no room there, which was counted.
    #[inline]
    fn find(&self, py: Python<'_>) -> Option<(&'static Table, u32)> {
        let current = current()?;
        let place = self.place.load(Ordering::Relaxed);
        if (place >> 32) as u32 == current.number {
            match Place::read(place as u32) {
                Place::Cell(cell) => return Some((&current.table, cell)),
                Place::Refused(reason) => current.table.lose(reason),
            }
            return None;
        }
        self.look_up(py)
    }

    #[cold]
    fn look_up(&self, py: Python<'_>) -> Option<(&'static Table, u32)> {
        let current = current()?;
        let found = self.cell_in(py, current);
        let place = match found {
            Ok(cell) => Place::Cell(cell),
            Err(loss) => Place::Refused(loss as usize),
        };
        let place = (u64::from(current.number) << 32) | u64::from(place.written());
        self.place.store(place, Ordering::Relaxed);
        found.ok().map(|cell| (&current.table, cell))
    }

    fn cell_in(&self, py: Python<'_>, current: &Current) -> Result<u32, Loss> {
        let metric = self.metric.get();
        metric.know(py, current)?;
        let found = match current.table.entry(&self.key, &[], self.cells) {
            Ok(entry) if entry.cells() == self.cells => Ok(entry.first_cell()),
            Ok(_) => Err(Loss::Corrupt),
            Err(error) => Err(loss_of(error)),
        };
        found.inspect_err(|loss| lose(py, *loss, &metric.shape.name))
    }

    /// Notes when a gauge was changed.
    #[inline]
    fn stamp(&self, table: &Table, cell: u32) {
        if self.part == Part::Whole && self.cells == 2 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            table.set(cell + 1, now.as_secs_f64());
        }
    }
}
