//! What follows from the end of a process.
//!
//! What the application's own processes leave behind falls to this process too, as the sub-reaper: such an
//! orphan is reaped only while no fork is under way. A worker may end between its fork and the
//! zygote's word about it, and until it is reaped nobody else gets its number.

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::supervise::{
    Event, Exit, ExitStatus, PoolEvent, UpgradeEvent, WorkerEvent, ZygoteEvent,
};
use indrik_sys::process::{End, ended_child, reap_orphan};

use super::parts::{Drive, POOL, Worker};

impl Drive {
    /// A worker has ended, and what it had to say is heard.
    pub(super) fn worker_ended(&mut self, id: WorkerId, end: End) {
        self.write_stacks_of(id);
        self.look_lost(id);
        let had = self.name_requests(id);
        let status = status_of(end);
        self.tell_child_exit(id, status);
        let requests = self.front.as_ref().and_then(|front| front.loads().get(&id).copied());
        let requests = requests.map_or(0, |load| load.served);
        let exit = Exit { status, oom: self.was_oom(id, status), requests };
        self.usage.memory.forget(id);
        let view = self.machine.views().find(|view| view.id == id);
        self.feed(Event::Worker(id, WorkerEvent::Exited { exit }));
        self.enter_end(view, status, had);
        let worker = self.children.workers.remove(&id);
        let pid = worker.and_then(|worker| worker.child).map(|child| child.pid());
        if let Some(pid) = pid {
            self.release_group(pid);
        }
    }

    /// A zygote has ended, and what it had to say is heard.
    pub(super) fn zygote_ended(&mut self, generation: Generation) {
        let Some(zygote) = self.children.zygotes.remove(&generation) else { return };
        // What it has not answered it never will.
        let lost = |_: &WorkerId, worker: &mut Worker| {
            worker.generation == generation && worker.child.is_none()
        };
        self.children.workers.extract_if(.., lost).for_each(drop);
        // One that was a worker has a group.
        self.release_group(zygote.child.pid());
        if self.neighbours.in_pre_exec == Some(generation) {
            self.neighbours.in_pre_exec = None;
            self.feed(Event::Upgrade(UpgradeEvent::PreExecLost));
        }
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
            let known = self.children.each().any(|(_, child)| child.pid() == pid);
            // Another thread starts one just now, or reaps this one itself.
            let others = self.outside.admin.board.alerts().children();
            if known || others.is_none_or(|others| others.contains(&pid)) {
                // Its end is heard by its own descriptor, and the next one is seen after that.
                return;
            }
            reap_orphan(pid);
        }
    }

    /// The zygote before the last refork has ended.
    pub(super) fn old_zygote_ended(&mut self) {
        if let Some(old) = self.children.old_zygote.take() {
            self.release_group(old.child.pid());
            self.feed(Event::Pool(POOL, PoolEvent::OldZygoteExited));
        }
    }

    /// A hook that is waited for has returned, or its zygote has ended.
    pub(super) fn hook_done(&mut self, generation: Generation, hook: &str) {
        if hook == "pre_exec" && self.neighbours.in_pre_exec == Some(generation) {
            self.neighbours.in_pre_exec = None;
            self.feed(Event::Upgrade(UpgradeEvent::PreExecDone));
        }
        if hook == "pre_stop" && self.service.in_pre_stop == Some(generation) {
            self.service.in_pre_stop = None;
            self.feed(Event::PreStopDone);
        }
    }

    pub(super) fn successor_ended(&mut self, status: ExitStatus) {
        // Its last words explain its end.
        self.take_words();
        self.children.successor = None;
        self.outside.listeners.share(false);
        // The successor took over its path, and has removed it.
        let generation = self.machine.census().generation;
        if let Some(config) = self.generations.config_of(generation) {
            self.open_control(&config);
        }
        self.take_admin_back();
        self.feed(Event::Upgrade(UpgradeEvent::SuccessorExited { status }));
    }

    /// What the new server says.
    pub(super) fn take_words(&mut self) {
        let said = self.neighbours.words.take();
        if said.lives {
            self.feed(Event::Upgrade(UpgradeEvent::SuccessorLives));
        }
        if said.serves {
            self.feed(Event::Upgrade(UpgradeEvent::SuccessorReady));
        }
    }
}

pub(super) fn status_of(end: End) -> ExitStatus {
    match end {
        End::Code(code) => ExitStatus::Code(code),
        End::Signal(signal) => ExitStatus::Signal(signal),
    }
}
