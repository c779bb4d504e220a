//! The other server of an upgrade, as far as this one knows of it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;

use indrik_core::ids::Generation;
use indrik_sys::process;
use rustix::process::{Resource, Rlimit, getrlimit};

use super::registry::{Registry, Source};
use crate::boot::Inheritance;
use crate::boot::word::Words;

/// What this process was started with.
#[derive(Debug)]
pub(crate) struct Heritage {
    pub(crate) inheritance: Inheritance,
}

impl Heritage {
    pub(crate) fn gather() -> Self {
        Self { inheritance: Inheritance::from_environment() }
    }

    /// The server that this one is to replace.
    pub(crate) fn partner_pid(&self) -> Option<u32> {
        self.inheritance.partner.as_ref().map(|partner| partner.pid)
    }

    /// Readable when that server has ended; nothing if it is gone already, or is not our parent.
    pub(crate) fn watch_partner(&self) -> Option<OwnedFd> {
        let pid = self.partner_pid()?;
        let watch = process::watch(pid).ok()?;
        (process::parent() == pid).then_some(watch)
    }
}

/// The two servers of an upgrade, as far as this one knows of the other.
pub(crate) struct Neighbours {
    pub(crate) heritage: Arc<Heritage>,
    /// The old server beside this one: readable when it has ended.
    pub(crate) predecessor: Option<OwnedFd>,
    /// What the new server has to say.
    pub(crate) words: Words,
    /// The zygote that runs `pre_exec`; the supervisor hears of its answer.
    pub(crate) in_pre_exec: Option<Generation>,
    /// The limit of descriptors this process was started with; what it starts gets the same.
    pub(crate) descriptors_at_start: Rlimit,
}

impl Neighbours {
    pub(crate) fn new(heritage: Arc<Heritage>) -> Self {
        Self {
            predecessor: heritage.watch_partner(),
            heritage,
            words: Words::default(),
            in_pre_exec: None,
            descriptors_at_start: getrlimit(Resource::Nofile),
        }
    }

    /// Has the loop wake when one of them has something to say.
    pub(crate) fn register<'a>(&'a self, registry: &mut Registry<'a>) {
        if let Some(words) = self.words.watched() {
            registry.add(Source::SuccessorWords, words);
        }
        if let Some(predecessor) = &self.predecessor {
            registry.add(Source::Predecessor, predecessor.as_fd());
        }
    }
}
