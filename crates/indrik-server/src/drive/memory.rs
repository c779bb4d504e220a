//! The workers' memory: reading it when it is time, and asking the kernel whom it killed.
//!
//! Where no limit is set, nothing is read while the server serves; only the counter of the OOM killer
//! is looked at, when a worker starts and when one is killed.

use std::time::{Duration, Instant};

use indrik_core::ids::WorkerId;
use indrik_core::limits::groups::base_of;
use indrik_core::memory::cgroup::{self, File, Group, Pressure};
use indrik_core::memory::process;
use indrik_core::memory::watch::{Limits, Watch};
use indrik_core::settings::Config;
use indrik_core::supervise::{Event, ExitStatus, WorkerEvent};
use indrik_sys::memory;
use indrik_sys::signal::Signal;
use serde_json::{Value as Json, json};

use super::parts::{Drive, group_of};

impl Drive {
    /// The limits of a worker of this configuration.
    pub(super) fn memory_limits(config: &Config) -> Limits {
        // What the limits are parts of is read only for those that are.
        if config.memory_limits(Some(0)) == config.memory_limits(None) {
            return config.memory_limits(None);
        }
        config.memory_limits(usable())
    }

    /// Begins to watch a worker that serves from now on, if it has limits.
    pub(super) fn watch_worker(&mut self, id: WorkerId, limits: Limits) {
        self.watch_growth(id);
        if limits.is_set() {
            self.usage.memory.watches.insert(id, Watch::new(limits, self.events.now()));
            self.watch_memory();
        }
    }

    /// The front says how many requests a worker has served.
    pub(super) fn worker_served(&mut self, id: WorkerId, served: u64) {
        if let Some(watch) = self.usage.memory.watches.get_mut(&id) {
            watch.has_served(served);
        }
    }

    /// When [`Self::watch_memory`] is due.
    pub(super) fn memory_due(&self) -> Option<Instant> {
        let due = self.usage.memory.watches.values().map(Watch::due).min()?;
        Some(self.events.started + due)
    }

    /// Looks at the memory of workers for which it is time.
    pub(super) fn watch_memory(&mut self) {
        if self.usage.memory.watches.is_empty() {
            return;
        }
        let now = self.events.now();
        let due = self.usage.memory.watches.iter().filter(|(_, watch)| watch.due() <= now);
        let due: Vec<WorkerId> = due.map(|(id, _)| *id).collect();
        for id in due {
            self.measure(id, now);
        }
    }

    fn measure(&mut self, id: WorkerId, now: Duration) {
        let pid = self.children.worker_pid(id);
        let rss = pid.and_then(|pid| self.usage.memory.rss(pid));
        let (Some(pid), Some(rss)) = (pid, rss) else {
            self.usage.memory.watches.remove(&id);
            return self.tell_if_hidden(pid, "statm", "the limits of memory have");
        };
        let Some(watch) = self.usage.memory.watches.get_mut(&id) else { return };
        let mut hidden = false;
        if watch.saw_rss(rss, now) {
            match memory::smaps_rollup(pid).as_deref().and_then(process::pss) {
                Some(pss) => watch.saw_pss(pss, now),
                None => hidden = true,
            }
        }
        let mut counted = true;
        if watch.wants_descriptors(now) {
            match memory::descriptors(pid) {
                Some(count) => watch.saw_descriptors(count, now),
                None => counted = false,
            }
        }
        if let Some(excess) = watch.excess() {
            self.events.push(Event::Worker(id, WorkerEvent::Memory { excess }));
        }
        if !counted {
            self.tell_if_hidden(Some(pid), "fd", "worker_max_fds has");
        }
        if hidden {
            self.tell_if_hidden(Some(pid), "smaps_rollup", "worker_max_pss has");
        }
    }

    /// A file of a worker could not be read: it has ended, or a limit has no effect here.
    fn tell_if_hidden(&mut self, pid: Option<u32>, file: &str, what_has: &str) {
        if pid.is_some_and(indrik_sys::process::is_alive) {
            self.tell_once(vec![format!(
                "Cannot read /proc/PID/{file} of workers: {what_has} no effect\n  hint: that takes the \
                 worker's own user, or the right CAP_SYS_PTRACE"
            )]);
        }
    }

    /// What zygotes and workers have of memory, in bytes. The kernel walks over all their pages for
    /// it: some 10 ms for half a gigabyte, in which this loop does nothing else.
    pub(super) fn show_memory(&self) -> Json {
        let zygotes = self
            .children
            .zygotes
            .iter()
            .map(|(generation, zygote)| ("zygote", None, *generation, zygote.child.pid()));
        let workers = self.children.workers.iter().filter_map(|(id, worker)| {
            let pid = worker.child.as_ref()?.pid();
            Some(("worker", Some(*id), worker.generation, pid))
        });
        let mut rss = 0u64;
        let mut pss = 0u64;
        let mut processes = Vec::new();
        for (role, worker, generation, pid) in zygotes.chain(workers) {
            // One that has ended meanwhile, or that /proc hides.
            let Some(it) = memory::smaps_rollup(pid).as_deref().and_then(process::shares) else {
                continue;
            };
            rss = rss.saturating_add(it.rss);
            pss = pss.saturating_add(it.pss);
            processes.push(json!({
                "role": role,
                "pid": pid,
                "age": worker.map(|id| id.0),
                "generation": generation.0,
                "rss": it.rss,
                "pss": it.pss,
                "shared": it.shared,
                "private": it.private,
                "growth": worker.map_or(Json::Null, |id| self.shown_growth(id)),
            }));
        }
        json!({"processes": processes, "rss_total": rss, "pss_total": pss})
    }

    /// Whether the kernel killed a worker that has ended so; `None` if it cannot be asked.
    pub(super) fn was_oom(&mut self, id: WorkerId, status: ExitStatus) -> Option<bool> {
        let now = self.events.now();
        (status == ExitStatus::Signal(Signal::KILL.number()))
            .then(|| self.usage.memory.was_killed(id, now))
            .flatten()
    }

    /// A process's resident memory, for showing.
    pub(super) fn shown_rss(&self, pid: Option<u32>) -> Option<u64> {
        self.usage.memory.rss(pid?)
    }
}

/// The memory this server may use: the least of its groups' limits, or the machine's.
pub(super) fn usable() -> Option<u64> {
    let machine = memory::machine().as_deref().and_then(process::total);
    let group = own_group();
    let limits = group.iter().flat_map(Group::limits);
    let limits = limits.filter_map(|path| cgroup::bytes(&memory::file(&path)?));
    limits.chain(machine).min()
}

/// What the server's control group says of memory, for showing; what it does not say is null.
pub(super) fn shown() -> Json {
    let group = own_group();
    let read = |file| group.as_ref()?.file(file).and_then(|path| memory::file(&path));
    let pressure = read(File::Pressure).as_deref().and_then(Pressure::read);
    json!({
        "usable_bytes": usable(),
        "group_used_bytes": read(File::Current).as_deref().and_then(cgroup::bytes),
        "group_oom_kills": read(File::Events).as_deref().and_then(Group::oom_kills),
        "pressure_some_percent": pressure.map(|pressure| pressure.some),
        "pressure_full_percent": pressure.map(|pressure| pressure.full),
    })
}

/// The group of supervisor and workers together, also where it is divided between them.
fn own_group() -> Option<Group> {
    let group = group_of(std::process::id())?;
    Some(Group { directory: base_of(&group.directory), ..group })
}
