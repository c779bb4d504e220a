//! The processes of this server, by what they are there for.
//!
//! Each is held by a pidfd, which is readable when it has ended, and is reaped through it alone.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use indrik_core::ids::{Generation, WorkerId};
use indrik_sys::process::Child;

use super::registry::{Registry, Role, Source};
use super::worker::Worker;
use crate::zygote::Zygote;

/// All of them.
#[derive(Default)]
pub(crate) struct Children {
    pub(crate) zygotes: BTreeMap<Generation, Zygote>,
    /// Also those whose fork was asked for and not answered.
    pub(crate) workers: BTreeMap<WorkerId, Worker>,
    /// The zygote that a refork has replaced, until its end.
    pub(crate) old_zygote: Option<Zygote>,
    /// The new server beside this one.
    pub(crate) successor: Option<Child>,
    /// Some child has ended that may be nobody's.
    pub(crate) orphans: bool,
}

impl Children {
    /// Every process with its role.
    pub(crate) fn each(&self) -> impl Iterator<Item = (Role, &Child)> {
        let zygotes = self.zygotes.iter().map(|(id, it)| (Role::Zygote(*id), &it.child));
        let workers = self.workers.iter();
        let workers = workers.filter_map(|(id, it)| Some((Role::Worker(*id), it.child.as_ref()?)));
        let old = self.old_zygote.iter().map(|it| (Role::OldZygote, &it.child));
        let successor = self.successor.iter().map(|child| (Role::Successor, child));
        zygotes.chain(workers).chain(old).chain(successor)
    }

    pub(crate) fn child(&self, role: Role) -> Option<&Child> {
        match role {
            Role::Worker(id) => self.worker(id),
            Role::Zygote(generation) => self.zygotes.get(&generation).map(|zygote| &zygote.child),
            Role::OldZygote => self.old_zygote.as_ref().map(|zygote| &zygote.child),
            Role::Successor => self.successor.as_ref(),
        }
    }

    /// A worker's process, once it has one.
    pub(crate) fn worker(&self, id: WorkerId) -> Option<&Child> {
        self.workers.get(&id)?.child.as_ref()
    }

    /// The number of a worker's process.
    pub(crate) fn worker_pid(&self, id: WorkerId) -> Option<u32> {
        self.worker(id).map(Child::pid)
    }

    /// A zygote was asked for a worker and has not answered.
    pub(crate) fn awaits_forks(&self) -> bool {
        self.workers.values().any(|worker| worker.child.is_none())
    }

    /// A child has ended: perhaps one that nobody knows.
    pub(crate) fn some_ended(&mut self) {
        self.orphans = true;
    }

    /// Has the loop wake when one of them ends.
    pub(crate) fn register<'a>(&'a self, registry: &mut Registry<'a>) {
        for (role, child) in self.each() {
            registry.add(Source::Ended(role), child.as_fd());
        }
    }
}
