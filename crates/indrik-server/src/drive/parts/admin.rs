//! The admin listener as the loop holds it, and what the loop shows of itself.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Instant;

use indrik_core::chronicle::Picture;
use indrik_core::settings::{BindAddress, Hands};
use indrik_core::supervise::EndReason;
use indrik_sys::bell::Bell;

use crate::admin::{Admin, Orders};
use crate::boot::{BootError, BoundSocket};
use crate::front::Listener;
use crate::look::{Board, SettingsLook};

/// The admin listener, and what it shows.
pub(crate) struct AdminPart {
    pub(crate) board: Arc<Board>,
    pub(crate) orders: Arc<Orders>,
    /// Started with the first configuration that is valid.
    pub(crate) thread: Option<Admin>,
    /// The socket of this process's own user.
    pub(crate) own: Option<(Listener, String)>,
    pub(crate) sockets: AdminSockets,
    /// What the server before handed over was taken.
    pub(crate) has_inherited: bool,
    /// Those are another server's to accept from.
    pub(crate) is_handed_over: bool,
    /// What the chronicle was told last.
    pub(crate) picture: Option<Picture>,
    /// When the last look was hung up.
    pub(crate) shown: Option<Instant>,
    /// The settings in use, for showing.
    pub(crate) settings: Option<Arc<SettingsLook>>,
    /// What is set by hand, generation by generation.
    pub(crate) hands: Hands,
    /// Why the worker ended whose end is being handled.
    pub(crate) ended_for: Option<EndReason>,
}

/// A socket of `admin_bind`.
pub(crate) struct AdminSocket {
    pub(crate) address: BindAddress,
    pub(crate) bound: BoundSocket,
}

/// All of them.
#[derive(Default)]
pub(crate) struct AdminSockets(Vec<AdminSocket>);

impl AdminSockets {
    /// Has these addresses and no others: those that are open stay, new ones are bound. Returns where the new ones are.
    ///
    /// # Errors
    /// When one cannot be bound: then all are as they were.
    pub(crate) fn change(
        &mut self,
        addresses: &[BindAddress],
        mut bind: impl FnMut(&BindAddress) -> Result<BoundSocket, BootError>,
    ) -> Result<Vec<String>, BootError> {
        let is_open = |address: &BindAddress| self.0.iter().any(|open| open.address == *address);
        let mut new = Vec::new();
        for (at, address) in addresses.iter().enumerate() {
            // What is named twice is bound twice, and refused by the kernel.
            if !is_open(address) || addresses[..at].contains(address) {
                new.push(AdminSocket { address: address.clone(), bound: bind(address)? });
            }
        }
        // From here on nothing fails.
        let shown = new.iter().map(|socket| socket.bound.shown.clone()).collect();
        self.0.retain(|open| addresses.contains(&open.address));
        self.0.append(&mut new);
        Ok(shown)
    }
}

impl Deref for AdminSockets {
    type Target = [AdminSocket];

    fn deref(&self) -> &[AdminSocket] {
        &self.0
    }
}

impl DerefMut for AdminSockets {
    fn deref_mut(&mut self) -> &mut [AdminSocket] {
        &mut self.0
    }
}

impl AdminPart {
    pub(crate) fn new(bell: &Arc<Bell>, now: Instant) -> Self {
        Self {
            board: Board::new(now),
            orders: Orders::new(Arc::clone(bell)),
            thread: None,
            own: None,
            sockets: AdminSockets::default(),
            has_inherited: false,
            is_handed_over: false,
            picture: None,
            shown: None,
            settings: None,
            hands: Hands::default(),
            ended_for: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::boot::{self, Manner};

    fn at(directory: &Path, name: &str) -> BindAddress {
        format!("unix:{}", directory.join(name).display()).parse().unwrap()
    }

    fn bind(address: &BindAddress) -> Result<BoundSocket, BootError> {
        boot::bind(address, &Manner { backlog: 8, ..Manner::default() })
    }

    fn names(sockets: &AdminSockets) -> Vec<String> {
        sockets.iter().map(|socket| socket.address.to_string()).collect()
    }

    #[test]
    fn what_was_open_stays_open_when_another_address_cannot_be_had_in_whatever_order() {
        let directory = tempfile::tempdir().unwrap();
        let (here, new) = (at(directory.path(), "here"), at(directory.path(), "new"));
        let nowhere = at(directory.path(), "no/such/directory");
        let mut sockets = AdminSockets::default();
        assert_eq!(sockets.change(std::slice::from_ref(&here), bind).unwrap().len(), 1);
        for wanted in [
            vec![here.clone(), nowhere.clone()],
            vec![nowhere.clone(), here.clone()],
            vec![new.clone(), here.clone(), nowhere.clone()],
            vec![new.clone(), nowhere],
        ] {
            sockets.change(&wanted, bind).unwrap_err();
            assert_eq!(names(&sockets), [here.to_string()]);
            assert!(directory.path().join("here").exists(), "its file stays");
            assert!(!directory.path().join("new").exists(), "what was bound for nothing goes");
        }
        assert_eq!(sockets.change(&[new.clone(), here], bind).unwrap().len(), 1);
        assert!(sockets.change(std::slice::from_ref(&new), bind).unwrap().is_empty());
        assert_eq!(names(&sockets), [new.to_string()]);
        assert!(!directory.path().join("here").exists());
        sockets.change(&[], bind).unwrap();
        assert!(sockets.is_empty());
    }
}
