//! Numbers for the names of routes, for as long as the server runs: a generation's own numbers end with it, and its
//! successor gives the same names others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use indrik_core::lane::RouteId;
use indrik_core::metrics::Label;
use parking_lot::RwLock;

use super::key::{NO_ROUTE, OTHER_ROUTE};
use crate::front::route_names::SharedRouteNames;

/// The names that are told apart, and their numbers.
pub(super) struct Routes {
    /// Of the generations.
    names: Arc<SharedRouteNames>,
    /// The most that may be told apart (`metrics_routes_max`).
    most: AtomicUsize,
    known: RwLock<Known>,
}

#[derive(Default)]
struct Known {
    /// Those from 2 on.
    names: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u16>,
}

impl Routes {
    pub(super) fn new(names: Arc<SharedRouteNames>, most: usize) -> Self {
        Self { names, most: AtomicUsize::new(most), known: RwLock::default() }
    }

    /// So many may be told apart from now on; those that are stay.
    pub(super) fn set_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The number of a route that its generation knows; `None`: it knows none, which may change.
    pub(super) fn number(&self, route: RouteId) -> Option<u16> {
        if route == RouteId::UNKNOWN {
            return Some(NO_ROUTE);
        }
        let name = self.names.name(route)?;
        if let Some(number) = self.known.read().numbers.get(name.as_str()) {
            return Some(*number);
        }
        let known = &mut *self.known.write();
        if let Some(number) = known.numbers.get(name.as_str()) {
            return Some(*number);
        }
        if known.names.len() >= self.most.load(Ordering::Relaxed) {
            return Some(OTHER_ROUTE);
        }
        let next = u16::try_from(known.names.len()).ok()?.checked_add(OTHER_ROUTE + 1)?;
        let name: Arc<str> = name.into();
        known.names.push(Arc::clone(&name));
        known.numbers.insert(name, next);
        Some(next)
    }

    /// What a number is called.
    pub(super) fn shown(&self, number: u16) -> Label {
        match number {
            NO_ROUTE => "".into(),
            OTHER_ROUTE => "other".into(),
            number => {
                let known = self.known.read();
                let name = known.names.get(usize::from(number - OTHER_ROUTE - 1));
                name.map_or_else(String::new, |name| name.to_string()).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use indrik_core::ids::{Generation, WorkerId};

    use super::*;

    #[test]
    fn a_name_keeps_its_number_whatever_its_generation_calls_it_and_those_beyond_the_limit_are_other()
     {
        let names = Arc::new(SharedRouteNames::default());
        let routes = Routes::new(Arc::clone(&names), 2);
        let ask = |generation, name: &str| {
            let number = names.number((Generation(generation), WorkerId(1)), name, 100);
            routes.number(RouteId::new(Generation(generation), number))
        };
        let (a, b) = (ask(1, "/a").unwrap(), ask(1, "/b").unwrap());
        assert_eq!(ask(2, "/b"), Some(b));
        assert_eq!(ask(2, "/a"), Some(a));
        assert_eq!(ask(2, "/c"), Some(OTHER_ROUTE));
        assert_eq!([routes.shown(a), routes.shown(b)], ["/a", "/b"]);
        routes.set_most(3);
        assert!(ask(2, "/c") > Some(b));
        assert_eq!(routes.number(RouteId::UNKNOWN), Some(NO_ROUTE));
        assert_eq!(routes.number(RouteId::new(Generation(9), 40)), None);
    }
}
