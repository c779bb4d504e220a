//! State that belongs to the thread of the event loop.

use std::cell::{RefCell, RefMut};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

thread_local! {
    /// Its address tells the threads that are alive apart, without a call into the system.
    static HERE: u8 = const { 0 };
}

fn thread() -> usize {
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

/// A value that only the thread that made it may look at; anybody may drop it.
///
/// Cheaper than a lock, and sound on builds without the GIL too.
pub(crate) struct LoopCell<T> {
    owner: usize,
    value: RefCell<T>,
}

// SAFETY: `RefCell` is only touched after the thread was found to be the owner.
unsafe impl<T: Send> Sync for LoopCell<T> {}

impl<T> LoopCell<T> {
    /// A value of the calling thread.
    pub(crate) fn new(value: T) -> Self {
        Self { owner: thread(), value: RefCell::new(value) }
    }

    /// The value. Nobody may run Python code while holding it.
    ///
    /// # Errors
    /// A `RuntimeError` when another thread asks.
    #[inline]
    pub(crate) fn get(&self) -> PyResult<RefMut<'_, T>> {
        if self.owner != thread() {
            return Err(wrong_thread());
        }
        self.value.try_borrow_mut().map_err(|_| reentered())
    }
}

#[cold]
fn wrong_thread() -> PyErr {
    PyRuntimeError::new_err(
        "receive() and send() may only be used in the thread of the event loop; \
         use asyncio.run_coroutine_threadsafe() from other threads",
    )
}

#[cold]
fn reentered() -> PyErr {
    PyRuntimeError::new_err("receive() or send() was called from inside itself, by a finalizer")
}

#[cfg(test)]
mod tests {
    use super::LoopCell;

    #[test]
    fn a_loop_cell_refuses_other_threads() {
        let cell = LoopCell::new(1);
        assert!(cell.get().is_ok());
        let refused = std::thread::scope(|scope| {
            scope.spawn(|| cell.owner != super::thread()).join().expect("no panic")
        });
        assert!(refused);
    }
}
