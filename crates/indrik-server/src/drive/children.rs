//! The processes of this server, by what they are there for, and how their ends are heard.
//!
//! Each is held by a pidfd, which is readable when it has ended, and is reaped through it alone. What
//! the application's own processes leave behind falls to this process too, as the sub-reaper: such an
//! orphan is reaped only while no fork is under way. A worker may end between its fork and the
//! zygote's word about it, and until it is reaped nobody else gets its number.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::supervise::{Event, ExitStatus, ZygoteEvent};
use indrik_sys::process::{Child, End, ended_child, reap_orphan};

use super::Drive;
use super::sources::{Registry, Source};
use super::workers::Worker;
use crate::zygote::Zygote;

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Worker(WorkerId),
    Zygote(Generation),
    /// The zygote that a refork has replaced.
    OldZygote,
    /// The new server beside this one.
    Successor,
}

/// All of them.
#[derive(Default)]
pub(super) struct Children {
    pub(super) zygotes: BTreeMap<Generation, Zygote>,
    /// Also those whose fork was asked for and not answered.
    pub(super) workers: BTreeMap<WorkerId, Worker>,
    /// The zygote that a refork has replaced, until its end.
    pub(super) old_zygote: Option<Zygote>,
    /// The new server beside this one.
    pub(super) successor: Option<Child>,
    /// Some child has ended that may be nobody's.
    orphans: bool,
}

impl Children {
    /// Every process with its role.
    fn each(&self) -> impl Iterator<Item = (Role, &Child)> {
        let zygotes = self.zygotes.iter().map(|(id, it)| (Role::Zygote(*id), &it.child));
        let workers = self.workers.iter();
        let workers = workers.filter_map(|(id, it)| Some((Role::Worker(*id), it.child.as_ref()?)));
        let old = self.old_zygote.iter().map(|it| (Role::OldZygote, &it.child));
        let successor = self.successor.iter().map(|child| (Role::Successor, child));
        zygotes.chain(workers).chain(old).chain(successor)
    }

    fn child(&self, role: Role) -> Option<&Child> {
        match role {
            Role::Worker(id) => self.worker(id),
            Role::Zygote(generation) => self.zygotes.get(&generation).map(|zygote| &zygote.child),
            Role::OldZygote => self.old_zygote.as_ref().map(|zygote| &zygote.child),
            Role::Successor => self.successor.as_ref(),
        }
    }

    /// A worker's process, once it has one.
    pub(super) fn worker(&self, id: WorkerId) -> Option<&Child> {
        self.workers.get(&id)?.child.as_ref()
    }

    /// The number of a worker's process.
    pub(super) fn worker_pid(&self, id: WorkerId) -> Option<u32> {
        self.worker(id).map(Child::pid)
    }

    /// A zygote was asked for a worker and has not answered.
    fn awaits_forks(&self) -> bool {
        self.workers.values().any(|worker| worker.child.is_none())
    }

    /// A child has ended: perhaps one that nobody knows.
    pub(super) fn some_ended(&mut self) {
        self.orphans = true;
    }

    /// Has the loop wake when one of them ends.
    pub(super) fn register<'a>(&'a self, registry: &mut Registry<'a>) {
        for (role, child) in self.each() {
            registry.add(Source::Ended(role), child.as_fd());
        }
    }
}

impl Drive {
    /// A process of ours may have ended.
    pub(super) fn take_end(&mut self, role: Role) {
        let ended = self.children.child(role).map(Child::reap);
        match ended {
            Some(Ok(Some(end))) => self.ended(role, end),
            // It is not our child any more: somebody in this process has reaped it.
            Some(Err(_)) => self.ended(role, End::Code(0)),
            Some(Ok(None)) | None => {}
        }
    }

    fn ended(&mut self, role: Role, end: End) {
        match role {
            Role::Worker(id) => {
                self.take_messages_of(id);
                self.worker_ended(id, end);
            }
            Role::Zygote(generation) => self.zygote_ended(generation),
            Role::OldZygote => self.old_zygote_ended(),
            Role::Successor => self.successor_ended(status_of(end)),
        }
    }

    fn zygote_ended(&mut self, generation: Generation) {
        self.take_messages_from(generation);
        let Some(zygote) = self.children.zygotes.remove(&generation) else { return };
        // What it has not answered it never will.
        let lost = |_: &WorkerId, worker: &mut Worker| {
            worker.generation == generation && worker.child.is_none()
        };
        self.children.workers.extract_if(.., lost).for_each(drop);
        // One that was a worker has a group.
        self.release_group(zygote.child.pid());
        self.hook_done(generation, "pre_exec");
        self.hook_done(generation, "pre_stop");
        self.feed(Event::Zygote(generation, ZygoteEvent::Exited));
    }

    /// Reaps what nobody knows. See the module's text.
    pub(super) fn reap_orphans(&mut self) {
        while self.children.orphans && !self.children.awaits_forks() {
            let Some(pid) = ended_child() else {
                self.children.orphans = false;
                return;
            };
            let known = self.children.each().find(|(_, child)| child.pid() == pid);
            if known.is_some() {
                // Its end is heard by its own descriptor, and the next one is seen after that.
                return;
            }
            reap_orphan(pid);
        }
    }
}

pub(super) fn status_of(end: End) -> ExitStatus {
    match end {
        End::Code(code) => ExitStatus::Code(code),
        End::Signal(signal) => ExitStatus::Signal(signal),
    }
}
