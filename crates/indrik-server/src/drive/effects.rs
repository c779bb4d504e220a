//! Doing what the supervisor decided. A failure to do it becomes an event, or a line in the log.

use std::time::{Duration, Instant};

use indrik_core::ids::{Generation, WorkerId};
use indrik_core::logs::level::Level;
use indrik_core::supervise::{
    Effect, Event, FailureKind, FrontEffect, KillSignal, LogLine, PoolEffect, UpgradeEffect,
    WorkerEffect, ZygoteEffect, ZygoteEvent,
};
use indrik_sys::signal::Signal;
use rustix::process::{Pid, Resource, prlimit};

use super::parts::{Drive, Ending, SHOW_STACKS, Timer};
use crate::app_metrics::Owner;
use crate::boot::word;
use crate::front::Front;
use crate::log::Entry;
use crate::zygote::{Request, Streams, Zygote};

impl Drive {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Zygote(generation, effect) => self.perform_on_zygote(generation, &effect),
            Effect::Worker(worker, effect) => self.perform_on_worker(worker, &effect),
            Effect::Pool(_, effect) => self.perform_on_pool(effect),
            Effect::Front(effect) => self.perform_on_front(effect),
            Effect::Upgrade(effect) => self.perform_upgrade(effect),
            Effect::Notify(notice) => self.notify(notice),
            Effect::ReopenLogs => self.reopen_logs(),
            Effect::Count(tally) => {
                self.note_end(tally);
                self.count(tally);
            }
            Effect::Log(line) => self.write(line),
            Effect::Exit(code) => self.exit = Some(Ending::Exit(code)),
        }
    }

    fn perform_on_zygote(&mut self, generation: Generation, effect: &ZygoteEffect) {
        match *effect {
            ZygoteEffect::Spawn => self.spawn_zygote(generation),
            ZygoteEffect::Listen => self.open_addresses(generation),
            ZygoteEffect::Configure => self.configure(generation),
            ZygoteEffect::WorkersChanged { workers } => {
                self.tell_workers_changed(generation, workers);
            }
            ZygoteEffect::RunPreStop => self.run_pre_stop(generation),
            ZygoteEffect::ChangeTo { worker } => self.change_zygote(generation, worker),
            ZygoteEffect::Retire { last } => self.retire_zygote(generation, last),
            ZygoteEffect::Kill => self.kill_zygote(generation),
        }
    }

    fn perform_on_worker(&mut self, id: WorkerId, effect: &WorkerEffect) {
        match *effect {
            WorkerEffect::Fork { generation } => self.fork(id, generation),
            WorkerEffect::Release => self.release(id),
            WorkerEffect::WarmUp => self.warm_up(id),
            WorkerEffect::AddToFront => self.add_to_front(id),
            WorkerEffect::HoldInFront => self.with_front(|front| front.hold_worker(id)),
            WorkerEffect::ResumeInFront => self.with_front(|front| front.resume_worker(id)),
            WorkerEffect::DrainInFront => self.with_front(|front| front.drain_worker(id)),
            WorkerEffect::AnswerStarted => self.with_front(|front| front.worker_stands_still(id)),
            WorkerEffect::ShutDown => self.shut_down_worker(id),
            WorkerEffect::Promote => self.tell_to_be_zygote(id),
            WorkerEffect::Kill { signal } => self.signal_worker(id, signal),
            WorkerEffect::Gone { blameless } => {
                self.with_front(|front| front.worker_gone(id, blameless));
            }
        }
    }

    fn perform_on_pool(&mut self, effect: PoolEffect) {
        match effect {
            PoolEffect::Adopt { generation, on_trial } => self.adopt(generation, on_trial),
            PoolEffect::Confirm { generation } => self.confirm(generation),
            PoolEffect::Restore { generation } => self.restore(generation),
            PoolEffect::Forget { generation } => self.forget(generation),
            PoolEffect::WatchAnswers { generation } => {
                self.with_front(|front| front.begin_trial(generation));
            }
            PoolEffect::ReloadEnded(outcome) => {
                self.end_changes_by_hand(&outcome);
                self.enter_reload(&outcome);
                self.tell_reload_ended(&outcome);
            }
            PoolEffect::KillOldZygote => self.kill_old_zygote(),
        }
    }

    fn perform_on_front(&mut self, effect: FrontEffect) {
        match effect {
            FrontEffect::OpenDoors => self.with_front(Front::open_doors),
            FrontEffect::StopAccepting => self.stop_accepting(),
            FrontEffect::CloseNow => self.close_now(),
            FrontEffect::PauseAccepting => match &self.front {
                Some(front) => front.pause_accepting(),
                None => self.events.push(Event::FrontIdle),
            },
            FrontEffect::ResumeAccepting => self.with_front(Front::resume_accepting),
            FrontEffect::HoldRequests => self.with_front(Front::hold_requests),
            FrontEffect::ReleaseRequests => self.with_front(Front::release_requests),
            FrontEffect::BeginMaintenance => self.begin_maintenance(),
            FrontEffect::EndMaintenance => self.with_front(|front| front.maintain(None)),
        }
    }

    fn perform_upgrade(&mut self, effect: UpgradeEffect) {
        match effect {
            UpgradeEffect::RunPreExec => self.run_pre_exec(),
            UpgradeEffect::StartSuccessor => self.start_successor(),
            UpgradeEffect::GiveWay => self.hand_admin_over(),
            UpgradeEffect::Done { successor } => self.upgrade_ended(Ok(successor)),
            UpgradeEffect::Failed { message } => self.upgrade_ended(Err(message)),
            UpgradeEffect::TellPredecessor => {
                self.open_admin_doors();
                word::say_serving();
            }
            UpgradeEffect::Promote => self.promote(),
        }
    }

    /// Does it if there is a front yet.
    fn with_front(&self, act: impl FnOnce(&Front)) {
        if let Some(front) = &self.front {
            act(front);
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
                self.give_metrics(generation, &mut zygote);
                self.restore_descriptor_limit(zygote.child.pid());
                self.children.zygotes.insert(generation, zygote);
                self.begin_generation(generation);
            }
            Err(error) => {
                // There is no process whose end could be heard: both are said here.
                self.events.zygote_failed(generation, FailureKind::Boot, error.to_string(), "");
                self.events.push(Event::Zygote(generation, ZygoteEvent::Exited));
            }
        }
    }

    /// Gives a zygote the table for what is counted in it. Without one it serves as well.
    fn give_metrics(&self, generation: Generation, zygote: &mut Zygote) {
        let given = self.outside.admin.board.app_metrics().lease(
            Owner::Zygote,
            generation,
            ZYGOTE_METRICS_BYTES,
        );
        let given = given.and_then(|lease| {
            zygote.send(&Request::Metrics, &[lease.as_fd()])?;
            Ok(lease)
        });
        match given {
            Ok(lease) => zygote.metrics = Some(lease),
            Err(error) => {
                let text = format!("What the zygote counts is not shown: {error}");
                self.log.write(Level::Warning, &text);
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
            self.outside.pid_file = None;
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
        self.outside.control.server.forget_files();
        self.outside.listeners.close(self.has_neighbour());
        match &self.front {
            Some(front) => front.stop_accepting(),
            None => self.events.push(Event::FrontIdle),
        }
    }

    fn close_now(&mut self) {
        self.outside.control.server.forget_files();
        self.outside.listeners.close(self.has_neighbour());
        if let Some(front) = &self.front {
            front.close_now();
        }
    }

    /// Opens the logs anew, in all processes. What cannot be opened is tried again after a pause.
    pub(super) fn reopen_logs(&mut self) {
        let result = self.log.reopen();
        match &result {
            Err(error) if self.logs.unopened.as_ref() != Some(&error.to_string()) => {
                self.log.error(&error.to_string());
            }
            Err(_) => {}
            Ok(()) if self.logs.unopened.is_some() => {
                self.log.write(Level::Info, "the logs are open again");
            }
            Ok(()) => {}
        }
        self.logs.unopened = result.err().map(|error| error.to_string());
        let again = self.logs.unopened.is_some().then(|| Instant::now() + REOPEN_PAUSE);
        self.timers.set(Timer::Logs, again);
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
}

/// The table of a zygote, whose settings are not known when it gets it; what is not used takes no memory.
const ZYGOTE_METRICS_BYTES: usize = 4 * 1024 * 1024;
/// A log that could not be opened anew is tried again so much later.
const REOPEN_PAUSE: Duration = Duration::from_secs(10);

/// The worker's main thread looks for requests that shall stop. Ignored where nobody does.
const LOOK: Signal = Signal::URG;
