//! The admin listener as the loop holds it, and what the loop shows of itself.

use std::sync::Arc;
use std::time::Instant;

use indrik_core::chronicle::Picture;
use indrik_core::ids::Generation;
use indrik_core::settings::{BindAddress, Layer};
use indrik_core::supervise::EndReason;
use indrik_sys::bell::Bell;

use crate::admin::{Admin, Orders};
use crate::boot::BoundSocket;
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
    pub(crate) sockets: Vec<AdminSocket>,
    /// Those are another server's to accept from.
    pub(crate) is_handed_over: bool,
    /// What the chronicle was told last.
    pub(crate) picture: Option<Picture>,
    /// When the last look was hung up.
    pub(crate) shown: Option<Instant>,
    /// The settings in use, for showing.
    pub(crate) settings: Option<Arc<SettingsLook>>,
    /// Settings that were changed by hand and are not in use yet.
    pub(crate) on_trial: Option<OnTrial>,
    /// Why the worker ended whose end is being handled.
    pub(crate) ended_for: Option<EndReason>,
}

/// Settings that were changed by hand, until the reload with them is over.
pub(crate) struct OnTrial {
    /// The first generation that has them.
    pub(crate) generation: Generation,
    /// What holds if it fails.
    pub(crate) good: Layer,
}

/// A socket of `admin_bind`.
pub(crate) struct AdminSocket {
    pub(crate) address: BindAddress,
    pub(crate) bound: BoundSocket,
}

impl AdminPart {
    pub(crate) fn new(bell: &Arc<Bell>, now: Instant) -> Self {
        Self {
            board: Board::new(now),
            orders: Orders::new(Arc::clone(bell)),
            thread: None,
            own: None,
            sockets: Vec::new(),
            is_handed_over: false,
            picture: None,
            shown: None,
            settings: None,
            on_trial: None,
            ended_for: None,
        }
    }
}
