//! What zygotes say.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

use indrik_core::ids::Generation;
use indrik_core::logs::level::Level;
use indrik_core::settings::ConfigFileValues;
use indrik_core::supervise::policy::has_master_hooks;
use indrik_core::supervise::{
    Event, Facts, Policy, PoolEvent, WorkerEvent, ZygoteEvent, awaited_hook,
};
use indrik_sys::signal::Signal;

use super::parts::{Drive, POOL};
use crate::hearing::{Heard, Stream};
use crate::zygote::Reply;

impl Drive {
    pub(super) fn take_messages_from(&mut self, generation: Generation) {
        let Some(zygote) = self.children.zygotes.get_mut(&generation) else { return };
        let heard = zygote.hearing.turn(&zygote.socket, Instant::now());
        self.take_heard_from(generation, heard);
    }

    /// It has ended: what it said before explains why.
    pub(super) fn take_last_words_from(&mut self, generation: Generation) {
        let Some(zygote) = self.children.zygotes.get_mut(&generation) else { return };
        let heard = zygote.hearing.last_words(&zygote.socket, Instant::now());
        self.take_heard_from(generation, heard);
    }

    fn take_heard_from(&mut self, generation: Generation, heard: Heard<Reply>) {
        for reply in heard.messages {
            self.take_reply(generation, reply);
        }
        if let Some(text) = heard.nonsense {
            self.log.write(Level::Error, &format!("The zygote sent nonsense: {text}"));
        }
        if heard.is_flood {
            let text =
                "The zygote says more to the supervisor than one may; it is heard more slowly";
            self.log.write(Level::Warning, text);
        }
        // A closed socket without a dead process (the application closed it) is as good as dead.
        if heard.stream == Stream::Closed
            && let Some(zygote) = self.children.zygotes.get(&generation)
        {
            let _ = zygote.child.signal(Signal::KILL);
        }
    }

    fn take_reply(&mut self, generation: Generation, reply: Reply) {
        match reply {
            Reply::Here => self.feed(Event::Zygote(generation, ZygoteEvent::Here)),
            Reply::Hook { hook } => {
                let hook = hook.as_deref().and_then(awaited_hook);
                self.feed(Event::Zygote(generation, ZygoteEvent::InHook { hook }));
            }
            Reply::Config(values) => self.config_read(generation, &values),
            Reply::ConfigFailed(failure) => {
                self.feed(Event::Zygote(
                    generation,
                    ZygoteEvent::Failed { failure: failure.into() },
                ));
            }
            Reply::Started => self.tell_config_read(generation),
            Reply::LogsReady => self.python_logs_ready(generation),
            Reply::Ready { workers, notices, stays } => {
                self.tell_once(notices);
                if let Some(zygote) = self.children.zygotes.get_mut(&generation) {
                    zygote.ready = true;
                }
                let Some(config) = self.generations.config_of(generation) else { return };
                let facts = Facts {
                    workers,
                    pre_stop: self.has_hook(generation, "pre_stop"),
                    exit_hook: self.has_hook(generation, "on_exit"),
                    logs_in_zygote: self.has_python_logs(generation),
                    stays,
                    counts_children: self.launch.is_stand_in(),
                    master_hooks: has_master_hooks(self.generations.hooks(generation)),
                    cpus: u32::try_from(indrik_sys::cpus::available()).unwrap_or(u32::MAX),
                    // The standard library seeds its hash maps from the system's randomness.
                    seed: RandomState::new().build_hasher().finish(),
                };
                let (policy, remark) = Policy::of(&config, &facts);
                self.tell_once(remark.into_iter().collect());
                if policy.counts_requests() {
                    self.begin_to_count();
                }
                self.feed(Event::Zygote(generation, ZygoteEvent::Ready { policy }));
            }
            Reply::Failed(failure) => {
                self.feed(Event::Zygote(
                    generation,
                    ZygoteEvent::Failed { failure: failure.into() },
                ));
            }
            Reply::Forked { worker, pid } => self.worker_forked(worker, pid),
            Reply::ForkFailed { worker, message } => {
                self.feed(Event::Worker(worker, WorkerEvent::ForkFailed { message }));
                self.children.workers.remove(&worker);
            }
            Reply::ForkRefused { worker, failure } => {
                self.feed(Event::Worker(
                    worker,
                    WorkerEvent::ForkRefused { failure: failure.into() },
                ));
                self.children.workers.remove(&worker);
            }
            Reply::WantWorkers { workers } => {
                // Before it is ready, the number comes with that.
                let is_ready =
                    self.children.zygotes.get(&generation).is_some_and(|zygote| zygote.ready);
                if is_ready && generation == self.machine.census().generation {
                    self.feed(Event::Pool(POOL, PoolEvent::WorkersWished { workers }));
                }
            }
            // Only a rehearsal asks for it.
            Reply::Checked(_) => {}
            Reply::HookDone { hook } => self.hook_done(generation, &hook),
            Reply::MetricLost(lost) => self.tell_lost_metric(&lost),
            Reply::Stays => self.feed(Event::Zygote(generation, ZygoteEvent::Stays)),
        }
    }

    /// The configuration file's values are here: all settings can be decided.
    fn config_read(&mut self, generation: Generation, values: &ConfigFileValues) {
        if self.generations.config(generation).is_some() {
            return self.configure(generation);
        }
        self.generations.has_hooks(generation, values.hooks.clone());
        if let Err(failure) = self.take_config(generation, values) {
            return self.feed(Event::Zygote(generation, ZygoteEvent::Failed { failure }));
        }
        if self.exit.is_some() {
            return;
        }
        let waits = ["on_starting", "nworkers_changed"];
        if generation == Generation::FIRST
            && (waits.iter().any(|hook| self.has_hook(generation, hook))
                || self.has_python_logs(generation))
        {
            return self.tell_starting(generation);
        }
        self.tell_config_read(generation);
    }

    fn tell_config_read(&mut self, generation: Generation) {
        let Some(config) = self.generations.config(generation) else { return };
        let boot_max = config.max_boot_time;
        self.feed(Event::Zygote(generation, ZygoteEvent::ConfigRead { boot_max }));
    }
}
