//! What memory and processors this server may use: of its control group, else the machine's.

use std::path::PathBuf;

use indrik_core::memory::cgroup::{self, File, Group};
use indrik_core::memory::process;
use indrik_sys::memory;

/// Where to look.
#[derive(Debug)]
pub(super) struct Allowed {
    used: Option<PathBuf>,
    /// The least of these holds.
    limits: Vec<PathBuf>,
    machine: Option<u64>,
    /// Processors, as the control group and the affinity allow.
    pub(super) processors: f64,
}

impl Allowed {
    pub(super) fn find() -> Self {
        let group = memory::control_groups(std::process::id())
            .zip(memory::mounts())
            .and_then(|(groups, mounts)| Group::find(&groups, &mounts));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            used: group.as_ref().and_then(|group| group.file(File::Current)),
            limits: group.as_ref().map(Group::limits).unwrap_or_default(),
            machine: memory::machine().as_deref().and_then(process::total),
            processors: processors as f64,
        }
    }

    /// Bytes that may be used.
    pub(super) fn memory(&self) -> Option<u64> {
        let limits = self.limits.iter().filter_map(|path| memory::file(path));
        let limits = limits.filter_map(|text| cgroup::bytes(&text)).chain(self.machine);
        limits.min()
    }

    /// Bytes that the control group uses.
    pub(super) fn used(&self) -> Option<u64> {
        self.used.as_ref().and_then(|path| memory::file(path)).and_then(|text| cgroup::bytes(&text))
    }
}
