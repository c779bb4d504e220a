//! Doing what the supervisor decided. A failure to do it becomes an event, or a line in the log.

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::supervise::{Effect, Event, Failure, FailureKind, KillSignal, Level, LogLine};
use indrik_sys::signal::Signal;
use rustix::process::{Pid, Resource, prlimit};

use super::{Drive, Ending};
use crate::boot::word;
use crate::log::Entry;
use crate::zygote::{Request, Streams, Zygote};

impl Drive {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::SpawnZygote { generation } => self.spawn_zygote(generation),
            Effect::Listen { generation } => self.listen(generation),
            Effect::Configure { generation } => self.configure(generation),
            Effect::Forget { generation } => self.forget(generation),
            Effect::RetireZygote { generation, last } => self.retire_zygote(generation, last),
            Effect::KillZygote { generation } => self.kill_zygote(generation),
            Effect::WorkersChanged { generation, workers } => {
                self.tell_workers_changed(generation, workers);
            }
            Effect::Adopt { generation, on_trial } => self.adopt(generation, on_trial),
            Effect::Confirm { generation } => self.confirm(generation),
            Effect::Restore { generation } => self.restore(generation),
            Effect::WatchAnswers { generation } => {
                if let Some(front) = &self.front {
                    front.begin_trial(generation);
                }
            }
            Effect::ReloadEnded(outcome) => self.tell_reload_ended(&outcome),
            Effect::Fork { worker, generation } => self.fork(worker, generation),
            Effect::Release { worker } => self.release(worker),
            Effect::WarmUp { worker } => self.warm_up(worker),
            Effect::AddToFront { worker } => self.add_to_front(worker),
            Effect::HoldInFront { worker } => {
                if let Some(front) = &self.front {
                    front.hold_worker(worker);
                }
            }
            Effect::ResumeInFront { worker } => {
                if let Some(front) = &self.front {
                    front.resume_worker(worker);
                }
            }
            Effect::DrainInFront { worker } => {
                if let Some(front) = &self.front {
                    front.drain_worker(worker);
                }
            }
            Effect::WorkerGone { worker } => {
                if let Some(front) = &self.front {
                    front.worker_gone(worker);
                }
            }
            Effect::TurnWorker { worker } => self.turn_worker(worker),
            Effect::ChangeZygote { generation, worker } => self.change_zygote(generation, worker),
            Effect::KillOldZygote => self.kill_old_zygote(),
            Effect::ShutDownWorker { worker } => self.shut_down_worker(worker),
            Effect::Kill { worker, signal } => self.signal_worker(worker, signal),
            Effect::StopAccepting => self.stop_accepting(),
            Effect::CloseNow => self.close_now(),
            Effect::PauseAccepting => match &self.front {
                Some(front) => front.pause_accepting(),
                None => self.events.push(Event::FrontIdle),
            },
            Effect::ResumeAccepting => self.resume_accepting(),
            Effect::RunPreStop { generation } => self.run_pre_stop(generation),
            Effect::StartSuccessor => self.run_pre_exec(),
            Effect::Upgraded { successor } => self.upgrade_ended(Ok(successor)),
            Effect::UpgradeFailed { message } => self.upgrade_ended(Err(message)),
            Effect::TellPredecessor => word::say_serving(),
            Effect::Promote => self.promote(),
            Effect::Notify(notice) => self.notify(notice),
            Effect::ReopenLogs => self.reopen_logs(),
            Effect::Count(tally) => self.count(tally),
            Effect::Log(line) => self.write(line),
            Effect::Exit(code) => self.exit = Some(Ending::Exit(code)),
        }
    }

    fn resume_accepting(&self) {
        if let Some(front) = &self.front {
            front.resume_accepting();
        }
    }

    fn spawn_zygote(&mut self, generation: Generation) {
        let streams = match &self.service.leaving {
            None => Streams::Same,
            Some(leaving) if leaving.keep_output => Streams::NoTerminal,
            Some(_) => Streams::Nowhere,
        };
        match Zygote::spawn(&self.launch.typed, &self.launch.cwd, streams) {
            Ok(mut zygote) => {
                zygote.again = self.generations.config(generation).is_some();
                self.restore_descriptor_limit(zygote.child.pid());
                self.children.zygotes.insert(generation, zygote);
                self.begin_generation(generation);
            }
            Err(error) => {
                // There is no process whose end could be heard: both are said here.
                self.zygote_failed(generation, FailureKind::Boot, error.to_string(), "");
                self.events.push(Event::ZygoteExited { generation });
            }
        }
    }

    /// Only the front needs the raised limit, see `raise_descriptor_limit`.
    fn restore_descriptor_limit(&self, pid: u32) {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            // One that has ended already is heard of elsewhere.
            let _ = prlimit(Some(pid), Resource::Nofile, self.neighbours.descriptors_at_start);
        }
    }

    fn retire_zygote(&mut self, generation: Generation, last: bool) {
        if last {
            // Gunicorn's last hook finds it gone.
            self.places.pid_file = None;
        }
        self.end_python_logs(generation);
        if let Some(zygote) = self.children.zygotes.get(&generation)
            && let Err(error) = zygote.send(&Request::Exit { last }, &[])
        {
            let text =
                format!("Cannot tell the zygote of generation {generation} to leave: {error}");
            self.log.write(Level::Warning, &text);
            self.kill_zygote(generation);
        }
    }

    fn kill_zygote(&self, generation: Generation) {
        if let Some(zygote) = self.children.zygotes.get(&generation)
            && let Err(error) = zygote.child.signal(Signal::KILL)
        {
            self.log.write(Level::Error, &format!("Cannot kill the zygote: {error}"));
        }
    }

    fn signal_worker(&mut self, id: WorkerId, signal: KillSignal) {
        if signal == KillSignal::DumpTraceback {
            self.ask_for_stacks(id);
        }
        let Some(child) = self.children.worker(id) else { return };
        let number = match signal {
            KillSignal::DumpTraceback => SHOW_STACKS,
            KillSignal::Abort => Signal::ABRT,
            KillSignal::Quit => Signal::QUIT,
            KillSignal::Kill => Signal::KILL,
        };
        if let Err(error) = child.signal(number) {
            let text =
                format!("Cannot send signal {number} to worker (pid:{}): {error}", child.pid());
            self.log.write(Level::Error, &text);
        }
    }

    /// The main thread of a worker is to look which requests shall stop.
    pub(super) fn interrupt_worker(&self, id: WorkerId) {
        if let Some(child) = self.children.worker(id)
            && let Err(error) = child.signal(LOOK)
        {
            let text = format!("Cannot interrupt worker (pid:{}): {error}", child.pid());
            self.log.error(&text);
        }
    }

    fn stop_accepting(&mut self) {
        // The path is free for a successor at once; the queue behind the socket stays.
        self.places.control.server.forget_files();
        self.places.listeners.close(self.has_neighbour());
        match &self.front {
            Some(front) => front.stop_accepting(),
            None => self.events.push(Event::FrontIdle),
        }
    }

    fn close_now(&mut self) {
        self.places.control.server.forget_files();
        self.places.listeners.close(self.has_neighbour());
        if let Some(front) = &self.front {
            front.close_now();
        }
    }

    fn reopen_logs(&self) {
        if let Err(error) = self.log.reopen() {
            self.log.error(&error.to_string());
        }
        self.give_logs(self.machine.census().generation);
        // They write to the error log themselves.
        let zygotes = self.children.zygotes.values().filter(|zygote| zygote.ready);
        let workers = self.children.workers.values().filter_map(|worker| worker.child.as_ref());
        for child in zygotes.map(|zygote| &zygote.child).chain(workers) {
            if let Err(error) = child.signal(Signal::USR1) {
                let text = format!("Cannot tell {} to reopen its log: {error}", child.pid());
                self.log.write(Level::Error, &text);
            }
        }
    }

    fn write(&self, line: LogLine) {
        if line.level >= Level::Error {
            word::say_wrong(&line.text);
        }
        let pid = line.pid.unwrap_or_else(std::process::id);
        let entry = Entry::now(line.level, pid, &line.text);
        self.log.write_entry(Entry { fields: line.fields, ..entry });
    }

    /// Says that a generation cannot begin.
    pub(super) fn zygote_failed(
        &mut self,
        generation: Generation,
        kind: FailureKind,
        message: String,
        hint: &str,
    ) {
        let failure = Failure { kind, message, hint: hint.to_owned(), traceback: String::new() };
        self.events.push(Event::ZygoteFailed { generation, failure });
    }
}

/// `indrik/worker.py` has the stacks written at it.
const SHOW_STACKS: Signal = Signal::STKFLT;
/// The worker's main thread looks for requests that shall stop. Ignored where nobody does.
const LOOK: Signal = Signal::URG;
