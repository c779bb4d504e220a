//! Whose memory is watched, and what the kernel has counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use indrik_core::ids::WorkerId;
use indrik_core::memory::cgroup::{File, Group};
use indrik_core::memory::oom::Kills;
use indrik_core::memory::process;
use indrik_core::memory::watch::Watch;
use indrik_sys::memory;

/// What is watched.
pub(crate) struct Memory {
    page_bytes: u64,
    /// Workers with a limit, from the moment they serve.
    pub(crate) watches: BTreeMap<WorkerId, Watch>,
    /// Each worker's file with the kernel's counter.
    events: BTreeMap<WorkerId, PathBuf>,
    kills: BTreeMap<PathBuf, Kills>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            page_bytes: memory::page_bytes(),
            watches: BTreeMap::new(),
            events: BTreeMap::new(),
            kills: BTreeMap::new(),
        }
    }
}

impl Memory {
    /// Notes in which group a worker is, and how its counter stands.
    pub(crate) fn note_group(&mut self, id: WorkerId, pid: u32, now: Duration) {
        let Some(path) = group_of(pid).and_then(|group| group.file(File::Events)) else { return };
        let Some(count) = memory::file(&path).as_deref().and_then(Group::oom_kills) else { return };
        self.kills.entry(path.clone()).or_insert_with(|| Kills::new(count)).look(count, now);
        self.events.insert(id, path);
    }

    /// Whether the kernel killed the worker for want of memory; `None` if that cannot be known.
    pub(crate) fn was_killed(&mut self, id: WorkerId, now: Duration) -> Option<bool> {
        let path = self.events.get(&id)?;
        let count = memory::file(path).as_deref().and_then(Group::oom_kills)?;
        Some(self.kills.get_mut(path)?.did_it(count, now))
    }

    /// Forgets a worker that has ended.
    pub(crate) fn forget(&mut self, id: WorkerId) {
        self.watches.remove(&id);
        if let Some(path) = self.events.remove(&id)
            && !self.events.values().any(|other| *other == path)
        {
            // Its own group goes with it; that of others is noted again with the next worker.
            self.kills.remove(&path);
        }
    }

    pub(crate) fn rss(&self, pid: u32) -> Option<u64> {
        process::rss(&memory::statm(pid)?, self.page_bytes)
    }
}

/// The control group that a process is in.
pub(crate) fn group_of(pid: u32) -> Option<Group> {
    Group::find(&memory::control_groups(pid)?, &memory::mounts()?)
}
