//! The names of the application's routes.

use std::sync::Arc;

use indrik_core::lane::RouteNames;
use indrik_ring::LANE_MESSAGE_BYTES_MAX;
use parking_lot::{Mutex, RwLock};

use super::account::{Account, Charge, Holder};

/// The table of names, for as long as the server runs.
#[derive(Default)]
pub(super) struct Routes {
    names: RwLock<RouteNames>,
    /// What the names take, and the buffer of the lanes' thread. It belongs to no connection, so nobody is cut
    /// for it.
    charge: Mutex<Option<Charge>>,
}

impl Routes {
    pub(super) fn new(account: &Arc<Account>) -> Self {
        let mut charge = Charge::of(&Holder::new(account));
        charge.set(LANE_MESSAGE_BYTES_MAX);
        Self { names: RwLock::default(), charge: Mutex::new(Some(charge)) }
    }

    /// What an answer's number stands for, if that is known.
    pub(super) fn name(&self, number: u16) -> Option<String> {
        if number == 0 {
            return None;
        }
        self.names.read().name(number).map(str::to_owned)
    }

    /// The number of a name; there are `most`.
    pub(super) fn number(&self, name: &str, most: usize) -> u16 {
        let (number, bytes) = {
            let mut names = self.names.write();
            (names.number(name, most), names.bytes())
        };
        if let Some(charge) = &mut *self.charge.lock() {
            charge.set(LANE_MESSAGE_BYTES_MAX + bytes);
        }
        number
    }
}
