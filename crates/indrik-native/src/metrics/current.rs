//! Which table this process adds to: the one that the supervisor gave it, or, before that and elsewhere, one of its own.
//!
//! A table that was once in use stays mapped for good, so whoever holds a reference may go on with it; a process has two
//! or three in its life. Series find their cells anew when there is another table, which its number tells.

use std::io;
use std::os::fd::OwnedFd;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

use indrik_core::app_metrics::Loss;
use indrik_ring::Table;
use pyo3::prelude::*;

/// The table of a process that was given none.
const OWN_BYTES: usize = 1024 * 1024;

/// The table in use.
pub(crate) struct Current {
    pub(crate) table: Table,
    /// No two tables of a process have the same; never 0.
    pub(crate) number: u32,
}

static CURRENT: AtomicPtr<Current> = AtomicPtr::new(ptr::null_mut());
static NUMBER: AtomicU32 = AtomicU32::new(0);
/// Losses that this process has told of, one bit each.
static TOLD: AtomicU64 = AtomicU64::new(0);
/// `report(reason, text)`: tells of the first loss of each kind.
///
/// What was once stored there is never freed, so there is no lock that a fork could inherit.
static REPORT: AtomicPtr<Py<PyAny>> = AtomicPtr::new(ptr::null_mut());

/// The table in use; None where there is no memory for one.
#[inline]
pub(crate) fn current() -> Option<&'static Current> {
    // SAFETY: what was once stored there is never freed.
    match unsafe { CURRENT.load(Ordering::Acquire).as_ref() } {
        Some(current) => Some(current),
        None => own(),
    }
}

#[cold]
fn own() -> Option<&'static Current> {
    let made = numbered(Table::private(OWN_BYTES).ok()?);
    let exchanged =
        CURRENT.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
    let now = match exchanged {
        Ok(_) => made,
        Err(other) => {
            // SAFETY: made above, and nobody has seen it.
            drop(unsafe { Box::from_raw(made) });
            other
        }
    };
    // SAFETY: as in `current`.
    unsafe { now.as_ref() }
}

fn numbered(table: Table) -> *mut Current {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    Box::into_raw(Box::new(Current { table, number }))
}

/// Takes a table of the supervisor's into use. What was counted before moves there.
pub(crate) fn attach(memory: &OwnedFd) -> io::Result<()> {
    let table = Table::open(memory)?;
    // SAFETY: as in `current`.
    if let Some(before) = unsafe { CURRENT.load(Ordering::Acquire).as_ref() } {
        move_rows(&before.table, &table);
    }
    CURRENT.store(numbered(table), Ordering::Release);
    Ok(())
}

fn move_rows(from: &Table, to: &Table) {
    from.copy().each(|row| {
        // What has no room there has none from now on either, and is counted then.
        let Ok(entry) = to.entry(row.key, row.extra, row.cells.len()) else { return };
        for (cell, bits) in (entry.first_cell()..).zip(row.cells) {
            to.add(cell, f64::from_bits(*bits));
        }
    });
}

/// For a worker, before anything else runs in it: the table is its zygote's, and its own is to come.
pub(crate) fn leave() {
    let before = CURRENT.swap(ptr::null_mut(), Ordering::AcqRel);
    TOLD.store(0, Ordering::Relaxed);
    // SAFETY: as in `current`.
    if let Some(before) = unsafe { before.as_ref() } {
        // Without memory for that it stays, and the zygote's is not final as long as the worker lives.
        let _ = before.table.leave();
    }
}

/// Says who is told of losses.
pub(crate) fn report_to(report: Option<Py<PyAny>>) {
    let report = report.map_or(ptr::null_mut(), |report| Box::into_raw(Box::new(report)));
    REPORT.store(report, Ordering::Release);
}

/// Counts a loss, and tells of it if it is this process' first of the kind.
#[cold]
pub(crate) fn lose(py: Python<'_>, loss: Loss, metric: &str) {
    if let Some(current) = current() {
        current.table.lose(loss as usize);
    }
    let bit = 1 << loss as u64;
    if TOLD.fetch_or(bit, Ordering::Relaxed) & bit != 0 {
        return;
    }
    // SAFETY: as in `current`.
    let Some(report) = (unsafe { REPORT.load(Ordering::Acquire).as_ref() }) else { return };
    if let Err(error) = report.call1(py, (loss.name(), loss.explain(metric))) {
        error.write_unraisable(py, None);
    }
}
