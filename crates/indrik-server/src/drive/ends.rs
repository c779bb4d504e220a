//! How the ends of processes are heard, and what follows from each.
//!
//! What the application's own processes leave behind falls to this process too, as the sub-reaper: such an
//! orphan is reaped only while no fork is under way. A worker may end between its fork and the
//! zygote's word about it, and until it is reaped nobody else gets its number.

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::supervise::{Event, Exit, ExitStatus, WorkerEvent, ZygoteEvent};
use indrik_sys::process::{Child, End, ended_child, reap_orphan};

use super::parts::{Drive, Role, Worker};

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

    pub(super) fn worker_ended(&mut self, id: WorkerId, end: End) {
        self.write_stacks_of(id);
        self.name_requests(id);
        let status = status_of(end);
        self.tell_child_exit(id, status);
        let requests = self.front.as_ref().and_then(|front| front.loads().get(&id).copied());
        let requests = requests.map_or(0, |load| load.served);
        let exit = Exit { status, oom: self.was_oom(id, status), requests };
        self.usage.memory.forget(id);
        self.feed(Event::Worker(id, WorkerEvent::Exited { exit }));
        let worker = self.children.workers.remove(&id);
        let pid = worker.and_then(|worker| worker.child).map(|child| child.pid());
        if let Some(pid) = pid {
            self.release_group(pid);
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

fn status_of(end: End) -> ExitStatus {
    match end {
        End::Code(code) => ExitStatus::Code(code),
        End::Signal(signal) => ExitStatus::Signal(signal),
    }
}
