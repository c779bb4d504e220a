//! What the outside has been told of this server, and who is told.

use indrik_core::ids::Generation;
use indrik_sys::daemon::Word;

use crate::boot::ServiceManager;
use crate::front::Standing;

/// A daemon that has not left its terminal yet: it stays until it serves, or has said why not.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// What the process in the foreground waits for.
    pub(crate) word: Word,
    /// Output that goes to no terminal stays.
    pub(crate) keep_output: bool,
}

/// What the outside has been told, and by whom it is asked.
pub(crate) struct Service {
    pub(crate) manager: ServiceManager,
    /// A daemon's, until it serves.
    pub(crate) leaving: Option<Leaving>,
    /// What probes are answered.
    pub(crate) standing: Standing,
    pub(crate) greeted: bool,
    /// The zygote that runs `pre_stop`.
    pub(crate) in_pre_stop: Option<Generation>,
}

impl Service {
    pub(crate) fn new(manager: ServiceManager, leaving: Option<Leaving>) -> Self {
        let standing = Standing::default();
        Self { manager, leaving, standing, greeted: false, in_pre_stop: None }
    }
}
