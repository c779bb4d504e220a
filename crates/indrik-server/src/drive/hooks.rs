//! Telling zygotes what their hooks want to know.

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::logs::level::Level;
use indrik_core::supervise::{Event, ExitStatus, FailureKind, UpgradeEvent};

use super::parts::Drive;
use crate::zygote::Request;

impl Drive {
    pub(super) fn has_hook(&self, generation: Generation, name: &str) -> bool {
        self.generations.hooks(generation).iter().any(|hook| hook == name)
    }

    /// Whether the zygote holds more of its configuration file than settings: hooks, or a logger.
    pub(super) fn has_hooks(&self, generation: Generation) -> bool {
        !self.generations.hooks(generation).is_empty() || self.has_python_logs(generation)
    }

    /// Lets the hooks run that come before the sockets are bound. Answer: `Started`.
    pub(super) fn tell_starting(&mut self, generation: Generation) {
        let Some(config) = self.generations.config_of(generation) else { return };
        let request = Request::Starting { config: &config, generation, title: config.title() };
        let sent = self.children.zygotes.get(&generation).map(|zygote| zygote.send(&request, &[]));
        if let Some(Err(error)) = sent {
            let text = format!("cannot talk to the zygote: {error}");
            self.events.zygote_failed(generation, FailureKind::Boot, text, "");
        }
    }

    /// A worker has ended. Its own zygote has its object; where that has gone, the current one is told.
    pub(super) fn tell_child_exit(&self, id: WorkerId, status: ExitStatus) {
        let Some(worker) = self.children.workers.get(&id) else { return };
        let Some(child) = &worker.child else { return };
        // As in Gunicorn, which ends without a word to the hook then.
        if !self.service.greeted && matches!(status, ExitStatus::Code(3 | 4)) {
            return;
        }
        let request = Request::ChildExit { worker: id, pid: child.pid() };
        let current = self.machine.census().generation;
        for generation in [worker.generation, current] {
            if let Some(zygote) = self.children.zygotes.get(&generation) {
                if zygote.ready && self.has_hooks(generation) {
                    self.note(zygote.send(&request, &[]));
                }
                return;
            }
        }
    }

    pub(super) fn tell_workers_changed(&self, generation: Generation, workers: u32) {
        if let Some(zygote) = self.children.zygotes.get(&generation)
            && self.has_hooks(generation)
        {
            self.note(zygote.send(&Request::WorkersChanged { workers }, &[]));
        }
    }

    /// Lets `pre_exec` run, if it is set; its answer lets the upgrade go on, the end of its zygote ends that.
    pub(super) fn run_pre_exec(&mut self) {
        let generation = self.machine.census().generation;
        let zygote = self.children.zygotes.get(&generation).filter(|zygote| zygote.ready);
        if self.has_hook(generation, "pre_exec")
            && let Some(zygote) = zygote
            && zygote.send(&Request::PreExec, &[]).is_ok()
        {
            self.neighbours.in_pre_exec = Some(generation);
        } else {
            self.events.push(Event::Upgrade(UpgradeEvent::PreExecDone));
        }
    }

    /// Lets `pre_stop` run; its answer, or the end of its zygote, lets the server go on to its end.
    pub(super) fn run_pre_stop(&mut self, generation: Generation) {
        // The hook may ask the server, or make others ask.
        self.show_standing();
        let zygote = self.children.zygotes.get(&generation).filter(|zygote| zygote.ready);
        if zygote.is_some_and(|zygote| zygote.send(&Request::PreStop, &[]).is_ok()) {
            self.service.in_pre_stop = Some(generation);
        } else {
            self.events.push(Event::PreStopDone);
        }
    }

    fn note(&self, sent: std::io::Result<()>) {
        if let Err(error) = sent {
            self.log.write(Level::Error, &format!("A hook is not told: {error}"));
        }
    }
}
