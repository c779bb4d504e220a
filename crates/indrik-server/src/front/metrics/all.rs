//! The tables of all I/O threads, and what they share.

use std::sync::Arc;

use parking_lot::Mutex;

use super::routes::Routes;
use super::table::Table;
use crate::front::route_names::SharedRouteNames;

/// The most routes that may be told apart; a table has a place for each.
const ROUTES_MAX: usize = 2000;

/// The tables of all I/O threads, and what they share.
pub(crate) struct Metrics {
    pub(super) routes: Routes,
    tables: Mutex<Vec<Arc<Table>>>,
}

impl Metrics {
    /// For so many routes.
    pub(crate) fn new(names: &Arc<SharedRouteNames>, routes_max: usize) -> Arc<Self> {
        let routes = Routes::new(Arc::clone(names), routes_max.min(ROUTES_MAX));
        Arc::new(Self { routes, tables: Mutex::default() })
    }

    /// A reload brought another limit.
    pub(crate) fn set_routes_max(&self, routes_max: usize) {
        self.routes.set_most(routes_max.min(ROUTES_MAX));
    }

    /// The table of one more thread.
    pub(super) fn add_table(&self) -> Arc<Table> {
        let table = Arc::new(Table::new(ROUTES_MAX));
        self.tables.lock().push(Arc::clone(&table));
        table
    }

    /// Those of all threads.
    pub(super) fn tables(&self) -> Vec<Arc<Table>> {
        self.tables.lock().clone()
    }
}
