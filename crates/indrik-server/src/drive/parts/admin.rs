//! The admin listener as the loop holds it, and what the loop shows of itself.

use std::sync::Arc;
use std::time::Instant;

use indrik_core::chronicle::Picture;
use indrik_core::settings::BindAddress;
use indrik_core::supervise::EndReason;
use indrik_sys::bell::Bell;

use crate::admin::{Admin, Orders};
use crate::boot::BoundSocket;
use crate::front::Listener;
use crate::look::Board;

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
    /// Why the worker ended whose end is being handled.
    pub(crate) ended_for: Option<EndReason>,
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
            ended_for: None,
        }
    }
}
