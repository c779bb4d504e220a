//! The names of the applications' routes.

use std::sync::Arc;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::lane::{RouteId, RouteNames};
use indrik_ring::LANE_MESSAGE_BYTES_MAX;
use parking_lot::{Mutex, RwLock};

use super::account::{Account, Charge, Holder};

/// The names, for all threads, and charged for.
#[derive(Default)]
pub(super) struct SharedRouteNames {
    names: RwLock<RouteNames>,
    /// What the names take, and the buffer of the lanes' thread. It belongs to no connection, so nobody is cut
    /// for it.
    charge: Mutex<Option<Charge>>,
}

impl SharedRouteNames {
    pub(super) fn new(account: &Arc<Account>) -> Self {
        let mut charge = Charge::of(&Holder::new(account));
        charge.set(LANE_MESSAGE_BYTES_MAX);
        Self { names: RwLock::default(), charge: Mutex::new(Some(charge)) }
    }

    /// What the route of a request is called, if that is known.
    pub(super) fn name(&self, route: RouteId) -> Option<String> {
        if route == RouteId::UNKNOWN {
            return None;
        }
        self.names.read().name(route).map(str::to_owned)
    }

    /// The number of a name that a worker asks for; each generation has at most `most`.
    pub(super) fn number(&self, who: (Generation, WorkerId), name: &str, most: usize) -> u16 {
        let (number, bytes) = {
            let mut names = self.names.write();
            (names.number(who, name, most), names.bytes())
        };
        if let Some(charge) = &mut *self.charge.lock() {
            charge.set(LANE_MESSAGE_BYTES_MAX + bytes);
        }
        number
    }
}
