//! What memory and processors this server may use: of its control group, else the machine's.

use std::path::PathBuf;

use indrik_core::limits::groups::base_of;
use indrik_core::machine;
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
    /// What the group says of processors.
    cpu: Option<PathBuf>,
    /// Processors, as the control group and the affinity allow.
    pub(super) processors: f64,
}

impl Allowed {
    pub(super) fn find() -> Self {
        let known = memory::control_groups(std::process::id()).zip(memory::mounts());
        let group = known.as_ref().and_then(|(groups, mounts)| Group::find(groups, mounts));
        // Where the server has divided its group, the whole is meant.
        let cpu = known.and_then(|(groups, mounts)| Group::find_of("cpu", &groups, &mounts));
        let cpu = cpu.map(|group| base_of(&group.directory).join("cpu.stat"));
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            used: group.as_ref().and_then(|group| group.file(File::Current)),
            limits: group.as_ref().map(Group::limits).unwrap_or_default(),
            cpu,
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

    /// Seconds in which the control group was held back, having used its quota.
    pub(super) fn throttled(&self) -> Option<f64> {
        machine::throttled(&memory::file(self.cpu.as_ref()?)?)
    }

    /// Bytes that the control group uses.
    pub(super) fn used(&self) -> Option<u64> {
        self.used.as_ref().and_then(|path| memory::file(path)).and_then(|text| cgroup::bytes(&text))
    }
}
