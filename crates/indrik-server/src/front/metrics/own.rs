//! A thread's own table.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use indrik_core::lane::RouteId;

use super::all::Metrics;
use super::key::OTHER_ROUTE;
use super::table::Table;

/// Routes whose numbers a thread remembers; a power of two.
const REMEMBERED: usize = 256;

thread_local! {
    static OWN: OnceCell<Own> = const { OnceCell::new() };
}

/// What a thread counts with.
pub(super) struct Own {
    pub(super) table: Arc<Table>,
    metrics: Arc<Metrics>,
    /// By the low bits of the generation's number: what it is, and ours.
    remembered: Box<[Cell<(u64, u16)>]>,
}

impl Metrics {
    /// This thread counts from now on.
    pub(crate) fn enter(self: &Arc<Self>) {
        OWN.with(|own| {
            own.get_or_init(|| Own {
                table: self.add_table(),
                metrics: Arc::clone(self),
                remembered: (0..REMEMBERED)
                    .map(|_| Cell::new((RouteId::UNKNOWN.to_bits(), 0)))
                    .collect(),
            });
        });
    }
}

/// Counts with this thread's table. Nothing is counted where none has entered: requests, connections and WebSockets
/// live and end on I/O threads.
pub(super) fn with(count: impl FnOnce(&Own)) {
    OWN.with(|own| {
        if let Some(own) = own.get() {
            count(own);
        }
    });
}

impl Own {
    /// Our number of a route.
    pub(super) fn route(&self, route: RouteId) -> u16 {
        let bits = route.to_bits();
        let place = &self.remembered[bits as usize % REMEMBERED];
        let (known, number) = place.get();
        if known == bits {
            return number;
        }
        match self.metrics.routes.number(route) {
            Some(number) => {
                place.set((bits, number));
                number
            }
            // A worker may say any number.
            None => OTHER_ROUTE,
        }
    }
}
