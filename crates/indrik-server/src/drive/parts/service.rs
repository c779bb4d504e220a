//! What the outside has been told of this server, and who is told.

use indrik_core::ids::Generation;
use indrik_sys::daemon::Word;

use crate::boot::ServiceManager;
use crate::front::Standing;

/// A daemon that has not left its terminal yet: it stays until it serves, or has said why not.
#[derive(Debug)]
pub(in crate::drive) struct Leaving {
    /// What the process in the foreground waits for.
    pub(in crate::drive) word: Word,
    /// Output that goes to no terminal stays.
    pub(in crate::drive) keep_output: bool,
}

/// What the outside has been told, and by whom it is asked.
pub(in crate::drive) struct Service {
    pub(in crate::drive) manager: ServiceManager,
    /// A daemon's, until it serves.
    pub(in crate::drive) leaving: Option<Leaving>,
    /// What probes are answered.
    pub(in crate::drive) standing: Standing,
    pub(in crate::drive) greeted: bool,
    /// The zygote that runs `pre_stop`.
    pub(in crate::drive) in_pre_stop: Option<Generation>,
}

impl Service {
    pub(in crate::drive) fn new(manager: ServiceManager, leaving: Option<Leaving>) -> Self {
        let standing = Standing::default();
        Self { manager, leaving, standing, greeted: false, in_pre_stop: None }
    }
}
